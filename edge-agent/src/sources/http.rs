//! The HTTP listener for devices: JSON, SenML and line protocol by `POST`, answered when on disk.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fieldline_model::{DeviceId, Metric};
use fieldline_wire::parse::{self, LineContext, Parsed, Precision};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::reader::read_payload;
use crate::clock;
use crate::intake::completion::Completion;
use crate::intake::{Intake, Offer};
use crate::mapping::{Origin, PayloadFormat};

/// What the handlers need.
#[derive(Debug, Clone)]
pub(crate) struct Inlet {
    pub(crate) intake: Arc<Intake>,
    pub(crate) commit_timeout: Duration,
}

/// The routes on which devices deliver.
pub(crate) fn routes(inlet: Inlet, payload_bytes_max: usize) -> Router {
    Router::new()
        .route("/telemetry/{device}", post(device))
        .route("/telemetry/{device}/{metric}", post(metric))
        .route("/api/v2/write", post(write))
        .layer(DefaultBodyLimit::max(payload_bytes_max))
        .with_state(inlet)
}

async fn device(State(inlet): State<Inlet>, Path(device): Path<String>, body: Bytes) -> Response {
    match DeviceId::check(&device) {
        Ok(()) => telemetry(&inlet, &device, None, &body).await,
        Err(error) => problem(StatusCode::BAD_REQUEST, "bad device id", &error.to_string()),
    }
}

async fn metric(
    State(inlet): State<Inlet>,
    Path((device, metric)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    if let Err(error) = DeviceId::check(&device).and_then(|()| Metric::check(&metric)) {
        return problem(StatusCode::BAD_REQUEST, "bad name", &error.to_string());
    }
    telemetry(&inlet, &device, Some(&metric), &body).await
}

async fn telemetry(inlet: &Inlet, device: &str, metric: Option<&str>, body: &[u8]) -> Response {
    let origin = Origin {
        device: device.into(),
        metric: metric.map(Into::into),
        format: PayloadFormat::Auto,
        mapping: None,
    };
    let mut parsed = Parsed::default();
    if let Err(error) = read_payload(&origin, body, clock::now(), &mut parsed) {
        return problem(StatusCode::BAD_REQUEST, "unreadable payload", &error.to_string());
    }
    let topic = format!("telemetry/{device}");
    if let Err(answer) = commit(inlet, &parsed, &topic).await {
        return answer;
    }
    if parsed.rejects.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("{} readings stored; quarantined: {}", parsed.rows.len(), rejected(&parsed));
    problem(StatusCode::UNPROCESSABLE_ENTITY, "some readings were quarantined", &detail)
}

/// The query of an InfluxDB v2 write; `org` and `bucket` are accepted and mean nothing here.
#[derive(Debug, Deserialize)]
struct WriteQuery {
    #[serde(default)]
    precision: Option<String>,
}

async fn write(State(inlet): State<Inlet>, Query(query): Query<WriteQuery>, body: Bytes) -> Response {
    let precision = match query.precision.as_deref() {
        None | Some("ns") => Precision::Nanoseconds,
        Some("us" | "u") => Precision::Microseconds,
        Some("ms") => Precision::Milliseconds,
        Some("s") => Precision::Seconds,
        Some(_) => return influx_error("precision is none of ns, us, ms, s"),
    };
    let mut parsed = Parsed::default();
    let context = LineContext { now: clock::now(), precision, device: None };
    if let Err(error) = parse::line(&body, &context, &mut parsed) {
        return influx_error(&error.to_string());
    }
    if let Err(answer) = commit(&inlet, &parsed, "api/v2/write").await {
        return answer;
    }
    if parsed.rejects.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        influx_error(&format!("partial write: {}", rejected(&parsed)))
    }
}

/// Waits until the readings are on disk.
async fn commit(inlet: &Inlet, parsed: &Parsed, topic: &str) -> Result<(), Response> {
    let (sender, receiver) = oneshot::channel();
    let offer =
        Offer { rows: &parsed.rows, rejects: &parsed.rejects, topic, mapping: None, now: clock::now() };
    inlet.intake.offer(&offer, Completion::Request(sender));
    inlet.intake.kick();
    match tokio::time::timeout(inlet.commit_timeout, receiver).await {
        Ok(Ok(())) => Ok(()),
        _ => {
            let detail = "the journal cannot take readings at the moment; send again";
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, "not on disk", detail))
        }
    }
}

/// The first few rejects, in words.
fn rejected(parsed: &Parsed) -> String {
    let shown: Vec<String> = parsed
        .rejects
        .iter()
        .take(10)
        .map(|reject| format!("{}: {}", reject.reason, reject.detail))
        .collect();
    let more = parsed.rejects.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    shown.join("; ") + &rest
}

/// An RFC 9457 problem document.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// An error as InfluxDB clients read it.
fn influx_error(message: &str) -> Response {
    let body = serde_json::json!({ "code": "invalid", "message": message });
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

//! The server's HTTP face: the query API, readings by `POST`, health and metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fieldline_mqtt::Broker;
use fieldline_wire::parse::{self, LineContext, Parsed, Precision, Reject};
use query::Problem;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::access::Caller;
use crate::broker::{now, read};
use crate::counters::Counters;
use crate::direct::{Direct, Done, NotStored};
use crate::waiting::Waiting;

/// Rejects that are spelled out in an answer.
const REJECTS_TOLD: usize = 10;

/// What the handlers of readings need.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    pub(crate) direct: Direct,
    pub(crate) waiting: Waiting,
    pub(crate) counters: Counters,
}

/// The routes of a server with a store: queries, and readings by `POST`.
pub(crate) fn with_store(face: Face, api: query::State, body_bytes_max: usize) -> Router {
    let lines = Router::new()
        .route("/api/v2/write", post(write))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(Arc::new(face.clone()));
    query::router(api)
        .merge(lines)
        .merge(telemetry_routes(face, body_bytes_max))
        .layer(middleware::from_fn(move |request, next| too_large_as_problem(body_bytes_max, request, next)))
}

/// Readings of one device by `POST`.
pub(crate) fn telemetry_routes(face: Face, body_bytes_max: usize) -> Router {
    Router::new()
        .route("/telemetry/{device}", post(device))
        .route("/telemetry/{device}/{metric}", post(metric))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(Arc::new(face))
}

/// The routes of every server: health, and what is counted.
pub(crate) fn operations(counters: Counters, broker: Broker) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state((counters, broker))
}

/// axum says 413 in plain text; here it is a problem document like every other error.
async fn too_large_as_problem(body_bytes_max: usize, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    let detail = format!("the body is larger than {body_bytes_max} bytes; send it in parts");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body too large", detail).into_response()
}

async fn device(
    State(face): State<Arc<Face>>,
    caller: Caller,
    Path(device): Path<String>,
    body: Bytes,
) -> Response {
    telemetry(&face, &caller, &format!("telemetry/{device}"), body).await
}

async fn metric(
    State(face): State<Arc<Face>>,
    caller: Caller,
    Path((device, metric)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    telemetry(&face, &caller, &format!("telemetry/{device}/{metric}"), body).await
}

async fn telemetry(face: &Face, caller: &Caller, topic: &str, body: Bytes) -> Response {
    if let Err(refusal) = caller.check_publish(topic, false) {
        return refusal.into_response();
    }
    let mut parsed = Parsed::default();
    if let Err((reason, detail)) = read(topic, &body, &mut parsed) {
        face.direct.set_aside(reason, 1, topic, &body, &detail);
        return Problem::new(StatusCode::BAD_REQUEST, "unreadable payload", detail).into_response();
    }
    face.direct.set_aside_rejects(&parsed.rejects, topic, &body);
    let stored = parsed.rows.len();
    if let Err(problem) = store(face, parsed.rows, body.len()).await {
        return problem.into_response();
    }
    if parsed.rejects.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("{stored} readings stored; not stored: {}", told(&parsed.rejects));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "some readings were refused", detail).into_response()
}

/// Returns when the readings are durable.
async fn store(face: &Face, rows: fieldline_wire::Rows, bytes: usize) -> Result<(), Problem> {
    let unavailable = || {
        let detail = "the store cannot take readings at the moment; send them again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not stored", detail.to_owned())
    };
    if rows.is_empty() {
        return Ok(());
    }
    let Some(place) = face.waiting.place(bytes) else {
        face.counters.deferred.increment(1);
        return Err(unavailable());
    };
    let (sender, done) = oneshot::channel();
    face.direct.offer(rows, Done::Request(sender), place);
    match done.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(NotStored::UnknownDevice)) => {
            let detail = "a device is not registered, and only registered ones may publish here; \
                          add it with `fieldline things add`";
            Err(Problem::new(StatusCode::FORBIDDEN, "unknown device", detail.to_owned()))
        }
        Ok(Err(NotStored::Failed)) | Err(_) => Err(unavailable()),
    }
}

/// The query of an InfluxDB v2 write; `org` and `bucket` are taken and mean nothing here.
#[derive(Debug, Deserialize)]
struct WriteQuery {
    precision: Option<String>,
}

/// InfluxDB's v2 write: 204 when all lines are durable; else 400 that names the bad lines, and the
/// good ones are durable.
async fn write(State(face): State<Arc<Face>>, Query(query): Query<WriteQuery>, body: Bytes) -> Response {
    let precision = match query.precision.as_deref().map_or(Ok(Precision::default()), str::parse) {
        Ok(precision) => precision,
        Err(_) => return influx(StatusCode::BAD_REQUEST, "invalid", "precision is none of ns, us, ms, s"),
    };
    let mut parsed = Parsed::default();
    let context = LineContext { now: now(), precision, device: None };
    if let Err(error) = parse::line(&body, &context, &mut parsed) {
        let detail = error.to_string();
        face.direct.set_aside(fieldline_model::Reason::Malformed, 1, "api/v2/write", &body, &detail);
        return influx(StatusCode::BAD_REQUEST, "invalid", &detail);
    }
    face.direct.set_aside_rejects(&parsed.rejects, "api/v2/write", &body);
    if let Err(problem) = store(&face, parsed.rows, body.len()).await {
        return influx(problem.status, "unavailable", &problem.detail);
    }
    if parsed.rejects.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    influx(StatusCode::BAD_REQUEST, "invalid", &format!("partial write: {}", told(&parsed.rejects)))
}

/// An error as InfluxDB's clients read it.
fn influx(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "code": code, "message": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The first few rejects, in words.
fn told(rejects: &[Reject]) -> String {
    let shown: Vec<String> = rejects
        .iter()
        .take(REJECTS_TOLD)
        .map(|reject| {
            let metric = reject.metric.as_ref().map_or_else(String::new, |metric| format!("{metric}: "));
            format!("{metric}{} ({})", reject.detail, reject.reason)
        })
        .collect();
    let more = rejects.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    shown.join("; ") + &rest
}

async fn metrics(State((counters, broker)): State<(Counters, Broker)>) -> Response {
    let text = counters.render(&broker.stats());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

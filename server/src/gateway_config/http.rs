//! `/api/v1/things/<gateway>/config`: push, look, roll back.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldline_model::GatewayId;
use query::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, Pushed, Service};
use crate::data_plane::Failure;

/// Blanks and comments are not counted, so that more may come than is kept.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// The routes.
pub(crate) fn router(service: Service) -> Router {
    Router::new()
        .route("/api/v1/things/{gateway}/config", get(show).put(push))
        .route("/api/v1/things/{gateway}/config/history", get(history))
        .route("/api/v1/things/{gateway}/config/history/{number}", get(one))
        .route("/api/v1/things/{gateway}/config/rollback", post(roll_back))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// `{"gateway", "pushed": {number, sha256, pushed_ms, document}?, "shadow": {desired, reported, version}?}`
async fn show(State(service): State<Service>, Path(gateway): Path<String>) -> Result<Json<Value>, Problem> {
    let gateway = named(&gateway)?;
    let newest = service.history(&gateway).await.map_err(|error| problem(error.into()))?.pop();
    let shadow = service.shadow(&gateway).await.map_err(problem)?;
    Ok(Json(json!({ "gateway": gateway, "pushed": newest, "shadow": shadow })))
}

async fn push(
    State(service): State<Service>,
    Path(gateway): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    Failure::of_web_page(&headers).map_err(|failure| failure.problem())?;
    let gateway = named(&gateway)?;
    let document = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("the configuration is no JSON: {error}")))?;
    let pushed = service.push(&gateway, document, None).await.map_err(problem)?;
    Ok(Json(summary(&pushed)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    number: Option<u64>,
}

async fn roll_back(
    State(service): State<Service>,
    Path(gateway): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    Failure::of_web_page(&headers).map_err(|failure| failure.problem())?;
    let gateway = named(&gateway)?;
    let wanted: RollBack = match body.is_empty() {
        true => RollBack::default(),
        false => serde_json::from_slice(&body)
            .map_err(|error| refused(format!("{{\"number\": 3}} is expected: {error}")))?,
    };
    let pushed = service.roll_back(&gateway, wanted.number).await.map_err(problem)?;
    Ok(Json(summary(&pushed)))
}

/// `{"entries": [{number, sha256, pushed_ms, rollback_of?}, …]}`, newest first.
async fn history(
    State(service): State<Service>,
    Path(gateway): Path<String>,
) -> Result<Json<Value>, Problem> {
    let history = service.history(&named(&gateway)?).await.map_err(|error| problem(error.into()))?;
    let entries: Vec<Value> = history.iter().rev().map(summary).collect();
    Ok(Json(json!({ "entries": entries })))
}

async fn one(
    State(service): State<Service>,
    Path((gateway, number)): Path<(String, u64)>,
) -> Result<Json<Pushed>, Problem> {
    let history = service.history(&named(&gateway)?).await.map_err(|error| problem(error.into()))?;
    let found = history.into_iter().find(|pushed| pushed.number == number);
    found.map(Json).ok_or_else(|| not_found(format!("the history of {gateway} has no number {number}")))
}

/// All but the document.
fn summary(pushed: &Pushed) -> Value {
    let mut summary = json!({
        "number": pushed.number, "sha256": pushed.sha256, "pushed_ms": pushed.pushed_ms,
    });
    if let Some(number) = pushed.rollback_of {
        summary["rollback_of"] = json!(number);
    }
    summary
}

fn named(gateway: &str) -> Result<GatewayId, Problem> {
    GatewayId::new(gateway).map_err(|error| refused(error.to_string()))
}

fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the configuration cannot be pushed", detail)
}

fn not_found(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not found", detail)
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Document(detail) => refused(detail),
        Error::NoSuchNumber(detail) => not_found(detail),
        Error::Shadow(refusal) if refusal.code() < 500 => refused(refusal.to_string()),
        Error::NoRoom => {
            let detail = error.to_string();
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no room for the configuration", detail)
        }
        Error::Shadow(_) | Error::Store(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a configuration was not pushed");
            let detail = "the store cannot be used at the moment; the server's log says why".to_owned();
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store failed", detail)
        }
    }
}

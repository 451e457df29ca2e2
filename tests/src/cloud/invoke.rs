//! The two HTTP faces: Lambda's Invoke API for those who call functions, and the Runtime API for the
//! functions' processes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::function::Ending;
use super::host::Shared;

/// Lambda's limit on the payload of an asynchronous invocation.
const EVENT_BYTES_MAX: usize = 1 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .route("/rt/{function}/{generation}/2018-06-01/runtime/invocation/next", get(next))
        .route("/rt/{function}/{generation}/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/rt/{function}/{generation}/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/rt/{function}/{generation}/2018-06-01/runtime/init/error", post(init_error))
        .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
        .with_state(shared)
}

async fn invoke(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    // An ARN ends with the function's name.
    let name = name.rsplit(':').next().unwrap_or_default().to_owned();
    if shared.function(&name).is_none() {
        let message = format!("Function not found: {name}");
        let body = json!({ "Type": "User", "Message": message }).to_string();
        return (StatusCode::NOT_FOUND, [("x-amzn-errortype", "ResourceNotFoundException")], body)
            .into_response();
    }
    let kind = headers.get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
    match kind {
        Some("DryRun") => StatusCode::NO_CONTENT.into_response(),
        Some("Event") if payload.len() > EVENT_BYTES_MAX => {
            (StatusCode::PAYLOAD_TOO_LARGE, [("x-amzn-errortype", "RequestTooLargeException")], "{}")
                .into_response()
        }
        Some("Event") => {
            tokio::spawn(async move { shared.invoke_event(&name, payload).await });
            StatusCode::ACCEPTED.into_response()
        }
        _ => match shared.invoke(&name, payload).await {
            Ending::Answer(body) => (StatusCode::OK, body).into_response(),
            Ending::Failure(body) => {
                (StatusCode::OK, [("x-amz-function-error", "Unhandled")], body).into_response()
            }
        },
    }
}

async fn next(State(shared): State<Arc<Shared>>, Path((name, generation)): Path<(String, u64)>) -> Response {
    let Some(function) = shared.function(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let Some((id, payload)) = function.next(generation).await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = std::time::SystemTime::now() + function.spec.timeout;
    let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", shared.arn(&name)),
        ("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, payload).into_response()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path((name, _, id)): Path<(String, u64, String)>,
    body: Bytes,
) -> StatusCode {
    shared.finish(&name, &id, Ending::Answer(body))
}

async fn error(
    State(shared): State<Arc<Shared>>,
    Path((name, _, id)): Path<(String, u64, String)>,
    body: Bytes,
) -> StatusCode {
    shared.finish(&name, &id, Ending::Failure(body))
}

async fn init_error(Path((name, _)): Path<(String, u64)>, body: Bytes) -> StatusCode {
    eprintln!("{name} cannot start: {}", String::from_utf8_lossy(&body));
    StatusCode::ACCEPTED
}

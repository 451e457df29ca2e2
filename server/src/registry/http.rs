//! AWS IoT's control plane over HTTP: its paths, parameters and errors.

mod attachments;
mod certificates;
mod groups;
mod policies;
mod read;
mod things;
mod types;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fieldline_registry::{Error, Page};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ControlPlane;
use crate::data_plane::Failure;
use read::{Parameters, token};

/// The largest body, in bytes: a policy's document is the largest part that AWS takes.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// What every operation answers.
type Reply = Result<axum::Json<Value>, Failure>;

/// The routes.
pub(crate) fn router(plane: ControlPlane) -> Router {
    Router::new()
        .merge(things::routes())
        .merge(types::routes())
        .merge(groups::routes())
        .merge(certificates::routes())
        .merge(policies::routes())
        .merge(attachments::routes())
        .route("/endpoint", get(endpoint))
        .route("/tags", get(tags))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(no_web_page))
        .with_state(plane)
}

/// A page in a browser on this machine must not reach the registry.
async fn no_web_page(request: Request, next: Next) -> Response {
    match Failure::of_web_page(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let failure = Self::new(status, error.code(), error.to_string());
        match error {
            Error::Exists { resource_id, resource_arn, .. } => failure.about(resource_id, resource_arn),
            _ => failure,
        }
    }
}

/// The answer of an operation that says nothing.
fn done() -> Reply {
    Ok(axum::Json(json!({})))
}

/// A part of a list under its member's name, with the word that the operation has for the token.
fn listed<T>(page: Page<T>, member: &str, token_word: &str, item: impl Fn(&T) -> Value) -> Value {
    let items: Vec<Value> = page.items.iter().map(item).collect();
    let mut answer = json!({ member: items });
    if let Some(next) = &page.next {
        answer[token_word] = json!(token(next));
    }
    answer
}

/// Seconds since the epoch with their fraction, as AWS's JSON has times.
fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

/// ListTagsForResource, which tools ask for whatever they look at. Nothing has tags here.
async fn tags() -> Reply {
    Ok(axum::Json(json!({ "tags": [] })))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointType {
    endpoint_type: Option<String>,
}

async fn endpoint(
    State(plane): State<ControlPlane>,
    Parameters(parameters): Parameters<EndpointType>,
    headers: HeaderMap,
) -> Reply {
    match parameters.endpoint_type.as_deref() {
        None | Some("iot:Data" | "iot:Data-ATS") => {}
        Some(other) => return Err(Failure::invalid(format!("there is no endpoint of type {other} here"))),
    }
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = asked.map(|host| host.rsplit_once(':').map_or(host, |(host, _port)| host));
    let address = plane.endpoint.as_deref().or(host).unwrap_or("localhost");
    Ok(axum::Json(json!({ "endpointAddress": address })))
}

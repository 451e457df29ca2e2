//! `/api/v1/*` where the functions run elsewhere: each request becomes a call of `query`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use query::Problem;
use tokio::sync::Semaphore;

use super::http_api;
use super::invoke::{InvokeError, Invoker};
use crate::broker::now;
use crate::config::InvokeSettings;
use crate::trace_id;

/// The function that answers.
const QUERY: &str = "query";
/// Lambda takes 6 MB; less the envelope and a body in base64.
const BODY_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Proxy {
    invoker: Invoker,
    settings: InvokeSettings,
    /// Requests that may be under way.
    room: Semaphore,
}

/// The routes under `/api/v1`, and a problem document for any other path.
pub(crate) fn router(invoker: Invoker, settings: InvokeSettings) -> Router {
    let room = Semaphore::new(settings.in_flight_max);
    Router::new().route("/api/v1/{*path}", any(pass_on)).fallback(nowhere).with_state(Arc::new(Proxy {
        invoker,
        settings,
        room,
    }))
}

async fn nowhere(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}; there are /api/v1/… and /topics/<topic>", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not found", detail)
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    proxy.answer(request).await.unwrap_or_else(IntoResponse::into_response)
}

impl Proxy {
    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let Ok(_room) = self.room.try_acquire() else {
            let detail = "as many queries are under way as invoke.in_flight_max allows; ask again".to_owned();
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many queries", detail));
        };
        let (head, body) = request.into_parts();
        let body = whole(body).await?;
        let source = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_string());
        let event = http_api::event(
            &head,
            &body,
            source.as_deref().unwrap_or("127.0.0.1"),
            now(),
            &trace_id::fresh(),
        );
        let event = Bytes::from(event.to_string());
        let result = self.invoker.request(QUERY, event, self.settings.timeout()).await.map_err(failed)?;
        http_api::response(&result).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the function query answered strangely"
            );
            bad_gateway(error.to_string())
        })
    }
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_broken_or_too_large| {
        let detail = format!("the body broke off or is larger than {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body too large", detail)
    })
}

fn failed(error: InvokeError) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "a query was not answered");
    match error {
        InvokeError::Slow { .. } => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the function did not answer", error.to_string())
        }
        other => bad_gateway(other.to_string()),
    }
}

fn bad_gateway(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "the function failed", detail)
}

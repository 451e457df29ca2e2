//! `GET`, `POST`, `DELETE /things/<thing>/shadow[?name=]` and the list of named shadows, as AWS IoT's
//! data plane has them.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use fieldline_model::{ShadowId, ShadowName, ShadowOperation, ThingName};
use fieldline_policy::{Action, Resource};
use serde::Deserialize;
use serde_json::json;

use super::{Refused, Service, now_s};
use crate::access::Caller;
use crate::data_plane::{Failure, PAYLOAD_BYTES_MAX, other_method};

/// Names in a page where nothing is said, and at most.
const PAGE_MAX: usize = 100;

/// The routes.
pub(crate) fn router(service: Service) -> Router {
    let shadow = get(shadow).post(shadow).delete(shadow).fallback(other_method);
    Router::new()
        .route("/things/{thing}/shadow", shadow)
        .route("/api/things/shadow/ListNamedShadowsForThing/{thing}", get(named).fallback(other_method))
        .layer(DefaultBodyLimit::max(PAYLOAD_BYTES_MAX))
        .with_state(service)
}

#[derive(Debug, Deserialize)]
struct Which {
    name: Option<String>,
}

async fn shadow(
    State(service): State<Service>,
    caller: Caller,
    method: Method,
    Path(thing): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    Failure::of_web_page(&headers)?;
    let Query(which) = which.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
    let shadow = ShadowId {
        thing: ThingName::new(&thing).map_err(|error| Failure::invalid(error.to_string()))?,
        name: which
            .name
            .map(|name| ShadowName::new(&name).map_err(|error| Failure::invalid(error.to_string())))
            .transpose()?,
    };
    let (operation, action) = match method {
        Method::POST => (ShadowOperation::Update, Action::UpdateThingShadow),
        Method::DELETE => (ShadowOperation::Delete, Action::DeleteThingShadow),
        _ => (ShadowOperation::Get, Action::GetThingShadow),
    };
    let name = shadow.name.as_ref().map(ShadowName::as_str);
    caller.check(action, Resource::Thing { thing: shadow.thing.as_str(), shadow: name })?;
    let body = body.map_err(|_| Failure::from(fieldline_shadow::Error::TooLarge))?;
    // A get or a delete has no payload here; what came with it is not read.
    let payload = if operation == ShadowOperation::Update { body } else { Bytes::new() };
    match service.handle(&shadow, operation, &payload).await {
        Ok(document) => {
            Ok(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
        }
        Err(Refused { error, .. }) => Err(Failure::from(error)),
    }
}

impl From<fieldline_shadow::Error> for Failure {
    fn from(error: fieldline_shadow::Error) -> Self {
        let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.exception(), error.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_token: Option<String>,
    page_size: Option<usize>,
}

async fn named(
    State(service): State<Service>,
    caller: Caller,
    Path(thing): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(page) = page.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
    let thing = ThingName::new(&thing).map_err(|error| Failure::invalid(error.to_string()))?;
    caller
        .check(Action::ListNamedShadowsForThing, Resource::Thing { thing: thing.as_str(), shadow: None })?;
    let limit = page.page_size.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Failure::invalid(format!("pageSize is 1 to {PAGE_MAX}")));
    }
    let after = page.next_token.map(|token| name_of(&token)).transpose()?;
    let (names, more) = service.named(&thing, after.as_ref(), limit).await.map_err(|error| {
        Failure::from(super::failed(&ShadowId { thing: thing.clone(), name: None }, &error))
    })?;
    let results: Vec<&str> = names.iter().map(ShadowName::as_str).collect();
    let mut body = json!({ "results": results, "timestamp": now_s() });
    if let Some(last) = results.last().filter(|_| more) {
        body["nextToken"] = json!(BASE64.encode(last));
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

/// A token is the last name of the page before, so that it looks like nothing to be made up.
fn name_of(token: &str) -> Result<ShadowName, Failure> {
    let name = BASE64.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.and_then(|name| ShadowName::new(&name).ok()).ok_or_else(|| Failure::invalid("Invalid nextToken"))
}

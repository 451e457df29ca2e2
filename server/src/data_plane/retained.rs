//! AWS IoT's data plane: retained messages, one by its topic or all of them page by page.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fieldline_mqtt::{Broker, Message};
use fieldline_policy::{Action, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, other_method};
use crate::access::Caller;

/// As many topics are listed at once, as AWS IoT has it.
const PAGE_MAX: usize = 200;

/// The routes.
pub(crate) fn router(broker: Broker) -> Router {
    Router::new()
        .route("/retainedMessage", get(list).fallback(other_method))
        .route("/retainedMessage/{*topic}", get(one).fallback(other_method))
        .with_state(broker)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_token: Option<String>,
    max_results: Option<usize>,
}

async fn one(
    State(broker): State<Broker>,
    caller: Caller,
    topic: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(topic) = topic.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
    caller.check(Action::GetRetainedMessage, Resource::Topic(&topic))?;
    let Some((message, since)) = broker.retained(&topic) else {
        let message = format!("No retained message exists on topic: '{topic}'");
        return Err(Failure::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message));
    };
    let mut body = json!({
        "topic": &*message.topic,
        "payload": STANDARD.encode(&message.payload),
        "qos": message.qos.as_u8(),
        "lastModifiedTime": epoch_ms(since),
    });
    if let Some(user) = user_properties(&message) {
        body["userProperties"] = json!(STANDARD.encode(user));
    }
    Ok(json_answer(&body))
}

async fn list(
    State(broker): State<Broker>,
    caller: Caller,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(page) = page.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
    caller.check(Action::ListRetainedMessages, Resource::RetainedMessages)?;
    let limit = page.max_results.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Failure::invalid(format!("maxResults is 1 to {PAGE_MAX}")));
    }
    let after = page.next_token.map(|token| topic_of(&token)).transpose()?;
    let mut found = broker.retained_after(after.as_deref(), limit.saturating_add(1));
    let more = found.len() > limit;
    found.truncate(limit);
    let topics: Vec<Value> = found.iter().map(|(message, since)| summary(message, *since)).collect();
    let mut body = json!({ "retainedTopics": topics });
    if let Some((last, _)) = found.last().filter(|_| more) {
        body["nextToken"] = json!(STANDARD.encode(&*last.topic));
    }
    Ok(json_answer(&body))
}

fn summary(message: &Message, since: Instant) -> Value {
    json!({
        "topic": &*message.topic,
        "payloadSize": message.payload.len(),
        "qos": message.qos.as_u8(),
        "lastModifiedTime": epoch_ms(since),
    })
}

/// `[{"name": "value"}, …]`, as a publish has them.
fn user_properties(message: &Message) -> Option<String> {
    let user = &message.properties.as_ref()?.user;
    let list: Vec<Value> = user.iter().map(|(name, value)| json!({ &**name: &**value })).collect();
    (!list.is_empty()).then(|| Value::Array(list).to_string())
}

/// A token is the last topic of the page before, so that it looks like nothing to be made up.
fn topic_of(token: &str) -> Result<String, Failure> {
    let topic = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    topic.ok_or_else(|| Failure::invalid("Invalid nextToken"))
}

fn epoch_ms(since: Instant) -> u64 {
    let at = SystemTime::now().checked_sub(since.elapsed()).unwrap_or(UNIX_EPOCH);
    let age = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn json_answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

//! AWS IoT's data plane: `POST /topics/<topic>?qos=0|1` publishes.
//!
//! As at AWS IoT a message is answered with 200 when the broker has it; one for Basic Ingest goes
//! the way of an MQTT publish, and is answered when that would be acknowledged. Signatures are not
//! checked: the listener is on loopback only.

mod retained;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fieldline_mqtt::{Broker, Message, MessageProperties, PublishError, QoS};
use query::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::answer::Answer;
use crate::broker::Desk;
use crate::trace_id;

/// The largest payload that AWS IoT takes, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// The longest topic that AWS IoT takes, in bytes, without `$aws/rules/<rule>/`.
const TOPIC_BYTES_MAX: usize = 256;
/// Slashes of a topic at most, without those of `$aws/rules/<rule>/`.
const SLASHES_MAX: usize = 7;
/// All user properties together, in bytes, as AWS IoT has it.
const PROPERTIES_BYTES_MAX: usize = 8 * 1024;
/// Who publishes, in the log.
const NAME: &str = "data-plane";

/// What the handler needs.
#[derive(Debug, Clone)]
pub(crate) struct DataPlane {
    pub(crate) desk: Arc<Desk>,
    pub(crate) broker: Broker,
}

/// The route of the data plane.
pub(crate) fn router(plane: DataPlane) -> Router {
    let retained = retained::router(plane.broker.clone());
    Router::new()
        .route("/topics/{*topic}", post(publish).fallback(other_method))
        .with_state(plane)
        .merge(retained)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    content_type: Option<String>,
    response_topic: Option<String>,
    message_expiry: Option<u32>,
}

/// An error with the code, the status and the words that AWS's clients know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Id and ARN of what is there already.
    resource: Option<(String, String)>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), resource: None }
    }

    /// With the id and the ARN of what is there already.
    pub(crate) fn about(self, resource_id: String, resource_arn: String) -> Self {
        Self { resource: Some((resource_id, resource_arn)), ..self }
    }

    /// The same as a problem document, for our own API.
    pub(crate) fn problem(self) -> Problem {
        let title = match self.status {
            StatusCode::NOT_FOUND => "not found",
            StatusCode::CONFLICT => "conflict",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::INTERNAL_SERVER_ERROR => "the store failed",
            _ => "the request cannot be answered",
        };
        Problem::new(self.status, title, self.message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequestException", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    /// A page in a browser on this machine must not change anything here; no client of AWS's sends this
    /// header.
    pub(crate) fn of_web_page(headers: &HeaderMap) -> Result<(), Self> {
        match headers.contains_key(header::ORIGIN) {
            true => Err(Self::forbidden("requests of web pages are not taken")),
            false => Ok(()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message, "traceId": trace_id::fresh() });
        if let Some((id, arn)) = self.resource {
            body["resourceId"] = json!(id);
            body["resourceArn"] = json!(arn);
        }
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json"), ("x-amzn-errortype", self.code)];
        (self.status, headers, body.to_string()).into_response()
    }
}

/// The exception of AWS's clients for a method that a resource does not have.
pub(crate) async fn other_method() -> Failure {
    let message = "The specified method is not allowed against this resource.";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedException", message)
}

async fn publish(
    State(plane): State<DataPlane>,
    caller: Caller,
    topic: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outcome = async {
        let Path(topic) = topic.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
        let Query(parameters) = parameters.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
        check_topic(&topic)?;
        caller.check_publish(&topic, parameters.retain)?;
        plane.publish(&topic, parameters, &headers, body).await
    };
    match outcome.await {
        Ok(()) => {
            let body = json!({ "message": "OK", "traceId": trace_id::fresh() }).to_string();
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

impl DataPlane {
    async fn publish(
        &self,
        topic: &str,
        parameters: Parameters,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(), Failure> {
        Failure::of_web_page(headers)?;
        if !self.desk.may_publish_by_http(topic) {
            return Err(Failure::forbidden("this topic is the server's own"));
        }
        let message = message(topic, parameters, headers)?;
        let payload =
            axum::body::to_bytes(body, PAYLOAD_BYTES_MAX).await.map_err(|_broken_or_too_large| {
                let message = format!("the payload broke off or is larger than {PAYLOAD_BYTES_MAX} bytes");
                Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", message)
            })?;
        let message = Message { payload, ..message };
        let (answer, told) = Answer::request(&self.broker, message.clone());
        self.desk.take(NAME, message, answer);
        match told.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(refused(reason)),
            Err(_stopping) => Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableException",
                "the server is stopping; publish again",
            )),
        }
    }
}

fn refused(reason: PublishError) -> Failure {
    match reason {
        PublishError::PayloadFormatInvalid => Failure::invalid("the payload is not what this topic takes"),
        PublishError::TopicNameInvalid => Failure::invalid("the topic has no meaning here"),
        PublishError::NotAuthorized => Failure::forbidden("nobody may publish there"),
        PublishError::QuotaExceeded => Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "ThrottlingException",
            "too much waits at the moment; publish again",
        ),
        PublishError::Unspecified | PublishError::ImplementationSpecific => Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalFailureException",
            "the message was not taken; publish again",
        ),
    }
}

/// AWS IoT's rules for a topic to publish to.
fn check_topic(topic: &str) -> Result<(), Failure> {
    let counted = match topic.strip_prefix("$aws/rules/") {
        Some(rest) => match rest.split_once('/') {
            Some((rule, counted)) if !rule.is_empty() => counted,
            _ => return Err(Failure::invalid("Basic Ingest needs $aws/rules/<rule>/<topic>")),
        },
        None if topic.starts_with('$') => {
            return Err(Failure::invalid(
                "topics that begin with $ are reserved, but for $aws/rules/<rule>/",
            ));
        }
        None => topic,
    };
    if counted.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(Failure::invalid("a topic is not empty and has no wildcards"));
    }
    if counted.len() > TOPIC_BYTES_MAX {
        return Err(Failure::invalid(format!("a topic has {TOPIC_BYTES_MAX} bytes at most")));
    }
    if counted.matches('/').count() > SLASHES_MAX {
        return Err(Failure::invalid(format!("a topic has {SLASHES_MAX} slashes at most")));
    }
    Ok(())
}

/// The message without its payload.
fn message(topic: &str, parameters: Parameters, headers: &HeaderMap) -> Result<Message, Failure> {
    let qos = match parameters.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => return Err(Failure::invalid("qos is 0 or 1")),
    };
    let properties = MessageProperties {
        utf8: utf8(headers)?,
        expiry_s: parameters.message_expiry,
        content_type: parameters.content_type.map(Into::into),
        response_topic: parameters.response_topic.map(Into::into),
        correlation_data: base64_header(headers, "x-amz-mqtt5-correlation-data")?.map(Into::into),
        user: user_properties(headers)?,
    };
    let message = Message::new(topic, Vec::new(), qos).with_properties(properties);
    Ok(Message { retain: parameters.retain, ..message })
}

fn utf8(headers: &HeaderMap) -> Result<Option<bool>, Failure> {
    match headers.get("x-amz-mqtt5-payload-format-indicator").map(|value| value.as_bytes()) {
        None => Ok(None),
        Some(b"UNSPECIFIED_BYTES") => Ok(Some(false)),
        Some(b"UTF8_DATA") => Ok(Some(true)),
        Some(_) => Err(Failure::invalid("the payload format indicator is UNSPECIFIED_BYTES or UTF8_DATA")),
    }
}

fn base64_header(headers: &HeaderMap, name: &'static str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let bytes = STANDARD.decode(value).map_err(|_| Failure::invalid(format!("{name} is not base64")))?;
    if bytes.len() > PROPERTIES_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} has {PROPERTIES_BYTES_MAX} bytes at most")));
    }
    Ok(Some(bytes))
}

/// As [`MessageProperties`] has them.
type UserProperties = Vec<(Arc<str>, Arc<str>)>;

/// `[{"name": "value"}, …]` in base64.
fn user_properties(headers: &HeaderMap) -> Result<UserProperties, Failure> {
    let wrong =
        || Failure::invalid("user properties are a JSON array of objects such as {\"name\": \"value\"}");
    let Some(bytes) = base64_header(headers, "x-amz-mqtt5-user-properties")? else { return Ok(Vec::new()) };
    let list: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    list.iter()
        .flatten()
        .map(|(name, value)| Ok((name.as_str().into(), value.as_str().ok_or_else(wrong)?.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_follow_the_quotas_of_aws_iot() {
        let long = |prefix: &str, bytes: usize| format!("{prefix}{}", "x".repeat(bytes));
        for good in [
            "a",
            "/",
            "a/b/c/d/e/f/g/h",
            "$aws/rules/fieldline_ingest/gw-1",
            "$aws/rules/r/a/b/c/d/e/f/g/h",
            &long("", 256),
            &long("$aws/rules/some_rule/", 256),
        ] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a/+",
            "#",
            "a\0",
            "a/b/c/d/e/f/g/h/i",
            "$aws/rules/r/a/b/c/d/e/f/g/h/i",
            "$aws/rules/r",
            "$aws/rules//x",
            "$aws/rules/r/",
            "$aws/things/x/shadow/update",
            "$SYS/x",
            &long("", 257),
            &long("$aws/rules/some_rule/", 257),
        ] {
            assert_eq!(check_topic(bad).unwrap_err().code, "InvalidRequestException", "{bad}");
        }
    }
}

//! An HTTP request as an event of API Gateway's HTTP API (payload format 2.0), and the function's
//! result as a response.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fieldline_model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The event for `query`. `request_id` is unlike that of any other request.
pub(super) fn event(head: &Parts, body: &[u8], source_ip: &str, now: Timestamp, request_id: &str) -> Value {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let host = text(&head.headers, &header::HOST);
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&head.headers),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "fieldline",
            "domainName": host,
            "domainPrefix": "fieldline",
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": text(&head.headers, &header::USER_AGENT),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": common_log_time(now),
            "timeEpoch": now.millis(),
        },
        "isBase64Encoded": false,
    });
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(parameters(query));
    }
    let cookies: Vec<&str> =
        text(&head.headers, &header::COOKIE).split("; ").filter(|one| !one.is_empty()).collect();
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(body) => event["body"] = json!(body),
        Err(_) => {
            event["body"] = json!(STANDARD.encode(body));
            event["isBase64Encoded"] = json!(true);
        }
    }
    event
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Names in lower case; of several values one, joined by commas. Cookies stand apart.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys().filter(|name| **name != header::COOKIE) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        map.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    map
}

/// Decoded; of several values of one name one, joined by commas.
fn parameters(query: &str) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        match map.get_mut(&decoded(name)) {
            Some(Value::String(known)) => {
                known.push(',');
                known.push_str(&value);
            }
            _ => drop(map.insert(decoded(name), Value::String(value))),
        }
    }
    map
}

/// Undoes percent-encoding, and `+` for a space; what is no escape stands as it is.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let escaped = || {
            let mut ahead = bytes.clone();
            let high = char::from(ahead.next()?).to_digit(16)?;
            let low = char::from(ahead.next()?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        };
        match (byte, escaped()) {
            (b'%', Some(value)) => {
                out.push(value);
                bytes.nth(1);
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `22/Nov/2026:10:00:00 +0000`, as API Gateway has it.
fn common_log_time(now: Timestamp) -> String {
    let format =
        time::macros::format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    time::OffsetDateTime::from_unix_timestamp(now.millis().div_euclid(1000))
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

/// A function's result in payload format 2.0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Why a function's result is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// Not JSON, or not of this shape.
    #[error("the function's result is not that of an HTTP API")]
    Shape(#[from] serde_json::Error),
    /// The body is not what `isBase64Encoded` says.
    #[error("the function's body is not base64")]
    Base64(#[from] base64::DecodeError),
    /// A status, header name or value that HTTP does not have.
    #[error("the function's status or headers are not those of HTTP")]
    Http(#[from] axum::http::Error),
}

/// The response that a function's result stands for. A result without `statusCode` is a body of
/// JSON with status 200, as at API Gateway.
pub(super) fn response(result: &Bytes) -> Result<Response, AnswerError> {
    let value: Value = serde_json::from_slice(result)?;
    if value.get("statusCode").is_none() {
        return Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(result.clone()))?);
    }
    let answer: Answer = serde_json::from_value(value)?;
    let mut response = Response::builder()
        .status(StatusCode::from_u16(answer.status_code).map_err(axum::http::Error::from)?);
    let single = answer.headers.unwrap_or_default();
    let multiple = answer.multi_value_headers.unwrap_or_default();
    let plain = single.iter().filter(|(name, _)| !multiple.contains_key(*name));
    for (name, value) in plain.chain(&multiple) {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            response = header_of(response, name, value);
        }
    }
    for cookie in answer.cookies.unwrap_or_default() {
        response = response.header(header::SET_COOKIE, cookie);
    }
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded { STANDARD.decode(body)? } else { body.into_bytes() };
    Ok(response.body(Body::from(body))?)
}

/// Length and transfer are this server's own business.
fn header_of(
    response: axum::http::response::Builder,
    name: &str,
    value: &Value,
) -> axum::http::response::Builder {
    if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].iter().any(|own| own == name) {
        return response;
    }
    match value {
        Value::String(text) => response.header(name, text),
        other => response.header(name, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_request_becomes_an_event_of_payload_format_2() {
        let request = Request::get("/api/v1/series?device=a%20b&metric=x%2By&metric=z+1&e=%zz")
            .header("Host", "127.0.0.1:8080")
            .header("X-Many", "1")
            .header("X-Many", "2")
            .header("Cookie", "a=1; b=2")
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let now = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let event = event(&head, b"", "127.0.0.1", now, "id-1");
        assert_eq!(event["rawPath"], "/api/v1/series");
        assert_eq!(event["rawQueryString"], "device=a%20b&metric=x%2By&metric=z+1&e=%zz");
        assert_eq!(event["queryStringParameters"], json!({"device": "a b", "metric": "x+y,z 1", "e": "%zz"}));
        assert_eq!(event["headers"], json!({"host": "127.0.0.1:8080", "x-many": "1,2"}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["requestContext"]["http"]["method"], "GET");
        assert_eq!(event["requestContext"]["time"], "01/Jan/2026:00:00:00 +0000");
        assert_eq!(event["requestContext"]["timeEpoch"], 1_767_225_600_000_i64);
        assert!(event.get("body").is_none());
    }

    #[test]
    fn a_body_that_is_no_text_travels_in_base64() {
        let (head, ()) = Request::post("/api/v1/x").body(()).unwrap().into_parts();
        let event_of = |body: &[u8]| event(&head, body, "::1", Timestamp::EPOCH, "id");
        let (text, bytes) = (event_of(b"hello"), event_of(&[0xff]));
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("hello"), &json!(false)));
        assert_eq!((&bytes["body"], &bytes["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
    }

    #[test]
    fn a_result_becomes_a_response() {
        let result = json!({
            "statusCode": 404, "headers": {"content-type": "application/problem+json", "content-length": "9"},
            "multiValueHeaders": {"x-a": ["1", "2"]}, "cookies": ["a=1", "b=2"], "body": "e30=",
            "isBase64Encoded": true,
        });
        let response = response(&Bytes::from(result.to_string())).unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(!response.headers().contains_key("content-length"));
    }

    #[test]
    fn a_result_without_a_status_is_the_body() {
        let plain = response(&Bytes::from_static(b"[1]")).unwrap();
        assert_eq!(
            (plain.status().as_u16(), &plain.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
    }

    #[test]
    fn a_result_of_another_shape_is_told() {
        for wrong in [
            "",
            "nonsense",
            r#"{"statusCode": "x"}"#,
            r#"{"statusCode": 9999}"#,
            r#"{"statusCode": 10}"#,
            r#"{"statusCode": 200, "body": "%", "isBase64Encoded": true}"#,
            r#"{"statusCode": 200, "headers": {"a b": "c"}}"#,
        ] {
            assert!(response(&Bytes::from(wrong)).is_err(), "{wrong}");
        }
    }
}

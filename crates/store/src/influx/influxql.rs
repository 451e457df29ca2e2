//! InfluxQL: statements with names of any kind in them, and the answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use fieldline_model::DeviceId;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::http::{Call, Failure, Http, encode};
use super::name;
use crate::StoreError;

/// Words in an answer that say that the database, not the statement, is at fault for now.
const PASSING: [&str; 6] =
    ["timeout", "max-concurrent-queries", "interrupted", "engine is closed", "shutting", "busy"];

/// One series of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(super) values: Vec<Vec<Value>>,
}

/// What one statement found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tables: Vec<Table>,
    /// The server has cut the answer by a limit of its own.
    pub(super) cut: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<StatementAnswer>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StatementAnswer {
    #[serde(default)]
    statement_id: usize,
    #[serde(default)]
    series: Vec<Table>,
    #[serde(default)]
    partial: bool,
    error: Option<String>,
}

impl Table {
    /// Whether this is the series of a device that has no other tag: one of ours.
    pub(super) fn is_ours(&self, device: &str) -> bool {
        self.device() == Some(device)
    }

    /// The device, if there is no other tag.
    pub(super) fn device(&self) -> Option<&str> {
        let full = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let mut named = self.tags.iter().filter(|(_, value)| full(value));
        match (named.next(), named.next()) {
            (Some((key, Some(value))), None) if key == "device" => Some(value),
            _ => None,
        }
    }
}

/// Asks, all statements in one request; an answer for each.
pub(super) async fn ask(http: &Http, statements: &[String]) -> Result<Vec<Found>, StoreError> {
    let mut path = "/query?epoch=ns&db=".to_owned();
    encode(&http.config().database, &mut path);
    let mut body = "q=".to_owned();
    encode(&statements.join(";"), &mut body);
    let content_type = "application/x-www-form-urlencoded";
    let reply = http.call(&Call { path, content_type, gzip: false, body: Bytes::from(body) }).await?;
    if !reply.status.is_success() {
        let (message, hint) = (http.message(&reply.body), String::new());
        return Err(http.rejected(Failure::Status { status: reply.status, message, hint }));
    }
    let answer: Answer = serde_json::from_slice(&reply.body)
        .map_err(|error| http.unavailable(Failure::Senseless(error.to_string())))?;
    if let Some(error) = answer.error {
        return Err(failed(http, &error));
    }
    let mut found: Vec<Option<Found>> = statements.iter().map(|_| None).collect();
    for result in answer.results {
        if let Some(error) = result.error {
            return Err(failed(http, &error));
        }
        if let Some(slot) = found.get_mut(result.statement_id) {
            let slot = slot.get_or_insert_default();
            slot.tables.extend(result.series);
            slot.cut |= result.partial;
        }
    }
    let whole: Option<Vec<Found>> = found.into_iter().collect();
    whole.ok_or_else(|| http.unavailable(Failure::Senseless("a statement has no answer".to_owned())))
}

/// The answer to a single statement.
pub(super) async fn ask_one(http: &Http, statement: String) -> Result<Found, StoreError> {
    Ok(ask(http, &[statement]).await?.pop().unwrap_or_default())
}

fn failed(http: &Http, error: &str) -> StoreError {
    let message = http.message(error.as_bytes());
    let passing = PASSING.iter().any(|word| message.contains(word));
    let missing = message.contains("database not found");
    let hint = if missing { http.hint(StatusCode::NOT_FOUND) } else { String::new() };
    let failure = Failure::Said { message, hint };
    if passing { http.unavailable(failure) } else { http.rejected(failure) }
}

/// A double-quoted identifier.
pub(super) fn identifier(text: &str) -> String {
    quoted(text, '"')
}

/// A single-quoted text.
pub(super) fn literal(text: &str) -> String {
    quoted(text, '\'')
}

fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            other => {
                if other == quote || other == '\\' {
                    out.push('\\');
                }
                out.push(other);
            }
        }
    }
    out.push(quote);
    out
}

/// Metrics as a list of measurements.
pub(super) fn measurements<'a>(metrics: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> =
        metrics.into_iter().map(|metric| identifier(&name::measurement(metric))).collect();
    names.join(",")
}

/// A condition for any of some devices, whose characters mean nothing in a regular expression.
pub(super) fn any_device(devices: &[DeviceId]) -> String {
    let names: Vec<&str> = devices.iter().map(DeviceId::as_str).collect();
    format!("\"device\"::tag =~ /^(?:{})$/", names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(identifier(r#"a" FROM b; DROP DATABASE "x"#), r#""a\" FROM b; DROP DATABASE \"x""#);
        assert_eq!(literal(r"\' OR 1=1 --"), r"'\\\' OR 1=1 --'");
        assert_eq!(measurements(["a\\", "b"]), r#""a%5C","b""#);
    }

    #[test]
    fn only_a_series_with_the_device_alone_is_ours() {
        let table = |tags: &str| -> Table { serde_json::from_str(&format!("{{\"tags\":{tags}}}")).unwrap() };
        assert!(table(r#"{"device":"a","host":""}"#).is_ours("a"));
        assert!(table(r#"{"device":"a","host":null}"#).is_ours("a"));
        for foreign in [r#"{"device":"a","host":"b"}"#, r#"{"device":"b"}"#, r#"{"host":"a"}"#, "{}"] {
            assert!(!table(foreign).is_ours("a"), "{foreign}");
        }
    }
}

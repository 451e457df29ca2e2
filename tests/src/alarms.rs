//! The alarms' history, as it is and as it should be.

use anyhow::{Context, Result};
use fieldline_model::Timestamp;
use serde_json::Value;

use crate::Server;
use crate::http::encode;

/// Raised and returned, as the server's history of a device has them: when, and what, sorted.
///
/// # Errors
/// The server does not answer, or not with a history.
pub fn history(server: &Server, device: &str) -> Result<Vec<(String, String)>> {
    let path = format!("/api/v1/alarms/history?device={device}&limit=1000");
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let (mut lines, mut next) = (Vec::new(), String::new());
    loop {
        let page = server.http().json(&format!("{path}{next}"))?;
        let found = page["history"].as_array().context("no history")?;
        lines.extend(found.iter().map(|line| (word(line, "at"), word(line, "transition"))));
        match page["next"].as_str() {
            Some(more) => next = format!("&next={}", encode(more)),
            None => break,
        }
    }
    lines.sort();
    Ok(lines)
}

/// When an alarm of `temperature > 80.0` is raised and returns, as [`history`] gives it: of milliseconds and values.
///
/// # Errors
/// A time beyond what can be told.
pub fn transitions(values: &[(i64, f64)]) -> Result<Vec<(String, String)>> {
    let mut active = false;
    let mut lines = Vec::new();
    for (ms, value) in values {
        if (*value > 80.0) != active {
            active = !active;
            let at = Timestamp::from_millis(*ms)?;
            lines.push((at.to_string(), if active { "raised" } else { "returned" }.to_owned()));
        }
    }
    lines.sort();
    Ok(lines)
}

/// What is missing, and what is too much.
pub fn difference(expected: &[(String, String)], found: &[(String, String)]) -> String {
    let lost: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let more: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    format!("lost {lost:?}, more {more:?}, {} of {}", found.len(), expected.len())
}

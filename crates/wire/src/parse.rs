//! Payloads that devices send, as [`Rows`]. See `docs/formats/payloads.md`.
//!
//! Each function appends what it reads to a [`Parsed`] that the caller uses again and again. What
//! cannot be a reading becomes a [`Reject`] and leaves the others alone. A [`ParseError`] says that
//! the message as a whole cannot be read; the caller then discards what was appended.

mod json;
mod line;
mod scalar;
mod senml;
#[cfg(test)]
mod tests;
mod time;
mod value;

use fieldline_model::{Metric, Reason, Timestamp};

pub use line::{LineContext, Precision, UnknownPrecision, line};

use crate::Rows;

/// What a parser has to know besides the payload.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The device that sent the payload; it has passed [`fieldline_model::DeviceId::check`].
    pub device: &'a str,
    /// The time of arrival, for readings that tell none.
    pub now: Timestamp,
}

/// What has been read; [`Parsed::clear`] makes it ready for the next payload and keeps its room.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The readings.
    pub rows: Rows,
    /// What could not be a reading.
    pub rejects: Vec<Reject>,
}

impl Parsed {
    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.rejects.clear();
    }
}

/// One reading that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// The device, where it is known.
    pub device: Option<String>,
    /// The metric, where it is known.
    pub metric: Option<String>,
    /// What was wrong, for people; short. Only the first 64 rejects of a payload say it.
    pub detail: String,
}

/// The message as a whole cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not UTF-8.
    #[error("not UTF-8 from byte {byte} on")]
    Utf8 {
        /// The first byte that is no UTF-8, counted from 0.
        byte: usize,
    },
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}: {what}")]
    Json {
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// JSON or text, but not of a shape that telemetry has.
    #[error("{what}")]
    Shape {
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Not a SenML pack.
    #[error("not SenML at record {record}: {what}")]
    Senml {
        /// The record, counted from 1.
        record: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// What a payload looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object, or an array of them.
    Json,
    /// A SenML pack (RFC 8428).
    Senml,
    /// InfluxDB line protocol.
    Line,
}

/// Which parser a payload of `telemetry/<device>` belongs to; a guess that costs next to nothing.
pub fn detect(payload: &[u8]) -> Format {
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Format::Json,
        Some(b'[') if senml::looks_like(payload) => Format::Senml,
        Some(b'[') => Format::Json,
        _ => Format::Line,
    }
}

/// Reads a payload of `telemetry/<device>`, whichever [`Format`] it has.
///
/// # Errors
/// [`ParseError`] of the parser that was chosen.
pub fn payload(payload: &[u8], context: &Context<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    match detect(payload) {
        Format::Json => json(payload, context, parsed),
        Format::Senml => senml(payload, context, parsed),
        Format::Line => {
            let context = LineContext {
                now: context.now,
                precision: Precision::Nanoseconds,
                device: Some(context.device),
            };
            line(payload, &context, parsed)
        }
    }
}

/// Reads a JSON object `{"temperature": 21.5, "running": true, "ts": "2026-11-22T10:00:00Z"}` or an
/// array of them.
///
/// # Errors
/// [`ParseError`] if it is no JSON, or neither object nor array of objects.
pub fn json(payload: &[u8], context: &Context<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    json::parse(payload, context, parsed)
}

/// Reads a SenML pack in JSON (RFC 8428).
///
/// # Errors
/// [`ParseError`] if it is no JSON, or no SenML.
pub fn senml(payload: &[u8], context: &Context<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    senml::parse(payload, context, parsed)
}

/// Reads one value, the payload of `telemetry/<device>/<metric>`: `21.5`, `42`, `true`, `"text"` or
/// bare text.
///
/// # Errors
/// [`ParseError`] if it is not UTF-8, or empty.
pub fn scalar(
    payload: &[u8],
    context: &Context<'_>,
    metric: &Metric,
    parsed: &mut Parsed,
) -> Result<(), ParseError> {
    scalar::parse(payload, context, metric, parsed)
}

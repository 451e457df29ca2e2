//! One value out of its text, and the way a value gets into the rows or is refused.

use std::borrow::Cow;

use fieldline_model::{Metric, Quality, ReadingRef, Reason, TEXT_BYTES_MAX, Timestamp, ValueRef};

use super::{Parsed, Reject};

/// How many rejects of a payload tell their names and details.
const DETAILED_MAX: usize = 64;
/// The longest name in a reject, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Why a value is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: &'static str,
}

impl Refusal {
    pub(super) const fn value(detail: &'static str) -> Self {
        Self { reason: Reason::BadValue, detail }
    }
}

/// A value as it stands in a payload, lent where it needs no unescaping.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    pub(super) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Text(value) => ValueRef::Text(value),
        }
    }
}

/// The value of a piece of well-formed JSON.
pub(super) fn json_scalar(raw: &str) -> Result<Scalar<'_>, Refusal> {
    match raw.as_bytes() {
        [b'"', ..] => json_text(raw).map(Scalar::Text),
        b"true" => Ok(Scalar::Boolean(true)),
        b"false" => Ok(Scalar::Boolean(false)),
        b"null" => Err(Refusal::value("null is no value")),
        [b'{', ..] => Err(Refusal::value("an object is no value")),
        [b'[', ..] => Err(Refusal::value("an array is no value")),
        _ => number(raw).unwrap_or(Err(Refusal::value("not a number"))),
    }
}

/// The text of a well-formed JSON string.
pub(super) fn json_text(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        _ => serde_json::from_str::<String>(raw)
            .map(Cow::Owned)
            .map_err(|_| Refusal::value("a text that is not Unicode")),
    }
}

/// The value of a decimal number: an integer if it has neither fraction nor exponent. `None` if the
/// text is no number at all.
pub(super) fn number(text: &str) -> Option<Result<Scalar<'static>, Refusal>> {
    let mut fraction = false;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'-' | b'+' => {}
            b'.' | b'e' | b'E' => fraction = true,
            _ => return None,
        }
    }
    if fraction {
        let value = text.parse::<f64>().ok()?;
        let beyond = Refusal::value("a number beyond the range of 64-bit floats");
        return Some(if value.is_finite() { Ok(Scalar::Float(value)) } else { Err(beyond) });
    }
    match text.parse::<i64>() {
        Ok(value) => Some(Ok(Scalar::Integer(value))),
        Err(error) => match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => Some(Err(RANGE)),
            _ => None,
        },
    }
}

pub(super) const RANGE: Refusal =
    Refusal { reason: Reason::IntegerRange, detail: "a whole number beyond 64 bits" };

impl Parsed {
    /// Adds a reading, or a reject where the metric or the value breaks its rule.
    pub(super) fn add(
        &mut self,
        device: &str,
        metric: &str,
        time: Timestamp,
        value: Result<ValueRef<'_>, Refusal>,
    ) {
        match value.and_then(|value| admit(metric, value)) {
            Ok(value) => {
                self.rows.push(ReadingRef { device, metric, time, value, quality: Quality::Good });
            }
            Err(refusal) => self.reject(refusal, Some(device), Some(metric)),
        }
    }

    /// Counts a reading as refused.
    pub(super) fn reject(&mut self, refusal: Refusal, device: Option<&str>, metric: Option<&str>) {
        self.reject_with(refusal.reason, device, metric, || refusal.detail.to_owned());
    }

    /// Counts a reading as refused; `detail` is asked for only while there is room for it.
    pub(super) fn reject_with(
        &mut self,
        reason: Reason,
        device: Option<&str>,
        metric: Option<&str>,
        detail: impl FnOnce() -> String,
    ) {
        let reject = if self.rejects.len() < DETAILED_MAX {
            Reject { reason, device: device.map(shortened), metric: metric.map(shortened), detail: detail() }
        } else {
            Reject { reason, device: None, metric: None, detail: String::new() }
        };
        self.rejects.push(reject);
    }

    /// Turns the rows from `start` on into rejects.
    pub(super) fn reject_rows(&mut self, start: usize, refusal: Refusal) {
        let rows = std::mem::take(&mut self.rows);
        for reading in rows.iter().skip(start) {
            self.reject(refusal, Some(reading.device), Some(reading.metric));
        }
        self.rows = rows;
        self.rows.truncate(start);
    }
}

fn admit<'a>(metric: &str, value: ValueRef<'a>) -> Result<ValueRef<'a>, Refusal> {
    if Metric::check(metric).is_err() {
        let detail = "a metric name has 1 to 256 bytes, no control characters, / + #";
        return Err(Refusal { reason: Reason::BadName, detail });
    }
    match value {
        ValueRef::Text(text) if text.len() > TEXT_BYTES_MAX => {
            Err(Refusal { reason: Reason::TextTooLong, detail: "a text is longer than 1 KiB" })
        }
        value => Ok(value),
    }
}

fn shortened(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}

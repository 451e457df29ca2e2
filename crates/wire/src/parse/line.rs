//! InfluxDB line protocol: `measurement,tag=value field=1.5,other=2i 1465839830100400200`.

mod cut;

use std::borrow::Cow;
use std::fmt::Write;

use fieldline_model::{DeviceId, Reason, Timestamp};

use super::value::{RANGE, Refusal, Scalar, number};
use super::{ParseError, Parsed};
use cut::{end_of_line, split_at, unescape, unquote};

/// What the line protocol parser has to know besides the payload.
#[derive(Debug, Clone, Copy)]
pub struct LineContext<'a> {
    /// The time of arrival, for lines that tell none.
    pub now: Timestamp,
    /// The unit of the lines' timestamps.
    pub precision: Precision,
    /// The device of the topic, if the payload came by one. Without it the tag `device`, else the
    /// tag `host`, names the device.
    pub device: Option<&'a str>,
}

/// The unit of timestamps in line protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `ns`, what InfluxDB assumes.
    #[default]
    Nanoseconds,
    /// `us` (InfluxDB 1 also says `u`).
    Microseconds,
    /// `ms`.
    Milliseconds,
    /// `s`.
    Seconds,
}

/// The text names no precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no precision; the precisions are ns, us, ms, s")]
pub struct UnknownPrecision(String);

impl Precision {
    fn nanos(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    /// Reads the parameter `precision` of InfluxDB 1 and 2.
    fn from_str(text: &str) -> Result<Self, UnknownPrecision> {
        match text {
            "ns" | "n" => Ok(Self::Nanoseconds),
            "us" | "u" => Ok(Self::Microseconds),
            "ms" => Ok(Self::Milliseconds),
            "s" => Ok(Self::Seconds),
            _ => Err(UnknownPrecision(text.to_owned())),
        }
    }
}

/// Reads InfluxDB line protocol. A bad line becomes a reject that tells its number; the others stand.
///
/// # Errors
/// [`ParseError::Utf8`].
pub fn line(payload: &[u8], context: &LineContext<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    let mut rest = super::json::text(payload)?;
    let mut reader = Reader { context, parsed, number: 0, device: String::new(), metric: String::new() };
    while !rest.is_empty() {
        let (line, later) = end_of_line(rest);
        reader.number += 1;
        reader.line(line);
        // A text may go on over several lines.
        reader.number += line.bytes().filter(|byte| *byte == b'\n').count();
        rest = later;
    }
    Ok(())
}

/// The parts of a line that stands on its own, still escaped.
struct Line<'a> {
    measurement: &'a str,
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    fields: &'a str,
    time: &'a str,
}

struct Reader<'c> {
    context: &'c LineContext<'c>,
    parsed: &'c mut Parsed,
    /// The line that is being read, from 1.
    number: usize,
    device: String,
    metric: String,
}

impl Reader<'_> {
    fn line(&mut self, text: &str) {
        let text = text.trim_matches([' ', '\t', '\r', '\n', '\0']);
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        let start = self.parsed.rows.len();
        let read = split(text).and_then(|line| {
            let time = self.time(line.time);
            self.name(&line)?;
            self.fields(&line, time)
        });
        if let Err(what) = read {
            self.parsed.rows.truncate(start);
            let number = self.number;
            self.parsed.reject_with(Reason::Malformed, None, None, || format!("line {number}: {what}"));
        }
    }

    /// Finds the device and the tags that belong to the metric.
    fn name(&mut self, line: &Line<'_>) -> Result<(), &'static str> {
        let tag = |name: &str| line.tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        self.device.clear();
        match (self.context.device, tag("device"), tag("host")) {
            (Some(device), _, _) | (None, Some(device), _) => self.device.push_str(device),
            (None, None, Some(host)) => {
                self.device.extend(host.chars().map(|c| if in_id(c) { c } else { '-' }))
            }
            (None, None, None) => return Err("neither the topic nor a tag device or host names the device"),
        }
        Ok(())
    }

    fn time(&self, text: &str) -> Result<Timestamp, Refusal> {
        if text.is_empty() {
            return Ok(self.context.now);
        }
        let nanos =
            text.parse::<i64>().ok().and_then(|time| time.checked_mul(self.context.precision.nanos()));
        let detail = "the timestamp is no whole number, or outside what 64 bits of nanoseconds hold";
        nanos.map(Timestamp::from_nanos).ok_or(Refusal { reason: Reason::BadTime, detail })
    }

    fn fields(&mut self, line: &Line<'_>, time: Result<Timestamp, Refusal>) -> Result<(), &'static str> {
        self.metric.clear();
        escape(&unescape(line.measurement, &[',', ' ']), &['/', '+', '#'], &mut self.metric);
        self.metric.push('.');
        let stem = self.metric.len();
        let suffix = self.tags(line);
        let mut rest = line.fields;
        while !rest.is_empty() {
            let (field, later) = split_at(rest, b',', true);
            let (key, value) = split_at(field, b'=', false);
            let value = value.ok_or("a field without a value")?;
            if key.is_empty() || value.is_empty() {
                return Err("a field without a name or without a value");
            }
            self.metric.truncate(stem);
            escape(&unescape(key, &[',', '=', ' ']), &['/', '+', '#'], &mut self.metric);
            self.metric.push_str(&suffix);
            let value = field_value(value)?;
            let value = value.as_ref().map(Scalar::as_ref).map_err(|refusal| *refusal);
            self.add(time, value);
            rest = match later {
                Some("") => return Err("a comma with no field after it"),
                Some(later) => later,
                None => "",
            };
        }
        Ok(())
    }

    fn add(
        &mut self,
        time: Result<Timestamp, Refusal>,
        value: Result<fieldline_model::ValueRef<'_>, Refusal>,
    ) {
        let value = match time {
            Err(refusal) => Err(refusal),
            Ok(_) => value,
        };
        let value = match DeviceId::check(&self.device) {
            Ok(()) => value,
            Err(_) => {
                let detail = "the tag device has 1 to 128 characters out of a-z A-Z 0-9 : _ -";
                Err(Refusal { reason: Reason::BadName, detail })
            }
        };
        self.parsed.add(&self.device, &self.metric, time.unwrap_or(self.context.now), value);
    }

    /// `{tag=value,…}`, sorted, without what names the device; nothing if nothing is left.
    fn tags(&self, line: &Line<'_>) -> String {
        let by_device_tag = line.tags.iter().any(|(key, _)| key == "device");
        let names_the_device = |key: &str, value: &str| match (self.context.device, key) {
            (Some(device), "device" | "host") => value == device,
            (None, "device") => true,
            (None, "host") => !by_device_tag,
            _ => false,
        };
        let mut kept: Vec<_> =
            line.tags.iter().filter(|(key, value)| !names_the_device(key, value)).collect();
        if kept.is_empty() {
            return String::new();
        }
        kept.sort();
        let mut out = String::from("{");
        for (i, (key, value)) in kept.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            const SYNTAX: [char; 8] = ['/', '+', '#', '%', ',', '=', '{', '}'];
            escape(key, &SYNTAX, &mut out);
            out.push('=');
            escape(value, &SYNTAX, &mut out);
        }
        out.push('}');
        out
    }
}

fn split(text: &str) -> Result<Line<'_>, &'static str> {
    let (head, rest) = split_at(text, b' ', false);
    let rest = rest.ok_or("no fields")?.trim_start_matches(' ');
    let (fields, time) = split_at(rest, b' ', true);
    let (measurement, mut tags_left) = split_at(head, b',', false);
    if measurement.is_empty() {
        return Err("no measurement");
    }
    if fields.is_empty() {
        return Err("no fields");
    }
    let mut tags = Vec::new();
    while let Some(rest) = tags_left {
        let (tag, later) = split_at(rest, b',', false);
        let (key, value) = split_at(tag, b'=', false);
        let value = value.ok_or("a tag without a value")?;
        if key.is_empty() || value.is_empty() {
            return Err("a tag without a name or without a value");
        }
        tags.push((unescape(key, &[',', '=', ' ']), unescape(value, &[',', '=', ' '])));
        tags_left = later;
    }
    let time = time.unwrap_or_default().trim();
    if time.contains(' ') {
        return Err("something after the timestamp");
    }
    Ok(Line { measurement, tags, fields, time })
}

/// The value of a field. The outer error is one of syntax, after which the line cannot be trusted.
fn field_value(text: &str) -> Result<Result<Scalar<'_>, Refusal>, &'static str> {
    if text.starts_with('"') {
        let text = unquote(text).ok_or("a text without its closing quote")?;
        return Ok(Ok(Scalar::Text(text)));
    }
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Ok(Scalar::Boolean(true))),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Ok(Scalar::Boolean(false))),
        _ => {}
    }
    let whole =
        text.strip_suffix('i').or_else(|| text.strip_suffix('u').filter(|digits| !digits.starts_with('-')));
    let wrong = Refusal::value("a field value is no number, text or truth value");
    Ok(match (whole.and_then(number), number(text)) {
        (Some(Ok(Scalar::Integer(value))), _) => Ok(Scalar::Integer(value)),
        (Some(Err(RANGE)), _) => Err(RANGE),
        (None, Some(Ok(Scalar::Float(value)))) => Ok(Scalar::Float(value)),
        // Without the suffix every number is a float.
        (None, Some(Ok(Scalar::Integer(_)) | Err(RANGE))) => {
            text.parse::<f64>().map(Scalar::Float).map_err(|_| wrong)
        }
        (None, Some(Err(refusal))) => Err(refusal),
        _ => Err(wrong),
    })
}

fn in_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
}

/// Appends `text` with control characters and `reserved` as `%` and their bytes in hexadecimal, so
/// that names that differ stay different.
fn escape(text: &str, reserved: &[char], out: &mut String) {
    for c in text.chars() {
        if c.is_control() || reserved.contains(&c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing into a String cannot fail.
                let _ok = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
}

use fieldline_model::Timestamp;

use super::{ParseError, Parsed};

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

/// Reads InfluxDB line protocol. A bad line becomes a reject that tells its number; the others stand.
///
/// # Errors
/// [`ParseError::Utf8`].
pub fn line(_: &[u8], _: &LineContext<'_>, _: &mut Parsed) -> Result<(), ParseError> {
    Err(ParseError::Shape { what: String::new() })
}

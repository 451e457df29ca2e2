use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not an RFC 3339 date and time.
    #[error("{0:?} is not a time in RFC 3339 form such as 2026-11-22T10:00:00Z")]
    Malformed(String),
    /// Outside 1677-09-21 to 2262-04-11, what 64 bits of nanoseconds hold.
    #[error("the time is outside 1677-09-21 to 2262-04-11")]
    OutOfRange,
}

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// In JSON it is an RFC 3339 text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 2020-01-01T00:00:00Z: a clock that says less has not been set, and judges no time by its own.
    pub const CLOCK_IS_SET: Self = Self(1_577_836_800_000_000_000);
    /// The earliest time that can be told.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time that can be told.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the epoch.
    pub fn from_millis(millis: i64) -> Result<Self, TimeError> {
        millis.checked_mul(1_000_000).map(Self).ok_or(TimeError::OutOfRange)
    }

    /// From seconds and fractions since the epoch; rounds to the nearest nanosecond.
    pub fn from_seconds(seconds: f64) -> Result<Self, TimeError> {
        let nanos = (seconds * 1e9).round();
        if nanos.is_finite() && nanos >= i64::MIN as f64 && nanos < i64::MAX as f64 {
            Ok(Self(nanos as i64))
        } else {
            Err(TimeError::OutOfRange)
        }
    }

    /// From a clock reading; saturates outside what can be told.
    pub fn from_system(clock: std::time::SystemTime) -> Self {
        let nanos = match clock.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Later (or, negative, earlier) by so many nanoseconds; saturates.
    #[must_use]
    pub const fn saturating_add_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let parsed =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError::Malformed(text.to_owned()))?;
        i64::try_from(parsed.unix_timestamp_nanos()).map(Self).map_err(|_| TimeError::OutOfRange)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formatted = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .map(|moment| moment.to_offset(UtcOffset::UTC))
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match formatted {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}ns", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> String {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_reads_zones_and_fractions() {
        let table = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("2026-11-22T10:00:00.123456789Z", 1_795_341_600_123_456_789),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
        ];
        for (text, nanos) in table {
            assert_eq!(text.parse::<Timestamp>().unwrap().nanos(), nanos, "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-22", "9999-01-01T00:00:00Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn milliseconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_nanos(1_999_999).millis(), 1);
        assert_eq!(Timestamp::from_nanos(-1).millis(), -1);
        assert_eq!(Timestamp::from_millis(i64::MAX), Err(TimeError::OutOfRange));
    }

    #[test]
    fn every_time_has_a_text_that_reads_back() {
        for nanos in [i64::MIN, -1, 0, 1, 1_795_341_600_000_000_000, i64::MAX] {
            let moment = Timestamp::from_nanos(nanos);
            assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        }
    }
}

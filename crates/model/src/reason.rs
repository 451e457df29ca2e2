use serde::{Deserialize, Serialize};

/// Why a reading (or a message that could not be read) was set aside instead of stored.
///
/// The word in JSON and in metrics is the variant in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The message cannot be parsed as a whole (bad JSON, SenML, line protocol, UTF-8).
    Malformed,
    /// A device id or metric name breaks its rule.
    BadName,
    /// A value is of no supported kind: null, nested object, NaN, an infinity.
    BadValue,
    /// A whole number does not fit 64 bits.
    IntegerRange,
    /// A text is longer than 1 KiB.
    TextTooLong,
    /// The time cannot be read.
    BadTime,
    /// The time lies further in the past than the horizon allows.
    TooOld,
    /// The time lies further in the future than the horizon allows.
    TooNew,
    /// The value is outside the configured range and the filter says reject.
    OutOfRange,
    /// The device has reached its limit of metrics.
    Cardinality,
    /// The message is larger than the limit.
    TooLarge,
    /// A journal record is damaged on disk.
    Damaged,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::BadName,
        Self::BadValue,
        Self::IntegerRange,
        Self::TextTooLong,
        Self::BadTime,
        Self::TooOld,
        Self::TooNew,
        Self::OutOfRange,
        Self::Cardinality,
        Self::TooLarge,
        Self::Damaged,
    ];

    /// The word in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadName => "bad-name",
            Self::BadValue => "bad-value",
            Self::IntegerRange => "integer-range",
            Self::TextTooLong => "text-too-long",
            Self::BadTime => "bad-time",
            Self::TooOld => "too-old",
            Self::TooNew => "too-new",
            Self::OutOfRange => "out-of-range",
            Self::Cardinality => "cardinality",
            Self::TooLarge => "too-large",
            Self::Damaged => "damaged",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_json_is_the_word_in_metrics() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
    }
}

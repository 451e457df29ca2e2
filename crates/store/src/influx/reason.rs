//! Why readings are set aside, and what refusals of the database mean.

/// Why a reading is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// InfluxDB holds 2 ns less than 64 bits on either side; VictoriaMetrics nothing before 1970.
    TimeOutOfRange,
    /// VictoriaMetrics drops what is more than two days ahead.
    InTheFuture,
    /// The database deletes what is so old.
    TooOld,
    /// The measurement has a field of this name and another type, from another writer.
    FieldTypeConflict,
    /// The database has a limit on series or tag values, and it is reached.
    OverALimit,
    /// The database's largest request is smaller than this line.
    TooLarge,
    /// VictoriaMetrics takes no text.
    Text,
    /// VictoriaMetrics takes no NaN and no infinity.
    NotFinite,
    /// VictoriaMetrics holds integers up to 2⁵³ exactly.
    NotExact,
    /// VictoriaMetrics has one value for a millisecond, and a later one came with this block.
    SameMillisecond,
    /// Anything else.
    Refused,
}

impl Reason {
    /// The word in the ledger.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::TimeOutOfRange => "time-out-of-range",
            Self::InTheFuture => "in-the-future",
            Self::TooOld => "too-old",
            Self::FieldTypeConflict => "field-type-conflict",
            Self::OverALimit => "over-a-limit-of-the-database",
            Self::TooLarge => "too-large-for-the-database",
            Self::Text => "text-not-taken",
            Self::NotFinite => "not-finite",
            Self::NotExact => "integer-beyond-2^53",
            Self::SameMillisecond => "same-millisecond",
            Self::Refused => "refused-by-the-database",
        }
    }
}

/// What the database says of lines that it did not take (400 or 422).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineRefusal {
    /// Why, as far as the message tells.
    pub(super) reason: Reason,
    /// How many were dropped; `None` where the message does not say, or cannot be trusted.
    pub(super) dropped: Option<usize>,
}

/// Reads a refusal; `None` if it does not speak of lines, so that other lines would fare no better.
pub(super) fn line_refusal(status: u16, message: &str) -> Option<LineRefusal> {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let of_lines =
        ["partial write", "unable to parse", "parsing failed", "line", "field", "time", "retention"];
    if status != 422 && !has(&of_lines) {
        return None;
    }
    let reason = if has(&["field type conflict", "column type", "invalid column type", "field type mismatch"])
    {
        Reason::FieldTypeConflict
    } else if has(&["retention"]) {
        Reason::TooOld
    } else if has(&["limit exceeded", "max-series", "max-values"]) {
        Reason::OverALimit
    } else if has(&["time outside range", "timestamp out of range"]) {
        Reason::TimeOutOfRange
    } else {
        Reason::Refused
    };
    // With lines that do not parse, the count says 0.
    let dropped = message.rsplit_once("dropped=").and_then(|(_, rest)| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(Some(rest), |end| rest.get(..end));
        digits?.parse().ok().filter(|count| *count > 0)
    });
    Some(LineRefusal { reason, dropped })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first six were said by InfluxDB 1.6.7, the others stand in the documentation of 2 and 3.
    #[test]
    fn refusals_are_understood() {
        let conflict = "partial write: field type conflict: input field \"value\" on measurement \"m\" is type \
                        integer, already exists as type float dropped=17";
        let outside = "unable to parse 'x v=3 9223372036854775807': time outside range";
        let table = [
            (400, conflict, Some((Reason::FieldTypeConflict, Some(17)))),
            (400, "partial write: points beyond retention policy dropped=1", Some((Reason::TooOld, Some(1)))),
            (400, "partial write: unable to parse 'a b 5': x dropped=0", Some((Reason::Refused, None))),
            (400, outside, Some((Reason::TimeOutOfRange, None))),
            (
                400,
                "partial write: max-series-per-database limit exceeded: (1) dropped=3",
                Some((Reason::OverALimit, Some(3))),
            ),
            (400, "database is required", None),
            (422, "unprocessable entity", Some((Reason::Refused, None))),
            (400, "partial write of line protocol occurred", Some((Reason::Refused, None))),
            (400, "invalid bucket name", None),
        ];
        for (status, message, expected) in table {
            let found = line_refusal(status, message).map(|found| (found.reason, found.dropped));
            assert_eq!(found, expected, "{message}");
        }
    }
}

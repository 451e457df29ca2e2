//! Points as JSON, written straight into bytes: no tree of values in between.

use fieldline_model::{Timestamp, ValueRef};

/// The unit of the times in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Precision {
    #[default]
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Precision {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "ms" => Some(Self::Milliseconds),
            "us" => Some(Self::Microseconds),
            "ns" => Some(Self::Nanoseconds),
            _ => None,
        }
    }

    /// Rounded down, on both sides of the epoch.
    fn of(self, time: Timestamp) -> i64 {
        match self {
            Self::Milliseconds => time.nanos().div_euclid(1_000_000),
            Self::Microseconds => time.nanos().div_euclid(1_000),
            Self::Nanoseconds => time.nanos(),
        }
    }
}

/// Appends `[time,value]`.
pub(crate) fn write_point(out: &mut Vec<u8>, time: Timestamp, value: ValueRef<'_>, precision: Precision) {
    out.push(b'[');
    write_json(out, &precision.of(time));
    out.push(b',');
    write_value(out, value);
    out.push(b']');
}

/// Floats in the shortest form that reads back to the same bits; what JSON has no word for is null.
pub(crate) fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Boolean(value) => write_json(out, &value),
        ValueRef::Integer(value) => write_json(out, &value),
        ValueRef::Float(value) => write_json(out, &value),
        ValueRef::Text(value) => write_json(out, value),
    }
}

/// Appends a value as JSON.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing numbers, booleans and texts into memory has no way to fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: ValueRef<'_>) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_keep_their_kind_and_their_bits() {
        assert_eq!(written(ValueRef::Integer(73)), "73");
        assert_eq!(written(ValueRef::Float(73.0)), "73.0");
        assert_eq!(written(ValueRef::Boolean(true)), "true");
        assert_eq!(written(ValueRef::Text("a\"b\n")), "\"a\\\"b\\n\"");
        for number in [0.1, -0.0, 1e21, 5e-324, f64::MAX, 74.935_881_999_999_98] {
            let back: f64 = written(ValueRef::Float(number)).parse().unwrap();
            assert_eq!(back.to_bits(), number.to_bits());
        }
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(written(ValueRef::Float(strange)), "null");
        }
    }

    #[test]
    fn times_are_rounded_down_to_the_unit() {
        let time = Timestamp::from_nanos(-1_500_001);
        for (precision, expected) in [
            (Precision::Milliseconds, "[-2,1]"),
            (Precision::Microseconds, "[-1501,1]"),
            (Precision::Nanoseconds, "[-1500001,1]"),
        ] {
            let mut out = Vec::new();
            write_point(&mut out, time, ValueRef::Integer(1), precision);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

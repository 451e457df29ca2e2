//! Values as Timestream's text of them, and back, bit for bit.

use fieldline_model::{Quality, Value, ValueRef};

use super::column::Kind;

/// A text of no length; Timestream wants at least one character.
const EMPTY: &str = "empty";
const NAN: u64 = 0x7ff8_0000_0000_0000;

/// A value as a measure: in which kind of column, and the text.
pub(super) fn encode(value: ValueRef<'_>) -> (Kind, String) {
    match value {
        ValueRef::Float(value) if value.is_finite() => (Kind::Float, shortest(value)),
        ValueRef::Float(value) => (Kind::Odd, odd(value)),
        ValueRef::Integer(value) => (Kind::Integer, value.to_string()),
        ValueRef::Boolean(value) => (Kind::Boolean, value.to_string()),
        ValueRef::Text("") => (Kind::Odd, EMPTY.to_owned()),
        ValueRef::Text(value) => (Kind::Text, value.to_owned()),
    }
}

/// Of the two ways to write a number the shorter one; both read back as the same bits.
fn shortest(value: f64) -> String {
    let (plain, scientific) = (value.to_string(), format!("{value:E}"));
    if plain.len() <= scientific.len() { plain } else { scientific }
}

fn odd(value: f64) -> String {
    match value.to_bits() {
        _ if value == f64::INFINITY => "Infinity".to_owned(),
        _ if value == f64::NEG_INFINITY => "-Infinity".to_owned(),
        NAN => "NaN".to_owned(),
        bits => format!("NaN:{bits:016x}"),
    }
}

/// Reads what a column gave; `None` if nobody here has written that.
pub(super) fn decode(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Float => text.parse().ok().map(Value::Float),
        Kind::Integer => text.parse().ok().map(Value::Integer),
        Kind::Boolean => text.parse().ok().map(Value::Boolean),
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Odd => match text {
            EMPTY => Some(Value::Text(String::new())),
            "Infinity" => Some(Value::Float(f64::INFINITY)),
            "-Infinity" => Some(Value::Float(f64::NEG_INFINITY)),
            "NaN" => Some(Value::Float(f64::from_bits(NAN))),
            other => {
                let bits = u64::from_str_radix(other.strip_prefix("NaN:")?, 16).ok()?;
                Some(Value::Float(f64::from_bits(bits)))
            }
        },
    }
}

/// An entry of the measure `quality`: a column that is not good; `None` for one that is.
pub(super) fn quality_entry(base: &str, quality: Quality) -> Option<String> {
    match quality {
        Quality::Good => None,
        Quality::Uncertain => Some(format!("{base}=uncertain")),
        Quality::Bad => Some(format!("{base}=bad")),
    }
}

/// The quality of a column, from the measure `quality` of its record.
pub(super) fn quality_of(entries: Option<&str>, base: &str) -> Quality {
    let entries = entries.unwrap_or_default().split(',').filter_map(|entry| entry.rsplit_once('='));
    match entries.into_iter().find(|(name, _)| *name == base) {
        Some((_, "uncertain")) => Quality::Uncertain,
        Some((_, "bad")) => Quality::Bad,
        _ => Quality::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_bit_for_bit() {
        let floats = [
            0.0,
            -0.0,
            1.0 / 3.0,
            -1e300,
            1e22,
            21.5,
            f64::MIN_POSITIVE / 3.0,
            f64::from_bits(1),
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
            f64::from_bits(0x7ff0_0000_0000_0001),
        ];
        for value in floats {
            let (kind, text) = encode(ValueRef::Float(value));
            assert_eq!(kind == Kind::Float, value.is_finite());
            assert!(text.len() <= 24, "{text}");
            let Some(Value::Float(back)) = decode(kind, &text) else { panic!("{text}") };
            assert_eq!(back.to_bits(), value.to_bits(), "{text}");
        }
        let others = [
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Boolean(true),
            Value::Text(String::new()),
            Value::Text("empty".to_owned()),
            Value::Text("a \"quoted\"\nline, 'fault' ⚠".to_owned()),
        ];
        for value in others {
            let (kind, text) = encode(value.as_ref());
            assert!(!text.is_empty());
            assert_eq!(decode(kind, &text), Some(value));
        }
    }

    #[test]
    fn qualities_name_their_columns() {
        let entries = [quality_entry("a", Quality::Bad), quality_entry("b", Quality::Uncertain)];
        let text = entries.map(Option::unwrap).join(",");
        assert_eq!(quality_of(Some(&text), "a"), Quality::Bad);
        assert_eq!(quality_of(Some(&text), "b"), Quality::Uncertain);
        assert_eq!(quality_of(Some(&text), "c"), Quality::Good);
        assert_eq!(quality_of(None, "a"), Quality::Good);
        assert_eq!(quality_entry("a", Quality::Good), None);
    }
}

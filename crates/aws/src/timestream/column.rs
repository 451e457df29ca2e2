//! Names of columns: metrics as measure names of Timestream, and back.

use fieldline_model::Metric;

/// The dimension that every record has.
pub(super) const DEVICE: &str = "device";
/// The dimension of a narrow record: the metric, as it is.
pub(super) const METRIC: &str = "metric";
/// The measure by which reading tells which of two records stands.
pub(super) const PLACE: &str = "place";
/// The measure that names the columns of a record which are not good.
pub(super) const QUALITY: &str = "quality";
/// What stands in a narrow record where a wide one has the metric.
pub(super) const READING: &str = "reading";

/// The longest measure name that Timestream takes, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest suffix of a kind.
const SUFFIX_BYTES_MAX: usize = 6;
/// Names that are taken, by Timestream or by us.
const RESERVED: [&str; 6] = ["time", DEVICE, METRIC, PLACE, QUALITY, READING];
/// Beginnings that Timestream keeps for itself.
const RESERVED_PREFIXES: [&str; 3] = ["ts_", "measure_name", "measure_value"];

/// What a column holds. A column of Timestream has one type for ever, so each kind has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A finite number: `DOUBLE`.
    Float,
    /// A whole number: `BIGINT`.
    Integer,
    /// A state: `BOOLEAN`.
    Boolean,
    /// A text that is not empty: `VARCHAR`.
    Text,
    /// What Timestream takes in no column of its kind, as text: `VARCHAR`.
    Odd,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Float, Self::Integer, Self::Boolean, Self::Text, Self::Odd];

    /// What a column of this kind ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Float => "",
            Self::Integer => "__int",
            Self::Boolean => "__bool",
            Self::Text => "__text",
            Self::Odd => "__odd",
        }
    }

    /// The type of the column, as `DESCRIBE` says it.
    pub(super) fn sql_type(self) -> &'static str {
        match self {
            Self::Float => "double",
            Self::Integer => "bigint",
            Self::Boolean => "boolean",
            Self::Text | Self::Odd => "varchar",
        }
    }
}

/// The name of a metric's column without the suffix of its kind; `None` if it would be too long.
///
/// Letters, digits, `.`, `-` and single `_` between them stay; all else is `__` and the two hex digits
/// of each byte. So a `__` always begins an escape or a suffix.
pub(super) fn base(metric: &str) -> Option<String> {
    let mut out = String::with_capacity(metric.len());
    let mut chars = metric.chars().peekable();
    let mut keep = !is_reserved(metric);
    while let Some(char) = chars.next() {
        let plain = is_plain(char) || (char == '_' && chars.peek().is_some_and(|next| is_plain(*next)));
        if plain && keep {
            out.push(char);
        } else {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("__{byte:02X}"));
            }
        }
        keep = true;
    }
    (out.len() <= NAME_BYTES_MAX - SUFFIX_BYTES_MAX).then_some(out)
}

fn is_plain(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '.' | '-')
}

fn is_reserved(metric: &str) -> bool {
    let lower = metric.to_ascii_lowercase();
    RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
}

/// The metric and the kind of a column; `None` if the column is not one of ours.
pub(super) fn parse(column: &str) -> Option<(Metric, Kind)> {
    let mut bytes = Vec::with_capacity(column.len());
    let mut kind = Kind::Float;
    let mut rest = column;
    while let Some(at) = rest.find("__") {
        let (head, tail) = rest.split_at(at);
        bytes.extend_from_slice(head.as_bytes());
        if let Some(found) = Kind::ALL.into_iter().find(|kind| kind.suffix() == tail) {
            (kind, rest) = (found, "");
            break;
        }
        bytes.push(u8::from_str_radix(tail.get(2..4)?, 16).ok()?);
        rest = tail.get(4..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let metric = Metric::new(&String::from_utf8(bytes).ok()?).ok()?;
    // A name that only looks like one of ours is somebody else's.
    let ours = base(metric.as_str())? + kind.suffix();
    (ours == column).then_some((metric, kind))
}

/// The kind of a column of narrow records.
pub(super) fn parse_reading(column: &str) -> Option<Kind> {
    let suffix = column.strip_prefix(READING)?;
    Kind::ALL.into_iter().find(|kind| kind.suffix() == suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_its_own_column_where_it_can_be() {
        let table = [
            ("temperature", "temperature"),
            ("cpu.usage-2", "cpu.usage-2"),
            ("oil_level", "oil_level"),
            ("Außen_3", "Außen_3"),
            ("cpu.usage{cpu=0}", "cpu.usage__7Bcpu__3D0__7D"),
            ("a b", "a__20b"),
            ("a\"b'c", "a__22b__27c"),
            ("°", "__C2__B0"),
            ("_", "__5F"),
            ("a_", "a__5F"),
            ("_a", "_a"),
            ("a__b", "a__5F_b"),
            ("a__int", "a__5F_int"),
            ("time", "__74ime"),
            ("Device", "__44evice"),
            ("ts_x", "__74s_x"),
            ("measure_value::double", "__6Deasure_value__3A__3Adouble"),
            ("timer", "timer"),
        ];
        for (metric, column) in table {
            assert_eq!(base(metric).as_deref(), Some(column), "{metric}");
            for kind in Kind::ALL {
                let column = format!("{column}{}", kind.suffix());
                assert_eq!(parse(&column), Some((Metric::new(metric).unwrap(), kind)), "{column}");
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_no_metric() {
        for column in ["time", "device", "place", "quality", "reading", "reading__int", "measure_name", "a__"]
        {
            assert_eq!(parse(column), None, "{column}");
        }
        for column in ["a__5f", "a__7", "a b", "a__20__foo", "__61", "a__FF", "a__int__int"] {
            assert_eq!(parse(column), None, "{column}");
        }
        assert_eq!(parse_reading("reading__text"), Some(Kind::Text));
        assert_eq!(parse_reading("readings"), None);
    }

    #[test]
    fn a_column_has_at_most_256_bytes() {
        assert!(base(&"m".repeat(250)).is_some());
        assert!(base(&"m".repeat(251)).is_none());
        assert!(base(&" ".repeat(63)).is_none());
    }

    /// Any two metrics have columns of their own, whatever is in them.
    #[test]
    fn columns_never_clash() {
        let letters = ["_", "a", "2", " ", "F", "int", "__", "5F", "é"];
        let mut seen = std::collections::BTreeMap::new();
        let count = letters.len();
        for number in 0..count.pow(4) {
            let metric: String = (0..4_u32).map(|digit| letters[number / count.pow(digit) % count]).collect();
            for kind in Kind::ALL {
                let column = base(&metric).unwrap() + kind.suffix();
                let held = seen.entry(column).or_insert_with(|| (metric.clone(), kind));
                assert_eq!(*held, (metric.clone(), kind));
            }
            let column = base(&metric).unwrap();
            assert_eq!(parse(&column).unwrap().0.as_str(), metric);
        }
    }
}

//! Pieces of Timestream's SQL. Nothing that came from outside gets into a statement but through
//! [`identifier`] and [`literal`].

use fieldline_model::{DeviceId, Metric};
use fieldline_store::Glob;

use super::column::DEVICE;

/// The longest device name, in bytes.
const DEVICE_BYTES_MAX: usize = 128;

/// A name in double quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A moment; nanoseconds since the epoch.
pub(super) fn moment(nanos: i64) -> String {
    format!("from_nanoseconds({nanos})")
}

/// Conditions that all hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(Vec<String>);

impl Conditions {
    pub(super) fn and(mut self, condition: impl Into<String>) -> Self {
        self.0.push(condition.into());
        self
    }

    /// Times from `from` on and before `to`. Where a bound excludes nothing it is left out.
    pub(super) fn within(mut self, from: i64, to: i64) -> Self {
        if from > i64::MIN {
            self.0.push(format!("time >= {}", moment(from)));
        }
        self.0.push(format!("time < {}", moment(to)));
        self
    }

    pub(super) fn device(self, device: &DeviceId) -> Self {
        self.and(format!("{} = {}", identifier(DEVICE), literal(device.as_str())))
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" AND "))
    }
}

/// Devices by name or pattern. Patterns that no name can match never get here.
#[derive(Debug, Clone)]
pub(super) enum Devices {
    One(DeviceId),
    Like(Glob),
}

impl Devices {
    /// `None` if no device can match.
    pub(super) fn of(glob: &Glob) -> Option<Self> {
        if let Some(name) = glob.exact() {
            return DeviceId::new(name).ok().map(Self::One);
        }
        let fixed = glob.to_string().replace('*', "");
        let possible = fixed.is_empty() || DeviceId::check(&fixed).is_ok();
        (possible && fixed.len() <= DEVICE_BYTES_MAX).then(|| Self::Like(glob.clone()))
    }

    pub(super) fn matches(&self, device: &DeviceId) -> bool {
        match self {
            Self::One(name) => name == device,
            Self::Like(glob) => glob.matches(device.as_str()),
        }
    }

    /// The condition in SQL. `_`, which a name may have, stands for any letter there.
    pub(super) fn condition(&self) -> String {
        let column = identifier(DEVICE);
        match self {
            Self::One(device) => format!("{column} = {}", literal(device.as_str())),
            Self::Like(glob) => {
                let pattern = glob.to_string();
                if pattern.chars().all(|char| char == '*') {
                    return format!("{column} IS NOT NULL");
                }
                let pattern = pattern.replace('_', "\\_").replace('*', "%");
                format!("{column} LIKE {} ESCAPE '\\'", literal(&pattern))
            }
        }
    }
}

/// Devices whose names come after this one.
pub(super) fn device_from(device: &DeviceId, included: bool) -> String {
    let sign = if included { ">=" } else { ">" };
    format!("{} {sign} {}", identifier(DEVICE), literal(device.as_str()))
}

/// Devices whose names do not come after this one.
pub(super) fn device_to(device: &DeviceId) -> String {
    format!("{} <= {}", identifier(DEVICE), literal(device.as_str()))
}

/// Whether any metric can match.
pub(super) fn metric_can_match(glob: &Glob) -> bool {
    glob.exact().is_none_or(|name| Metric::check(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(identifier("a\"; DROP TABLE x --"), "\"a\"\"; DROP TABLE x --\"");
        assert_eq!(literal("it's' OR ''='"), "'it''s'' OR ''''='''");
        assert_eq!(moment(-5), "from_nanoseconds(-5)");
    }

    #[test]
    fn patterns_become_conditions_or_nothing() {
        let table = [
            ("press-4", Some("\"device\" = 'press-4'")),
            ("*", Some("\"device\" IS NOT NULL")),
            ("**", Some("\"device\" IS NOT NULL")),
            ("a_*", Some("\"device\" LIKE 'a\\_%' ESCAPE '\\'")),
            ("*:x*y", Some("\"device\" LIKE '%:x%y' ESCAPE '\\'")),
            ("", None),
            ("a'b", None),
            ("a%*", None),
            ("x' OR '1'='1*", None),
            ("*\\", None),
            ("*\"; DELETE", None),
        ];
        for (pattern, expected) in table {
            let devices = Devices::of(&Glob::new(pattern));
            assert_eq!(devices.map(|devices| devices.condition()).as_deref(), expected, "{pattern}");
        }
        assert!(Devices::of(&Glob::new(&("x".repeat(129) + "*"))).is_none());
    }
}

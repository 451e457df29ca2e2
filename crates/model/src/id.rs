use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest thing name that AWS IoT takes, in bytes.
pub const THING_NAME_BYTES_MAX: usize = 128;
/// The longest metric name, in bytes; it holds `measurement.field{tag=value,…}`.
pub const METRIC_BYTES_MAX: usize = 256;

/// The longest name of a shadow that AWS IoT takes, in bytes.
pub const SHADOW_NAME_BYTES_MAX: usize = 64;

/// The longest id of an execution of a command, in bytes.
pub const EXECUTION_ID_BYTES_MAX: usize = 64;
/// The longest name of a command, in bytes.
pub const COMMAND_NAME_BYTES_MAX: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("a {kind} is empty")]
    Empty {
        /// What the text was meant to be.
        kind: &'static str,
    },
    /// The text is longer than the limit.
    #[error("a {kind} has {bytes} bytes, the limit is {bytes_max}")]
    TooLong {
        /// What the text was meant to be.
        kind: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The text has a character outside the permitted set.
    #[error("a {kind} has the character {character:?}; permitted: {permitted}")]
    Character {
        /// What the text was meant to be.
        kind: &'static str,
        /// The first offender.
        character: char,
        /// The permitted set, in words.
        permitted: &'static str,
    },
}

/// The rule for thing names in AWS IoT: `[a-zA-Z0-9:_-]{1,128}`.
fn check_thing_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_length(kind, text, THING_NAME_BYTES_MAX)?;
    let stranger = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')));
    match stranger {
        None => Ok(()),
        Some(character) => Err(IdError::Character { kind, character, permitted: "a-z A-Z 0-9 : _ -" }),
    }
}

/// The rule for names of shadows in AWS IoT: `[$a-zA-Z0-9:_-]{1,64}`.
fn check_shadow_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_length(kind, text, SHADOW_NAME_BYTES_MAX)?;
    let stranger = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '$' | ':' | '_' | '-')));
    match stranger {
        None => Ok(()),
        Some(character) => Err(IdError::Character { kind, character, permitted: "a-z A-Z 0-9 $ : _ -" }),
    }
}

/// Ids of executions in AWS IoT are UUIDs; anything of `[a-zA-Z0-9_-]{1,64}` is taken.
fn check_execution_id(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_length(kind, text, EXECUTION_ID_BYTES_MAX)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
        None => Ok(()),
        Some(character) => Err(IdError::Character { kind, character, permitted: "a-z A-Z 0-9 _ -" }),
    }
}

/// The name of a command is for people and programs alike: no control characters.
fn check_command_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_length(kind, text, COMMAND_NAME_BYTES_MAX)?;
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(character) => {
            Err(IdError::Character { kind, character, permitted: "all but control characters" })
        }
    }
}

/// A metric may hold anything that can be a topic level and a line of a table: no control
/// characters, no `/`, `+` or `#`.
fn check_metric(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_length(kind, text, METRIC_BYTES_MAX)?;
    match text.chars().find(|c| c.is_control() || matches!(c, '/' | '+' | '#')) {
        None => Ok(()),
        Some(character) => {
            Err(IdError::Character { kind, character, permitted: "all but control characters, / + #" })
        }
    }
}

fn check_length(kind: &'static str, text: &str, bytes_max: usize) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty { kind }),
        bytes if bytes > bytes_max => Err(IdError::TooLong { kind, bytes, bytes_max }),
        _ => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes an id of it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// Says whether `text` would be accepted, without keeping it.
            pub fn check(text: &str) -> Result<(), IdError> {
                $check($kind, text)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A device: a thing in AWS IoT's sense, `[a-zA-Z0-9:_-]{1,128}`.
    DeviceId,
    "device id",
    check_thing_name
);
text_id!(
    /// A gateway: a thing in AWS IoT's sense, `[a-zA-Z0-9:_-]{1,128}`.
    GatewayId,
    "gateway id",
    check_thing_name
);
text_id!(
    /// A thing of AWS IoT, be it a device or a gateway: `[a-zA-Z0-9:_-]{1,128}`.
    ThingName,
    "thing name",
    check_thing_name
);
text_id!(
    /// A named shadow of a thing: `[$a-zA-Z0-9:_-]{1,64}`.
    ShadowName,
    "shadow name",
    check_shadow_name
);
text_id!(
    /// One execution of a command: `[a-zA-Z0-9_-]{1,64}`.
    ExecutionId,
    "execution id",
    check_execution_id
);
text_id!(
    /// What a device is told to do: 1 to 128 bytes of UTF-8 without control characters.
    CommandName,
    "command name",
    check_command_name
);
text_id!(
    /// What is measured: 1 to 256 bytes of UTF-8 without control characters, `/`, `+` and `#`.
    Metric,
    "metric name",
    check_metric
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_thing_name_rule_of_aws_iot() {
        for good in ["a", "press-4", "urn:dev:1", "A_b-9", &"x".repeat(128)] {
            assert!(DeviceId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a.b", &"x".repeat(129)] {
            assert!(DeviceId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn metrics_may_hold_tags_but_no_topic_syntax() {
        for good in ["temperature", "cpu.usage{cpu=0}", "Außen °C", &"m".repeat(256)] {
            assert!(Metric::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "+", "x#", "a\nb", &"m".repeat(257)] {
            assert!(Metric::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_reads_back_from_json_and_is_checked_there() {
        let id = DeviceId::new("press-4").unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"press-4\"");
        assert_eq!(serde_json::from_str::<DeviceId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<DeviceId>("\"a b\"").is_err());
    }
}

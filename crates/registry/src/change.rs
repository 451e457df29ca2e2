use serde::de::DeserializeOwned;

use crate::{Certificate, Group, Policy, Thing, ThingType};

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each word says what it is")]
pub enum Kind {
    Thing,
    ThingType,
    Group,
    Certificate,
    Policy,
}

impl Kind {
    /// All of them, in the order in which they are loaded.
    pub const ALL: [Self; 5] = [Self::ThingType, Self::Group, Self::Policy, Self::Certificate, Self::Thing];

    /// The word under which its records are kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thing => "thing",
            Self::ThingType => "thing-type",
            Self::Group => "thing-group",
            Self::Certificate => "certificate",
            Self::Policy => "policy",
        }
    }
}

/// Something that the registry keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each word says what it is")]
pub enum Record {
    Thing(Thing),
    ThingType(ThingType),
    Group(Group),
    Certificate(Certificate),
    Policy(Policy),
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} {key} in the registry cannot be read")]
pub struct LoadError {
    kind: &'static str,
    key: String,
    source: serde_json::Error,
}

impl Record {
    /// Its kind and key.
    pub fn place(&self) -> (Kind, &str) {
        match self {
            Self::Thing(thing) => (Kind::Thing, &thing.name),
            Self::ThingType(thing_type) => (Kind::ThingType, &thing_type.name),
            Self::Group(group) => (Kind::Group, &group.name),
            Self::Certificate(certificate) => (Kind::Certificate, &certificate.id),
            Self::Policy(policy) => (Kind::Policy, &policy.name),
        }
    }

    /// The record as JSON.
    ///
    /// # Errors
    /// None in practice: all keys are texts.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Thing(record) => serde_json::to_string(record),
            Self::ThingType(record) => serde_json::to_string(record),
            Self::Group(record) => serde_json::to_string(record),
            Self::Certificate(record) => serde_json::to_string(record),
            Self::Policy(record) => serde_json::to_string(record),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// It is none of this kind.
    pub fn read(kind: Kind, key: &str, json: &str) -> Result<Self, LoadError> {
        fn parsed<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
            serde_json::from_str(json)
        }
        let record = match kind {
            Kind::Thing => parsed(json).map(Self::Thing),
            Kind::ThingType => parsed(json).map(Self::ThingType),
            Kind::Group => parsed(json).map(Self::Group),
            Kind::Certificate => parsed(json).map(Self::Certificate),
            Kind::Policy => parsed(json).map(Self::Policy),
        };
        record.map_err(|source| LoadError { kind: kind.as_str(), key: key.to_owned(), source })
    }
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there from now on, in the place of the one that was.
    Put(Record),
    /// It is not there any more.
    Gone {
        /// Its kind.
        kind: Kind,
        /// Its name or id.
        key: String,
    },
}

impl Change {
    pub(crate) fn gone(kind: Kind, key: &str) -> Self {
        Self::Gone { kind, key: key.to_owned() }
    }
}

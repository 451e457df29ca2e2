//! What the shadow desires.

use fieldline_model::{GatewayId, GatewayTopic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::digest;

/// As large as a message of AWS IoT Core.
const BYTES_MAX: u64 = 128 * 1024;

/// Where a large document lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    /// A retained message on this topic.
    pub(crate) topic: String,
    /// Its SHA-256.
    pub(crate) sha256: String,
    /// Its length.
    pub(crate) bytes: u64,
}

/// What the gateway should use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Desired {
    /// This document; an empty one where nothing is desired.
    Document(Value),
    /// The document that lies there.
    Reference(Reference),
    /// Nothing that can be: a digest to remember it by, and what is wrong.
    Wrong(String, String),
}

impl Desired {
    /// Out of the section `desired`.
    pub(crate) fn of(desired: &Value, gateway: &GatewayId) -> Self {
        match (desired.get("config"), desired.get("config_ref")) {
            (None, None) => Self::Document(json!({})),
            (Some(document), None) => Self::Document(document.clone()),
            (None, Some(reference)) => Self::reference(reference, gateway),
            (Some(_), Some(_)) => Self::wrong(desired, "config and config_ref are both there".to_owned()),
        }
    }

    fn reference(value: &Value, gateway: &GatewayId) -> Self {
        let reference = match Reference::deserialize(value) {
            Ok(reference) => reference,
            Err(error) => return Self::wrong(value, format!("config_ref: {error}")),
        };
        let expected = GatewayTopic::Config(gateway.clone(), reference.sha256.clone());
        if reference.topic.parse() != Ok(expected) {
            return Self::wrong(
                value,
                "config_ref.topic is not the gateway's topic for that SHA-256".to_owned(),
            );
        }
        if reference.bytes > BYTES_MAX {
            return Self::wrong(value, format!("config_ref.bytes is more than {BYTES_MAX}"));
        }
        Self::Reference(reference)
    }

    fn wrong(value: &Value, reason: String) -> Self {
        Self::Wrong(digest(value), reason)
    }
}

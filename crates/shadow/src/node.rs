//! State and its metadata as one tree, so that they cannot differ in shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The fields of a section, or of an object in it.
pub(crate) type Fields = BTreeMap<String, Node>;

/// A part of the state. It is kept as JSON: a leaf as `[value, timestamp]`, an object as an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Node {
    /// A scalar or an array, and when it was last set, in seconds since the epoch. Arrays are replaced
    /// whole, so that they have one timestamp.
    Leaf(Value, i64),
    /// An object; empty ones are kept.
    Object(Fields),
}

impl Node {
    /// A value of a request, all of it set now. Nulls are left out: there is nothing that they could delete.
    fn set(value: &Value, now_s: i64) -> Self {
        match value {
            Value::Object(map) => {
                let mut fields = Fields::new();
                merge(&mut fields, map, now_s);
                Self::Object(fields)
            }
            other => Self::Leaf(other.clone(), now_s),
        }
    }

    /// Without timestamps.
    pub(crate) fn state(&self) -> Value {
        match self {
            Self::Leaf(value, _) => value.clone(),
            Self::Object(fields) => state(fields),
        }
    }

    /// The timestamps alone.
    pub(crate) fn metadata(&self) -> Value {
        match self {
            Self::Leaf(_, timestamp) => json!({ "timestamp": timestamp }),
            Self::Object(fields) => metadata(fields),
        }
    }
}

/// The state of these fields.
pub(crate) fn state(fields: &Fields) -> Value {
    Value::Object(fields.iter().map(|(name, node)| (name.clone(), node.state())).collect())
}

/// The metadata of these fields.
pub(crate) fn metadata(fields: &Fields) -> Value {
    Value::Object(fields.iter().map(|(name, node)| (name.clone(), node.metadata())).collect())
}

/// Sets what is named: objects field by field, all else whole; a null deletes.
pub(crate) fn merge(fields: &mut Fields, request: &Map<String, Value>, now_s: i64) {
    for (name, value) in request {
        match (value, fields.get_mut(name)) {
            (Value::Null, _) => drop(fields.remove(name)),
            (Value::Object(map), Some(Node::Object(inner))) => merge(inner, map, now_s),
            (value, _) => drop(fields.insert(name.clone(), Node::set(value, now_s))),
        }
    }
}

/// The metadata of what a request has set; what it deletes has none.
pub(crate) fn request_metadata(request: &Map<String, Value>, now_s: i64) -> Value {
    let mut fields = Fields::new();
    merge(&mut fields, request, now_s);
    metadata(&fields)
}

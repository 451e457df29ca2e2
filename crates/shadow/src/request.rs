//! Requests, read strictly where AWS is strict.

use serde_json::{Map, Value};

use crate::error::Error;

/// The longest `clientToken`, in bytes.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 64;
/// How deep a document may be, counted by the names from `state` to a leaf: `state.reported.a.b.c` is 5.
/// AWS's table of quotas says 8; its error text counts from within the section.
pub const DEPTH_MAX: usize = 8;

/// A request to get or to delete: nothing but an optional `clientToken`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plain {
    /// Echoed in the reply.
    pub client_token: Option<String>,
}

impl Plain {
    /// Reads the payload of a get. An empty one is fine.
    ///
    /// # Errors
    /// It is not UTF-8, no JSON object, or its `clientToken` is none.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { client_token: client_token(&object(payload)?)? })
    }
}

/// What a request says of the state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// `state: null`: both sections are emptied.
    Empty,
    /// What is named changes.
    Sections {
        /// What `desired` is to be, or null.
        desired: Option<Section>,
        /// What `reported` is to be, or null.
        reported: Option<Section>,
    },
}

/// What a request says of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Section {
    /// `null`: all of it goes.
    Delete,
    /// These fields change.
    Merge(Map<String, Value>),
}

/// A request to update: `{state, version?, clientToken?}`; other fields are passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub(crate) change: Change,
    /// The version that the shadow must have.
    pub(crate) version: Option<u64>,
    /// Echoed in the replies.
    pub client_token: Option<String>,
}

impl Update {
    /// Reads a payload.
    ///
    /// # Errors
    /// What is wrong with it; nothing has been changed.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let object = object(payload)?;
        let client_token = client_token(&object)?;
        let version = object.get("version").filter(|version| !version.is_null());
        let version = version.map(|version| version.as_u64().ok_or(Error::Version)).transpose()?;
        let change = match object.get("state").ok_or(Error::NoState)? {
            Value::Null => Change::Empty,
            Value::Object(state) => sections(state)?,
            _ => return Err(Error::State),
        };
        Ok(Self { change, version, client_token })
    }

    /// The `clientToken` of a payload that is refused, where one can be made out.
    pub fn token_of(payload: &[u8]) -> Option<String> {
        client_token(&object(payload).ok()?).ok().flatten()
    }
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, Error> {
    let text = std::str::from_utf8(payload).map_err(|_| Error::Encoding)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Error::Json),
    }
}

fn client_token(object: &Map<String, Value>) -> Result<Option<String>, Error> {
    match object.get("clientToken") {
        None => Ok(None),
        Some(Value::String(token)) if token.len() <= CLIENT_TOKEN_BYTES_MAX => Ok(Some(token.clone())),
        Some(_) => Err(Error::ClientToken),
    }
}

fn sections(state: &Map<String, Value>) -> Result<Change, Error> {
    if state.keys().any(|name| name != "desired" && name != "reported") {
        return Err(Error::Node);
    }
    let section = |name: &str, wrong: Error| match state.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Section::Delete)),
        Some(Value::Object(fields)) => {
            check(fields, 2)?;
            Ok(Some(Section::Merge(fields.clone())))
        }
        Some(_) => Err(wrong),
    };
    Ok(Change::Sections {
        desired: section("desired", Error::Desired)?,
        reported: section("reported", Error::Reported)?,
    })
}

/// `above` names lead to these fields.
fn check(fields: &Map<String, Value>, above: usize) -> Result<(), Error> {
    if !fields.is_empty() && above + 1 > DEPTH_MAX {
        return Err(Error::Depth);
    }
    fields.values().try_for_each(|value| check_value(value, above + 1))
}

fn check_value(value: &Value, above: usize) -> Result<(), Error> {
    match value {
        Value::Object(fields) => check(fields, above),
        Value::Array(items) if items.iter().any(Value::is_null) => Err(Error::Node),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, above)),
        _ => Ok(()),
    }
}

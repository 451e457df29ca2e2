//! An update, from request and stored shadow to the new one and its messages.

use serde_json::{Map, Value, json};

use crate::document::{Shadow, Stored, with_token};
use crate::error::Error;
use crate::node::{Fields, merge, request_metadata};
use crate::request::{Change, Section, Update};

/// The largest state of a shadow after an update, `desired` and `reported` together as JSON, in bytes.
pub const STATE_BYTES_MAX: usize = 8 * 1024;

/// An update that was accepted. First the shadow is made durable, then the messages go out.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The new shadow.
    pub shadow: Shadow,
    /// The reply: what the request named, its metadata, `version`, `timestamp`, `clientToken?`.
    pub accepted: Value,
    /// For `…/update/delta`, where desired and reported differ.
    pub delta: Option<Value>,
    /// For `…/update/documents`: `{previous, current, timestamp, clientToken?}`.
    pub documents: Value,
}

impl Update {
    /// Applies the request at `now_s`, in seconds since the epoch.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the shadow has another version, [`Error::TooLarge`] if it would grow too
    /// large. Nothing has been changed then.
    pub fn apply(&self, stored: &Stored, now_s: i64) -> Result<Applied, Error> {
        let version = stored.version(now_s);
        if self.version.is_some_and(|expected| expected != version) {
            return Err(Error::Conflict);
        }
        let before = match stored {
            Stored::Present(shadow) => shadow.clone(),
            _ => Shadow { version, ..Shadow::default() },
        };
        let mut shadow = Shadow { version: version + 1, timestamp: now_s, ..before.clone() };
        match &self.change {
            Change::Empty => (shadow.desired, shadow.reported) = (Fields::new(), Fields::new()),
            Change::Sections { desired, reported } => {
                change(&mut shadow.desired, desired.as_ref(), now_s);
                change(&mut shadow.reported, reported.as_ref(), now_s);
            }
        }
        if shadow.state_bytes() > STATE_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let token = self.client_token.as_deref();
        let (state, metadata) = self.echo(now_s);
        let accepted =
            json!({ "state": state, "metadata": metadata, "version": shadow.version, "timestamp": now_s });
        let documents = json!({ "previous": before.plain(), "current": shadow.plain(), "timestamp": now_s });
        let delta = shadow.delta_message(token);
        Ok(Applied {
            accepted: with_token(accepted, token),
            documents: with_token(documents, token),
            delta,
            shadow,
        })
    }

    /// What the request named, and its metadata.
    fn echo(&self, now_s: i64) -> (Value, Value) {
        let Change::Sections { desired, reported } = &self.change else {
            return (Value::Null, json!({ "timestamp": now_s }));
        };
        let (mut state, mut metadata) = (Map::new(), Map::new());
        for (name, section) in [("desired", desired), ("reported", reported)] {
            match section {
                None => {}
                Some(Section::Delete) => drop(state.insert(name.to_owned(), Value::Null)),
                Some(Section::Merge(fields)) => {
                    state.insert(name.to_owned(), Value::Object(fields.clone()));
                    metadata.insert(name.to_owned(), request_metadata(fields, now_s));
                }
            }
        }
        (Value::Object(state), Value::Object(metadata))
    }
}

fn change(fields: &mut Fields, section: Option<&Section>, now_s: i64) {
    match section {
        None => {}
        Some(Section::Delete) => fields.clear(),
        Some(Section::Merge(request)) => merge(fields, request, now_s),
    }
}

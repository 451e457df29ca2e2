//! What is kept of a shadow, and how it is shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::delta::delta;
use crate::error::Error;
use crate::node::{Fields, metadata, state};

/// For so long after its deletion a shadow that is made again goes on with its version, in seconds.
const VERSION_KEPT_S: i64 = 48 * 60 * 60;

/// A shadow. It serialises to JSON, for the store.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shadow {
    pub(crate) version: u64,
    pub(crate) timestamp: i64,
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub(crate) desired: Fields,
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub(crate) reported: Fields,
}

/// What is left of a deleted shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Its last version.
    pub version: u64,
    /// When it was deleted, in seconds since the epoch.
    pub at_s: i64,
}

/// What is stored under a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// Nothing, and there never was, as far as anyone remembers.
    Absent,
    /// Nothing any more.
    Deleted(Deleted),
    /// A shadow.
    Present(Shadow),
}

impl Stored {
    /// The version that the next update goes on from.
    pub(crate) fn version(&self, now_s: i64) -> u64 {
        match self {
            Self::Present(shadow) => shadow.version,
            Self::Deleted(deleted) if now_s - deleted.at_s < VERSION_KEPT_S => deleted.version,
            Self::Absent | Self::Deleted(_) => 0,
        }
    }

    /// The shadow; `name` is for the refusal.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn shadow(&self, name: &str) -> Result<&Shadow, Error> {
        match self {
            Self::Present(shadow) => Ok(shadow),
            _ => Err(Error::NotFound { name: name.to_owned() }),
        }
    }

    /// Deletes the shadow: what is left of it, and the reply `{version, timestamp, clientToken?}`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete(
        &self,
        name: &str,
        now_s: i64,
        client_token: Option<&str>,
    ) -> Result<(Deleted, Value), Error> {
        let version = self.shadow(name)?.version;
        let reply = with_token(json!({ "version": version, "timestamp": now_s }), client_token);
        Ok((Deleted { version, at_s: now_s }, reply))
    }
}

impl Shadow {
    /// Grows by one with each update.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The reply to a get: `state` with `desired`, `reported` and, where they differ, `delta`; `metadata`,
    /// `version`, `timestamp`, `clientToken?`.
    pub fn document(&self, now_s: i64, client_token: Option<&str>) -> Value {
        let mut document = self.plain();
        let delta = delta(&self.desired, &self.reported);
        if !delta.is_empty() {
            document["state"]["delta"] = state(&delta);
        }
        document["timestamp"] = json!(now_s);
        with_token(document, client_token)
    }

    /// `{state, metadata, version}`, as in the messages on `…/update/documents`; `state` has `desired` and
    /// `reported` where they are not empty.
    pub fn plain(&self) -> Value {
        json!({ "state": self.sections(state), "metadata": self.sections(metadata), "version": self.version })
    }

    /// The message on `…/update/delta`; none where nothing differs.
    pub(crate) fn delta_message(&self, client_token: Option<&str>) -> Option<Value> {
        let delta = delta(&self.desired, &self.reported);
        (!delta.is_empty()).then(|| {
            let message = json!({
                "version": self.version, "timestamp": self.timestamp,
                "state": state(&delta), "metadata": metadata(&delta),
            });
            with_token(message, client_token)
        })
    }

    /// What counts against the limit of a shadow's size.
    pub(crate) fn state_bytes(&self) -> usize {
        self.sections(state).to_string().len()
    }

    /// A section without fields is none.
    fn sections(&self, show: impl Fn(&Fields) -> Value) -> Value {
        let sections = [("desired", &self.desired), ("reported", &self.reported)];
        let shown = sections.into_iter().filter(|(_, fields)| !fields.is_empty());
        Value::Object(shown.map(|(name, fields)| (name.to_owned(), show(fields))).collect::<Map<_, _>>())
    }
}

pub(crate) fn with_token(mut document: Value, client_token: Option<&str>) -> Value {
    if let Some(token) = client_token {
        document["clientToken"] = json!(token);
    }
    document
}

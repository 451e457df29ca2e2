//! What is remembered of configurations from afar. It is one file, so that each step is there whole or not at
//! all.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::digest;

/// A configuration and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The document, laid over the gateway's own file.
    pub(crate) document: Value,
    /// Its digest.
    pub(crate) sha256: String,
    /// The version of the shadow that desired it.
    pub(crate) version: u64,
}

impl Known {
    pub(crate) fn new(document: Value, version: u64) -> Self {
        Self { sha256: digest(&document), document, version }
    }

    /// Nothing from afar: the gateway's own file alone.
    pub(crate) fn nothing() -> Self {
        Self::new(Value::Object(serde_json::Map::new()), 0)
    }

    fn is_whole(&self) -> bool {
        digest(&self.document) == self.sha256
    }
}

/// A configuration that has not reached the server yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) known: Known,
    /// How often the agent has started with it, or has taken it up.
    pub(crate) starts: u32,
}

/// Why a configuration was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It cannot be used.
    Rejected,
    /// The gateway did not reach the server with it.
    Reverted,
}

/// A configuration that was not used; it is not tried again until another one is desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) sha256: String,
    pub(crate) version: u64,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What reached the server once.
    pub(crate) committed: Known,
    /// What is being tried.
    pub(crate) trial: Option<Trial>,
    /// What was not used last.
    pub(crate) refused: Option<Refused>,
}

impl Default for State {
    fn default() -> Self {
        Self { committed: Known::nothing(), trial: None, refused: None }
    }
}

impl State {
    /// What counts now: what is being tried, or what is committed.
    pub(crate) fn effective(&self) -> &Known {
        self.trial.as_ref().map_or(&self.committed, |trial| &trial.known)
    }

    /// Reads what was written; none if it is damaged.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let state: Self = serde_json::from_slice(bytes).ok()?;
        let trial_is_whole = state.trial.as_ref().is_none_or(|trial| trial.known.is_whole());
        (state.committed.is_whole() && trial_is_whole).then_some(state)
    }
}

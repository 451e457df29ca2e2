//! The state of rules among the store's entries.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_rules::Change;
use fieldline_store::{Entries, Entry, EntryChange};
use rules::{CommitError, PortError, StateStore};

/// The kind of the entries; values are base64.
const KIND: &str = "rules";

/// The store of one server. One commit is one transaction.
pub(super) struct EntryState(pub(super) Arc<dyn Entries>);

impl std::fmt::Debug for EntryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EntryState")
    }
}

#[async_trait]
impl StateStore for EntryState {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
        let entries = self.0.entries(KIND).await?;
        let read = |entry: Entry| Ok((entry.key, BASE64.decode(entry.value)?));
        entries.into_iter().map(read).collect()
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let entry = |Change { key, value }| match value {
            Some(value) => {
                EntryChange::Put(Entry { kind: KIND.to_owned(), key, value: BASE64.encode(value) })
            }
            None => EntryChange::Delete { kind: KIND.to_owned(), key },
        };
        let written = self.0.write_entries(changes.into_iter().map(entry).collect()).await;
        written.map_err(|error| CommitError::Unavailable(error.into()))
    }
}

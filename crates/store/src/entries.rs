//! Where the small documents of the server are kept: things, certificates, policies, commands.

use async_trait::async_trait;

use crate::StoreError;

/// A document under its kind and key. A kind is a short word of its owner's, such as `thing`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// What it is.
    pub kind: String,
    /// Which one.
    pub key: String,
    /// What is said of it, usually JSON.
    pub value: String,
}

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChange {
    /// It is there from now on, with this value.
    Put(Entry),
    /// It is not there any more. One that never was is no error.
    Delete {
        /// Its kind.
        kind: String,
        /// Its key.
        key: String,
    },
}

/// Small documents. Their owners keep what they need of them in memory and read them once, at the start.
#[async_trait]
pub trait Entries: Send + Sync {
    /// All entries of a kind, by key, ascending.
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError>;

    /// Makes the changes in their order: all of them are durable when the call returns, or none is made.
    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError>;
}

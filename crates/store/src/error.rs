use std::path::PathBuf;

/// Why a store did not do what it was asked, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. Nothing of the call was stored; try again later, space may come back.
    #[error("the disk is full; nothing was stored")]
    Full,
    /// The block can never be stored: hand it to [`crate::Ledger::quarantine`] and go on.
    #[error("the block cannot be stored: {what}")]
    Refused {
        /// The rule that it breaks.
        what: String,
    },
    /// The query makes no sense.
    #[error("bad query: {what}")]
    Query {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// An earlier write failed in a way that leaves the state of the disk unknown; the store takes no
    /// more writes until it is opened again.
    #[error("an earlier write failed; the store must be opened again before it takes more")]
    Failed,
    /// The data folder is in use by another process.
    #[error("{} is in use by another process", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The data was written by a later version of Fieldline.
    #[error("{} has schema version {found}, this program knows up to {known}: upgrade Fieldline", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: i64,
        /// The latest version that is known here.
        known: i64,
    },
    /// The file is no store of Fieldline.
    #[error("{} is not a store of Fieldline", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite reports a failure.
    #[cfg(feature = "sqlite")]
    #[error("the database fails")]
    Database(#[source] rusqlite::Error),
    /// A service that the store stands on did not answer, or refuses for now (throttling, a time-out,
    /// a failure of its own). What was asked may have been done all the same: ask again.
    #[error("{service} does not do it now")]
    Unavailable {
        /// Which service.
        service: &'static str,
        /// What it said, or did not say.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A service that the store stands on refuses for a reason that no later attempt heals by itself:
    /// a missing table, missing permissions, a setting that is wrong.
    #[error("{service} refuses")]
    Rejected {
        /// Which service.
        service: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system does not give what the store needs to run (threads, random numbers).
    #[error("the system refuses {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for StoreError {
    /// A full disk is told apart, since it heals.
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Database(error),
        }
    }
}

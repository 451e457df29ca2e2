//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

/// Why the journal did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the folder. Stop one of the two.
    #[error("the journal {folder} is in use by another process")]
    InUse {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// The folder was written by a newer version. Use that version.
    #[error("the journal {folder} has format {found}, this program knows {known}; use a newer program")]
    Newer {
        /// The journal's folder.
        folder: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The journal is full and its policy is to refuse. Try again when some of it has been released.
    #[error("the journal is full ({bytes} of {bytes_max} bytes)")]
    Full {
        /// Bytes on disk.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The disk is full. Try the same call again when there is space.
    #[error("the disk is full")]
    NoSpace(#[source] io::Error),
    /// The disk failed. Nothing of the call is acknowledged; the same call may be tried again.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no such lane.
    #[error("the journal has no lane with epoch {epoch}")]
    UnknownLane {
        /// The epoch asked for.
        epoch: u64,
    },
    /// A record is too large or counts nothing.
    #[error("a record must hold 1 to {bytes_max} bytes and at least one reading")]
    BadRecord {
        /// The limit of a record's payload.
        bytes_max: usize,
    },
}

impl Error {
    /// For `map_err` on an operation with a path.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(source),
            _ => Self::Io { action, path, source },
        }
    }

    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace(_))
    }
}

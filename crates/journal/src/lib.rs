//! The gateway's durable store-and-forward log.
//!
//! A [`Journal`] is a folder of *lanes*, one for each class of readings; a lane is a stream with an
//! epoch and sequence numbers of its own, kept in segment files. [`Journal::commit`] makes a batch
//! durable with one write and one `fdatasync` per lane; [`Journal::read`] gives back what waits;
//! [`Journal::release`] lets go of what the store has. `docs/formats/journal.md` has every byte.
//!
//! What it is not: it knows nothing of readings (a record is bytes and a count), of clocks (times come
//! in) or of networks.
//!
//! Invariants
//! - When a commit has returned `Ok`, its records are on disk and survive any crash.
//! - A record is let go of only when released, or dropped by a named policy that counts it.
//! - The buffered, stored, dropped and damaged numbers of a lane share none and are 1 to `last_seq`.
//! - A damaged record hides no other, and a number that may have been sent is never given out again.
//! - Where to read is derived by scanning; a cursor is durable before what it speaks of is unlinked.
//!
//! ```
//! use std::sync::Arc;
//! use fieldline_journal::{Append, Config, DiskFs, Journal};
//! use fieldline_model::{Class, SeqRange};
//!
//! # let folder = tempfile::tempdir()?;
//! let (journal, _) = Journal::open(Arc::new(DiskFs), folder.path(), Config::default(), 0)?;
//! let record = Append { class: Class::Live, count: 2, payload: b"two readings" };
//! let placed = journal.commit(&[record], Some("counts"), 0)?;
//! let waiting = journal.read(placed[0].epoch, 1, 65_536, 100)?;
//! assert_eq!(waiting[0].payload, b"two readings");
//! journal.release(placed[0].epoch, &[SeqRange::new(1, 2)].into_iter().collect(), 0)?;
//! assert!(journal.lanes()[0].buffered.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod commit;
mod config;
mod cursor;
mod error;
mod frame;
mod fs;
mod journal;
mod lane;
mod mark;
mod reading;
mod recovery;
mod scan;
mod segment;
pub mod sim;
#[cfg(test)]
mod tests;
mod tidy;
mod walk;

pub use commit::{Append, Placed};
pub use config::{Config, DROP_OLDEST, EXPIRED, Policy};
pub use error::Error;
pub use frame::PAYLOAD_BYTES_MAX;
pub use fs::{DiskFs, File, Fs, create_folder};
pub use journal::{Journal, Released};
pub use lane::LaneState;
pub use reading::Record;
pub use recovery::Recovery;

//! What has become of a lane's readings, kept beside the segments that they came from.
//!
//! Written in turn to `cursor.a` and `cursor.b`. Before a segment is unlinked both are written, so
//! that what is gone is known from either; losing what came since costs a resend, no reading.

use std::collections::BTreeMap;
use std::path::Path;

use crc_fast::{CrcAlgorithm, checksum};
use fieldline_model::{Class, RangeSet};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fs::{self, Fs};

const NAMES: [&str; 2] = ["cursor.a", "cursor.b"];
const MAGIC: &str = "FLCURSOR1";

/// The content of a cursor file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Grows with each write; even ones stand in `cursor.a`.
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    pub(crate) class: Class,
    pub(crate) last_seq: u64,
    /// The number of the next segment: no number is used twice in an epoch.
    pub(crate) next_segment: u64,
    pub(crate) sealed: bool,
    pub(crate) stored: RangeSet,
    pub(crate) dropped: BTreeMap<String, RangeSet>,
    pub(crate) damaged: RangeSet,
    /// The newest note known when the cursor was written, with its number.
    pub(crate) note: Option<(u64, String)>,
}

/// What was found of a lane's cursor.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The newest one that can be read.
    pub(crate) cursor: Option<Cursor>,
    /// Whether a file cannot be read; it may have been the newer one.
    pub(crate) damaged: bool,
}

/// Reads a lane's cursor; `names` is what its folder holds.
pub(crate) fn load(fs: &dyn Fs, lane: &Path, names: &[String]) -> Found {
    let mut found = Found::default();
    for name in NAMES.iter().filter(|name| names.iter().any(|there| there == *name)) {
        let bytes = fs.open(&lane.join(name)).and_then(|file| fs::read_all(file.as_ref()));
        match bytes.ok().as_deref().and_then(parse) {
            Some(cursor) if found.cursor.as_ref().is_none_or(|best| best.generation < cursor.generation) => {
                found.cursor = Some(cursor);
            }
            Some(_) => {}
            None => found.damaged = true,
        }
    }
    found
}

/// Writes a cursor in place of the older of the two.
pub(crate) fn save(fs: &dyn Fs, lane: &Path, cursor: &Cursor) -> Result<(), Error> {
    let name = if cursor.generation.is_multiple_of(2) { "cursor.a" } else { "cursor.b" };
    let body = serde_json::to_string(cursor)
        .map_err(|error| Error::io("write", &lane.join(name))(std::io::Error::other(error)))?;
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, body.as_bytes());
    fs::replace(fs, lane, name, format!("{MAGIC} {crc:08x}\n{body}\n").as_bytes())
}

fn parse(bytes: &[u8]) -> Option<Cursor> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once('\n')?;
    let (magic, crc) = head.split_once(' ')?;
    let body = body.strip_suffix('\n')?;
    let good =
        magic == MAGIC && crc == format!("{:08x}", checksum(CrcAlgorithm::Crc32Iscsi, body.as_bytes()));
    if good { serde_json::from_str(body).ok() } else { None }
}

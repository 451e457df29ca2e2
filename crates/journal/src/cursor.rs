//! What has become of a lane's readings, kept beside the segments that they came from.
//!
//! Written atomically before any segment is unlinked, in turn to `cursor.a` and `cursor.b`, so that
//! one damaged file leaves the one before it. Losing what came since costs a resend, no reading.

use std::collections::BTreeMap;
use std::path::Path;

use crc_fast::{CrcAlgorithm, checksum};
use fieldline_model::{Class, RangeSet};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fs::{Fs, read_all};

const NAMES: [&str; 2] = ["cursor.a", "cursor.b"];
const MAGIC: &str = "FLCURSOR1";

/// The content of a cursor file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    pub(crate) class: Class,
    pub(crate) last_seq: u64,
    pub(crate) next_segment: u64,
    pub(crate) sealed: bool,
    pub(crate) stored: RangeSet,
    pub(crate) dropped: BTreeMap<String, RangeSet>,
    pub(crate) damaged: RangeSet,
    /// The newest note known when the cursor was written, with its number.
    pub(crate) note: Option<(u64, String)>,
}

/// What was found of a lane's cursor.
#[derive(Debug)]
pub(crate) enum Found {
    /// No cursor has been written.
    None,
    /// The newest one. `damaged` says that a file beside it cannot be read and may have been newer.
    Cursor { cursor: Cursor, damaged: bool },
    /// There are files and none can be read.
    Damaged,
}

/// Reads a lane's cursor.
pub(crate) fn load(fs: &dyn Fs, lane: &Path) -> Result<Found, Error> {
    let names = fs.read_dir(lane).map_err(Error::io("list", lane))?;
    let (mut best, mut damaged): (Option<Cursor>, bool) = (None, false);
    for name in NAMES.iter().filter(|name| names.iter().any(|found| found == *name)) {
        let path = lane.join(name);
        let file = fs.open(&path).map_err(Error::io("open", &path))?;
        let bytes = read_all(file.as_ref()).map_err(Error::io("read", &path))?;
        match parse(&bytes) {
            Some(cursor) if best.as_ref().is_none_or(|best| best.generation < cursor.generation) => {
                best = Some(cursor);
            }
            Some(_) => {}
            None => damaged = true,
        }
    }
    Ok(match best {
        Some(cursor) => Found::Cursor { cursor, damaged },
        None if damaged => Found::Damaged,
        None => Found::None,
    })
}

/// Writes a cursor: a temporary file, synced, takes the place of the older of the two.
pub(crate) fn save(fs: &dyn Fs, lane: &Path, cursor: &Cursor) -> Result<(), Error> {
    let name = if cursor.generation.is_multiple_of(2) { "cursor.a" } else { "cursor.b" };
    let (temporary, path) = (lane.join("cursor.tmp"), lane.join(name));
    let body = serde_json::to_string(cursor)
        .map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, body.as_bytes());
    let file = fs.create(&temporary).map_err(Error::io("create", &temporary))?;
    file.append(format!("{MAGIC} {crc:08x}\n{body}\n").as_bytes()).map_err(Error::io("write", &temporary))?;
    file.sync_data().map_err(Error::io("sync", &temporary))?;
    fs.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
    fs.sync_dir(lane).map_err(Error::io("sync", lane))
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

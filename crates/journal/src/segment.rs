//! One file of a lane: its header, and what is known of its content.

use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, checksum};
use fieldline_model::{Class, RangeSet};

use crate::frame::{self, Header, Place};

/// Bytes of a segment's header.
pub(crate) const HEADER_BYTES: usize = 48;
/// The newest segment format.
pub(crate) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"FLSEGMNT";
/// The index has an entry for each so many bytes.
const INDEX_STEP: u64 = 64 * 1024;

/// What is known of a segment: where its readings stand, which they are, how old they are. A few
/// kilobytes for 8 MiB.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// Durable bytes that may be read.
    pub(crate) readable: u64,
    /// Bytes on disk.
    pub(crate) bytes: u64,
    /// The sequence numbers of its readings.
    pub(crate) present: RangeSet,
    /// First sequence number and offset of some frames, ascending.
    pub(crate) index: Vec<(u64, u64)>,
    /// The greatest number that a note in it says had been given out; 0 without a note.
    pub(crate) promised: u64,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
    /// What stands after `present` failed or was written again: the next segment tells that it does
    /// not count, and has to stay as long as this one.
    pub(crate) overruled: bool,
    /// The disk cannot read it at the moment; it is kept in the hope that it can again.
    pub(crate) unreadable: bool,
}

impl Segment {
    /// A segment without frames.
    pub(crate) fn new(lane: &Path, number: u64) -> Self {
        Self {
            number,
            path: lane.join(file_name(number)),
            readable: HEADER_BYTES as u64,
            bytes: HEADER_BYTES as u64,
            present: RangeSet::new(),
            index: Vec::new(),
            promised: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            overruled: false,
            unreadable: false,
        }
    }

    /// Takes note of a data frame at an offset.
    pub(crate) fn note_frame(&mut self, header: &Header, offset: u64) {
        if self.index.last().is_none_or(|(_, last)| offset >= last + INDEX_STEP) {
            self.index.push((header.first_seq, offset));
        }
        self.present.insert(header.range());
        self.oldest_ms = self.oldest_ms.min(header.appended_ms);
        self.newest_ms = self.newest_ms.max(header.appended_ms);
    }

    /// From where to read to find `seq`.
    pub(crate) fn offset_of(&self, seq: u64) -> u64 {
        let after = self.index.partition_point(|(first, _)| *first <= seq);
        after
            .checked_sub(1)
            .and_then(|at| self.index.get(at))
            .map_or(HEADER_BYTES as u64, |(_, offset)| *offset)
    }

    /// Whether every reading in it is in `settled`.
    pub(crate) fn is_settled(&self, settled: &RangeSet) -> bool {
        !self.unreadable && self.present.runs().iter().all(|run| settled.covers(*run))
    }
}

/// The name of the segment with a number.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number in a segment's name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

/// The header of a new segment.
pub(crate) fn header(place: Place, class: Class, first_seq: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    frame::put(&mut bytes, 0, &MAGIC);
    frame::put(&mut bytes, 8, &VERSION.to_le_bytes());
    frame::put(&mut bytes, 10, &[class.code()]);
    frame::put(&mut bytes, 16, &place.epoch.to_le_bytes());
    frame::put(&mut bytes, 24, &place.segment.to_le_bytes());
    frame::put(&mut bytes, 32, &first_seq.to_le_bytes());
    let crc = header_crc(&bytes);
    frame::put(&mut bytes, 40, &crc.to_le_bytes());
    bytes
}

/// The first sequence number by the header of this segment, if the header checks. Frames are read
/// without it, so that a damaged header loses none.
pub(crate) fn first_seq(bytes: &[u8], place: Place) -> Option<u64> {
    let head = bytes.first_chunk::<HEADER_BYTES>()?;
    let field =
        |at: usize| head.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|x| u64::from_le_bytes(*x));
    let good = head.starts_with(&MAGIC)
        && field(16) == Some(place.epoch)
        && field(24) == Some(place.segment)
        && field(40) == Some(u64::from(header_crc(head)));
    if good { field(32) } else { None }
}

fn header_crc(bytes: &[u8; HEADER_BYTES]) -> u32 {
    // The algorithm has 32 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes.get(..40).unwrap_or_default()) as u32
}

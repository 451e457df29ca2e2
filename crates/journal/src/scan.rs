//! Finds out what a segment holds, whatever has happened to its bytes.

use std::path::Path;

use crate::frame::{self, Kind, Place};
use crate::segment::{self, Segment};

/// What a scan found beside the segment itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The newest note: its number and its payload.
    pub(crate) note: Option<(u64, String)>,
    /// Bytes before the last good frame that belong to no good frame.
    pub(crate) damaged_bytes: u64,
    /// Bytes after the last good frame that are not zero: frames may have stood there.
    pub(crate) tail_bytes: u64,
    /// What the header says is the first sequence number; none if the header does not check.
    pub(crate) first_seq: Option<u64>,
}

/// Reads a segment's bytes from front to back; where a frame does not check, looks for the next one
/// that does.
pub(crate) fn scan(bytes: &[u8], lane: &Path, place: Place) -> (Segment, Findings) {
    let mut segment = Segment::new(lane, place.segment);
    let mut findings = Findings { first_seq: segment::first_seq(bytes, place), ..Findings::default() };
    let mut at = segment::HEADER_BYTES;
    // Without a header, whatever stands in its place may be the rest of something.
    let mut good_end = if findings.first_seq.is_some() { at } else { 0 };
    while at < bytes.len() {
        match frame::read(place, bytes.get(at..).unwrap_or_default()) {
            Some((header, payload)) => {
                findings.damaged_bytes += at.saturating_sub(good_end.max(segment::HEADER_BYTES)) as u64;
                match header.kind {
                    Kind::Data if header.count > 0 => segment.note_frame(&header, at as u64),
                    Kind::Data => {}
                    Kind::Note => {
                        if findings.note.as_ref().is_none_or(|(number, _)| *number < header.first_seq) {
                            findings.note =
                                Some((header.first_seq, String::from_utf8_lossy(payload).into_owned()));
                        }
                    }
                }
                at += frame::HEADER_BYTES + payload.len();
                good_end = at;
            }
            None => match frame::next_marker(bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    let tail = bytes.get(good_end..).unwrap_or_default();
    if tail.iter().any(|byte| *byte != 0) {
        findings.tail_bytes = tail.len() as u64;
    }
    segment.readable = good_end.max(segment::HEADER_BYTES.min(bytes.len())) as u64;
    segment.bytes = bytes.len() as u64;
    (segment, findings)
}

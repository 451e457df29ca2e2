//! Finds out what a segment holds when the journal is opened.

use std::path::Path;

use crate::frame::{Kind, Place};
use crate::fs::{File, read_around};
use crate::segment::{self, Segment};
use crate::walk::Walk;

/// What a scan found beside the segment itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The newest note: its number and its payload.
    pub(crate) note: Option<(u64, String)>,
    /// Bytes before the last good frame that belong to no good frame.
    pub(crate) damaged_bytes: u64,
    /// Bytes after the last good frame that are not zero: frames may have stood there.
    pub(crate) tail_bytes: u64,
    /// What the header says of the first sequence number; `None` if it does not check.
    pub(crate) first_seq: Option<u64>,
}

impl Findings {
    pub(crate) fn take_note(&mut self, number: u64, payload: &[u8]) {
        if self.note.as_ref().is_none_or(|(known, _)| *known <= number) {
            self.note = Some((number, String::from_utf8_lossy(payload).into_owned()));
        }
    }
}

/// Reads a segment from front to back.
pub(crate) fn scan(file: &dyn File, length: u64, lane: &Path, place: Place) -> (Segment, Findings) {
    let mut head = [0; segment::HEADER_BYTES];
    let read = file.read_at(&mut head, 0);
    let head = read.as_ref().ok().and_then(|read| head.get(..*read));
    let first_seq = head.and_then(|head| segment::first_seq(head, place));
    let mut findings = Findings { first_seq, ..Findings::default() };
    let mut found = Segment::new(lane, place.segment);
    // Without a header, whatever stands in its place may be the rest of something.
    let mut good_end = if first_seq.is_some() { segment::HEADER_BYTES as u64 } else { 0 };
    let mut walk = Walk::new(file, place, segment::HEADER_BYTES as u64, length);
    while let Some(frame) = walk.next() {
        findings.damaged_bytes += frame.offset - good_end.max(segment::HEADER_BYTES as u64);
        good_end = frame.end();
        match frame.header.kind {
            Kind::Data => found.note_frame(&frame.header, frame.offset),
            Kind::Note => {
                findings.take_note(frame.header.first_seq, frame.payload);
                found.promised = found.promised.max(frame.header.appended_ms.max(0).unsigned_abs());
            }
        }
    }
    if !is_zero(file, good_end, length) {
        findings.tail_bytes = length - good_end;
    }
    found.unreadable = read.is_err() && found.present.is_empty();
    found.readable = good_end;
    found.bytes = length;
    (found, findings)
}

/// Whether a part of a file is zero throughout: space that was never written.
fn is_zero(file: &dyn File, from: u64, end: u64) -> bool {
    let mut chunk = vec![0; 64 * 1024];
    let mut at = from;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len());
        let Some(part) = chunk.get_mut(..wanted) else { return false };
        let read = read_around(file, part, at);
        if part.iter().take(read).any(|byte| *byte != 0) {
            return false;
        }
        if read == 0 {
            return true;
        }
        at += read as u64;
    }
    true
}

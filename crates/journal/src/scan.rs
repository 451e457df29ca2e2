//! Finds out what a segment holds, whatever has happened to its bytes.

use std::io;
use std::path::Path;

use crate::frame::{self, Kind, Place};
use crate::fs::{File, read_around};
use crate::segment::{self, Segment};

/// So much of a segment is in memory at once, unless a frame is larger.
const WINDOW_BYTES: usize = 256 * 1024;

/// What a scan found beside the segment itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The newest note: its number and its text.
    pub(crate) note: Option<(u64, String)>,
    /// Bytes before the last good frame that belong to no good frame.
    pub(crate) damaged_bytes: u64,
    /// Bytes after the last good frame that are not zero: frames may have stood there.
    pub(crate) tail_bytes: u64,
    /// What the header says is the first sequence number; none if the header does not check.
    pub(crate) first_seq: Option<u64>,
}

/// Reads a segment from front to back; where a frame does not check, looks for the next one that
/// does.
pub(crate) fn scan(file: &dyn File, lane: &Path, place: Place) -> io::Result<(Segment, Findings)> {
    let mut window = Window { file, length: file.len()?, start: 0, bytes: Vec::new() };
    let mut segment = Segment::new(lane, place.segment);
    let header_end = segment::HEADER_BYTES as u64;
    let first_seq = segment::first_seq(window.at(0, segment::HEADER_BYTES)?, place);
    let mut findings = Findings { first_seq, ..Findings::default() };
    // Without a header, whatever stands in its place may be the rest of something.
    let mut good_end = if first_seq.is_some() { header_end } else { 0 };
    let mut at = header_end;
    while at < window.length {
        let Some((header, length)) = take(&mut window, at, place, &mut findings)? else {
            match next_candidate(&mut window, at)? {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        findings.damaged_bytes += at.saturating_sub(good_end.max(header_end));
        if header.kind == Kind::Data && header.count > 0 {
            segment.note_frame(&header, at);
        }
        at += length;
        good_end = at;
    }
    findings.tail_bytes = window.nonzero_tail(good_end)?;
    segment.readable = good_end.max(header_end.min(window.length));
    segment.bytes = window.length;
    Ok((segment, findings))
}

/// The frame at `at`, if one checks there, and its length.
fn take(
    window: &mut Window<'_>,
    at: u64,
    place: Place,
    findings: &mut Findings,
) -> io::Result<Option<(frame::Header, u64)>> {
    let claimed = frame::claimed_length(window.at(at, frame::HEADER_BYTES)?);
    let Some(claimed) = claimed else { return Ok(None) };
    let Some((header, payload)) = frame::read(place, window.at(at, claimed)?) else { return Ok(None) };
    if header.kind == Kind::Note
        && findings.note.as_ref().is_none_or(|(number, _)| *number < header.first_seq)
    {
        findings.note = Some((header.first_seq, String::from_utf8_lossy(payload).into_owned()));
    }
    Ok(Some((header, claimed as u64)))
}

/// Where the next marker stands after `at`.
fn next_candidate(window: &mut Window<'_>, at: u64) -> io::Result<Option<u64>> {
    let mut from = at + 1;
    while from < window.length {
        let bytes = window.at(from, frame::HEADER_BYTES)?;
        if let Some(found) = frame::next_marker(bytes, 0) {
            return Ok(Some(from + found as u64));
        }
        // A marker may stand across the end of the window.
        let past = (bytes.len() as u64).saturating_sub(3).max(1);
        from += past;
    }
    Ok(None)
}

/// A view of a file that moves forward.
struct Window<'a> {
    file: &'a dyn File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `at` on: at least `wanted` of them, unless the file ends before.
    fn at(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        let needed_end = (at + wanted as u64).min(self.length);
        if at < self.start || needed_end > end {
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            self.bytes.resize(left.min(wanted.max(WINDOW_BYTES)), 0);
            self.start = at;
            let read = read_around(self.file, &mut self.bytes, at)?;
            self.bytes.truncate(read);
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).unwrap_or_default())
    }

    /// How many bytes stand from `from` to the end, if any of them is not zero.
    fn nonzero_tail(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at < self.length {
            let bytes = self.at(at, 1)?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(self.length - from);
            }
            at += bytes.len() as u64;
        }
        Ok(0)
    }
}

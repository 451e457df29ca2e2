//! Goes from frame to frame through a segment, whatever has happened to its bytes.

use crate::frame::{self, Header, Place};
use crate::fs::{File, read_around};

/// So much is read at once, at least.
const CHUNK_BYTES: usize = 64 * 1024;

/// A walk over the good frames of a file. Memory: one chunk, or one frame where that is larger.
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    place: Place,
    /// Where the next frame is looked for.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    start: u64,
}

/// A frame that checks.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
    /// Where it begins in the file.
    pub(crate) offset: u64,
}

impl Found<'_> {
    /// Where the next frame should begin.
    pub(crate) fn end(&self) -> u64 {
        self.offset + (frame::HEADER_BYTES + self.payload.len()) as u64
    }
}

impl<'a> Walk<'a> {
    /// Walks from one offset to before another.
    pub(crate) fn new(file: &'a dyn File, place: Place, from: u64, end: u64) -> Self {
        Self { file, place, at: from, end, buffer: Vec::new(), start: from }
    }

    /// The next frame that checks; where one does not, the next marker is looked for.
    pub(crate) fn next(&mut self) -> Option<Found<'_>> {
        loop {
            let head = self.bytes_at(self.at, frame::HEADER_BYTES);
            if head.is_empty() {
                return None;
            }
            let claimed = frame::claimed_length(head).unwrap_or(0);
            let place = self.place;
            let checked = frame::read(place, self.bytes_at(self.at, claimed));
            if let Some((header, length)) = checked.map(|(header, payload)| (header, payload.len())) {
                let offset = self.at;
                self.at += claimed as u64;
                let payload = self.bytes_at(offset, claimed).get(frame::HEADER_BYTES..)?.get(..length)?;
                return Some(Found { header, payload, offset });
            }
            self.skip();
        }
    }

    /// Goes on to the next marker, or to where one may begin.
    fn skip(&mut self) {
        let rest = self.bytes_at(self.at, frame::HEADER_BYTES);
        let ahead = frame::next_marker(rest, 1).unwrap_or_else(|| {
            // A marker may stand across the end of what has been read.
            rest.len().saturating_sub(frame::MARKER_BYTES - 1).max(1)
        });
        self.at += ahead as u64;
    }

    /// What is known from an offset on: at least so many bytes, unless the file ends before.
    fn bytes_at(&mut self, offset: u64, wanted: usize) -> &[u8] {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let known = offset
            .checked_sub(self.start)
            .and_then(|skipped| usize::try_from(skipped).ok())
            .filter(|skipped| skipped + wanted.min(left) <= self.buffer.len());
        let skipped = known.unwrap_or_else(|| {
            self.buffer.resize(left.min(wanted.max(CHUNK_BYTES)), 0);
            let read = read_around(self.file, &mut self.buffer, offset);
            self.buffer.truncate(read);
            self.start = offset;
            0
        });
        self.buffer.get(skipped..).unwrap_or_default()
    }
}

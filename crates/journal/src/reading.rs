//! Reading back what waits, without holding up a commit.

use std::path::PathBuf;

use fieldline_model::{RangeSet, SeqRange};

use crate::error::Error;
use crate::frame::{self, Kind, Place};
use crate::journal::{Inner, Journal};
use crate::walk::Walk;

/// One record that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The sequence number of its first reading.
    pub first_seq: u64,
    /// How many readings it holds.
    pub count: u32,
    /// When it was appended, in epoch milliseconds.
    pub appended_ms: i64,
    /// The record.
    pub payload: Vec<u8>,
}

/// What a segment looked like when the reading began.
struct View {
    number: u64,
    path: PathBuf,
    from: u64,
    readable: u64,
    present: RangeSet,
}

impl Journal {
    /// Records of a lane that are durable and wait for the store, ascending, from the one that holds
    /// `from_seq` (or the first after it) on; at most `records_max`, and none more once their payloads
    /// reach `bytes_max`. Damaged records are skipped and counted.
    ///
    /// # Errors
    /// [`Error::UnknownLane`], or the disk failed.
    pub fn read(
        &self,
        epoch: u64,
        from_seq: u64,
        bytes_max: usize,
        records_max: usize,
    ) -> Result<Vec<Record>, Error> {
        self.inner.settle(epoch)?;
        let (views, settled) = self.inner.views(epoch, from_seq)?;
        let mut reader =
            Reader { epoch, from_seq, settled, bytes_left: bytes_max, records_max, records: Vec::new() };
        let mut damaged = RangeSet::new();
        for view in views {
            if reader.is_full() {
                break;
            }
            reader.read(&self.inner, &view, &mut damaged)?;
        }
        if !damaged.is_empty()
            && let Some(lane) = self.inner.state().lane(epoch)
        {
            tracing::error!(epoch, count = damaged.count(), "journal records are damaged");
            lane.damage(&damaged);
        }
        Ok(reader.records)
    }
}

impl Inner {
    fn views(&self, epoch: u64, from_seq: u64) -> Result<(Vec<View>, RangeSet), Error> {
        let mut state = self.state();
        let lane = state.lane(epoch).ok_or(Error::UnknownLane { epoch })?;
        let settled = lane.settled();
        let buffered = lane.buffered();
        let waits = |present: &RangeSet| {
            present.last() >= Some(from_seq) && !present.intersection(&buffered).is_empty()
        };
        let views = lane
            .segments
            .iter()
            .filter(|segment| waits(&segment.present))
            .map(|segment| View {
                number: segment.number,
                path: segment.path.clone(),
                from: segment.offset_of(from_seq),
                readable: segment.readable,
                present: segment.present.clone(),
            })
            .collect();
        Ok((views, settled))
    }
}

struct Reader {
    epoch: u64,
    from_seq: u64,
    settled: RangeSet,
    bytes_left: usize,
    records_max: usize,
    records: Vec<Record>,
}

impl Reader {
    fn is_full(&self) -> bool {
        self.bytes_left == 0 || self.records.len() >= self.records_max
    }

    /// Reads one segment; adds what should stand between its good frames and does not to `damaged`.
    fn read(&mut self, journal: &Inner, view: &View, damaged: &mut RangeSet) -> Result<(), Error> {
        let file = match journal.fs.open(&view.path) {
            Ok(file) => file,
            // Released in the meantime.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", &view.path)(error)),
        };
        let place = Place { epoch: self.epoch, segment: view.number };
        let mut walk = Walk::new(file.as_ref(), place, view.from, view.readable);
        let mut seen = None;
        while !self.is_full() {
            let Some(found) = walk.next() else {
                self.mark_missing(view, seen, None, damaged);
                break;
            };
            let header = found.header;
            if header.kind == Kind::Data && view.present.covers(header.range()) {
                self.mark_missing(view, seen, Some(header.first_seq), damaged);
                seen = Some(header.last_seq());
                self.keep(header, found.payload);
            }
        }
        Ok(())
    }

    fn keep(&mut self, header: frame::Header, payload: &[u8]) {
        let range = header.range();
        if range.last < self.from_seq || self.settled.covers(range) {
            return;
        }
        self.bytes_left = self.bytes_left.saturating_sub(payload.len().max(1));
        self.records.push(Record {
            first_seq: header.first_seq,
            count: header.count,
            appended_ms: header.appended_ms,
            payload: payload.to_vec(),
        });
    }

    /// What the segment should hold after `seen` and before `next`.
    fn mark_missing(&self, view: &View, seen: Option<u64>, next: Option<u64>, damaged: &mut RangeSet) {
        let first = seen.map_or(self.from_seq, |seen| seen + 1);
        let last = next.map_or(u64::MAX, |next| next.saturating_sub(1));
        if first <= last {
            let window: RangeSet = [SeqRange::new(first, last)].into_iter().collect();
            damaged.insert_all(&view.present.intersection(&window));
        }
    }
}

//! One lane: the segments of a class under one epoch, and what has become of its readings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fieldline_model::{Class, LaneBooks, RangeSet, SeqRange};

use crate::cursor::{self, Cursor, Found};
use crate::error::Error;
use crate::frame::Place;
use crate::fs::{Fs, read_all};
use crate::recovery::Recovery;
use crate::scan::{Findings, scan};
use crate::segment::{self, Segment};

/// A lane in memory.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) epoch: u64,
    pub(crate) class: Class,
    pub(crate) path: PathBuf,
    /// Oldest first.
    pub(crate) segments: Vec<Segment>,
    pub(crate) last_seq: u64,
    pub(crate) stored: RangeSet,
    pub(crate) dropped: BTreeMap<String, RangeSet>,
    pub(crate) damaged: RangeSet,
    pub(crate) sealed: bool,
    pub(crate) generation: u64,
    /// Whether something has changed since the cursor was written.
    pub(crate) dirty: bool,
}

/// What is known of a lane of the journal. `buffered`, `stored`, `dropped` and `damaged` share no
/// number and together are 1 to `last_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// The lane's stream.
    pub epoch: u64,
    /// The lane's class.
    pub class: Class,
    /// The greatest sequence number given out; 0 if none.
    pub last_seq: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest record that waits was appended, in epoch milliseconds; exact to a segment.
    pub oldest_ms: Option<i64>,
    /// What waits for the store.
    pub buffered: RangeSet,
    /// What the store has acknowledged.
    pub stored: RangeSet,
    /// What was dropped, by policy.
    pub dropped: BTreeMap<String, RangeSet>,
    /// What was found damaged.
    pub damaged: RangeSet,
    /// Whether the lane is only drained; its class goes on under another epoch.
    pub sealed: bool,
}

impl From<LaneState> for LaneBooks {
    fn from(lane: LaneState) -> Self {
        let LaneState { epoch, class, last_seq, buffered, stored, dropped, damaged, .. } = lane;
        Self { epoch, class, last_seq, buffered, stored, dropped, damaged }
    }
}

impl Lane {
    /// A lane that begins.
    pub(crate) fn new(journal: &Path, class: Class, epoch: u64) -> Self {
        Self {
            epoch,
            class,
            path: journal.join(folder_name(class, epoch)),
            segments: Vec::new(),
            last_seq: 0,
            stored: RangeSet::new(),
            dropped: BTreeMap::new(),
            damaged: RangeSet::new(),
            sealed: false,
            generation: 0,
            dirty: false,
        }
    }

    /// Reads a lane from disk; everything is derived from its segments and its cursor.
    pub(crate) fn load(
        fs: &dyn Fs,
        journal: &Path,
        (class, epoch): (Class, u64),
        recovery: &mut Recovery,
    ) -> Result<Self, Error> {
        let mut lane = Self::new(journal, class, epoch);
        let mut untrusted = false;
        match cursor::load(fs, &lane.path)? {
            Found::None => {}
            Found::Damaged => untrusted = true,
            Found::Cursor { cursor, damaged } => {
                untrusted = damaged;
                recovery.newest_note(cursor.note.clone());
                lane.take_cursor(cursor);
            }
        }
        recovery.damaged_cursors += u64::from(untrusted);
        let tail = lane.load_segments(fs, recovery)?;
        let present = lane.present();
        let promised = lane.last_seq;
        lane.last_seq = promised.max(present.last().unwrap_or(0));
        let tail_lost =
            present.last().unwrap_or(0) < promised && !lane.settled_with(&present).contains(promised);
        let missing = lane.missing(&present);
        recovery.damaged_readings += missing.count();
        lane.damaged.insert_all(&missing);
        if tail.tail_bytes > 0 || tail_lost || untrusted {
            recovery.sealed_lanes += u64::from(!lane.sealed);
            lane.dirty |= !lane.sealed;
            lane.sealed = true;
        }
        lane.dirty |= !missing.is_empty();
        Ok(lane)
    }

    fn take_cursor(&mut self, cursor: Cursor) {
        self.generation = cursor.generation;
        self.last_seq = cursor.last_seq;
        self.sealed = cursor.sealed;
        self.stored = cursor.stored;
        self.dropped = cursor.dropped;
        self.damaged = cursor.damaged;
    }

    /// Scans all segments; gives the findings of the last one.
    fn load_segments(&mut self, fs: &dyn Fs, recovery: &mut Recovery) -> Result<Findings, Error> {
        let names = fs.read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        let mut last = Findings::default();
        for number in numbers {
            let path = self.path.join(segment::file_name(number));
            let file = fs.open(&path).map_err(Error::io("open", &path))?;
            let bytes = read_all(file.as_ref()).map_err(Error::io("read", &path))?;
            let (segment, findings) = scan(&bytes, &self.path, Place { epoch: self.epoch, segment: number });
            recovery.segments += 1;
            recovery.damaged_bytes += findings.damaged_bytes;
            recovery.damaged_headers += u64::from(findings.bad_header && !segment.present.is_empty());
            recovery.newest_note(findings.note.clone());
            self.give_way(&segment);
            self.segments.push(segment);
            last = findings;
        }
        Ok(last)
    }

    /// A batch that failed was written again to the next segment: what stands there counts.
    fn give_way(&mut self, later: &Segment) {
        let Some(first) = later.present.runs().first().map(|run| run.first) else { return };
        for segment in &mut self.segments {
            segment.present.remove(SeqRange::new(first, u64::MAX));
        }
    }

    /// All sequence numbers that stand in segments.
    fn present(&self) -> RangeSet {
        let mut present = RangeSet::new();
        for segment in &self.segments {
            present.insert_all(&segment.present);
        }
        present
    }

    /// What is neither present nor accounted for.
    fn missing(&self, present: &RangeSet) -> RangeSet {
        if self.last_seq == 0 {
            return RangeSet::new();
        }
        let known = self.settled_with(present);
        known.gaps_within(SeqRange::new(1, self.last_seq)).into_iter().collect()
    }

    fn settled_with(&self, also: &RangeSet) -> RangeSet {
        let mut settled = self.settled();
        settled.insert_all(also);
        settled.insert_all(&self.damaged);
        settled
    }

    /// What need not be sent any more.
    pub(crate) fn settled(&self) -> RangeSet {
        let mut settled = self.stored.clone();
        for ranges in self.dropped.values() {
            settled.insert_all(ranges);
        }
        settled
    }

    /// What waits for the store.
    pub(crate) fn buffered(&self) -> RangeSet {
        if self.last_seq == 0 {
            return RangeSet::new();
        }
        let gone = self.settled_with(&RangeSet::new());
        gone.gaps_within(SeqRange::new(1, self.last_seq)).into_iter().collect()
    }

    /// The store has these; says whether that changed anything.
    pub(crate) fn store(&mut self, ranges: &RangeSet) -> bool {
        if self.last_seq == 0 {
            return false;
        }
        let given_out: RangeSet = [SeqRange::new(1, self.last_seq)].into_iter().collect();
        let before = self.stored.count();
        for run in given_out.intersection(ranges).runs() {
            self.stored.insert(*run);
            self.damaged.remove(*run);
            for dropped in self.dropped.values_mut() {
                dropped.remove(*run);
            }
        }
        let changed = self.stored.count() != before;
        self.dirty |= changed;
        changed
    }

    /// A policy drops what waits in these ranges.
    pub(crate) fn drop_ranges(&mut self, policy: &str, ranges: &RangeSet) -> u64 {
        let waiting = self.buffered().intersection(ranges);
        if !waiting.is_empty() {
            self.dropped.entry(policy.to_owned()).or_default().insert_all(&waiting);
            self.dirty = true;
        }
        waiting.count()
    }

    /// Ranges that should stand in a segment and cannot be read.
    pub(crate) fn damage(&mut self, ranges: &RangeSet) {
        let waiting = self.buffered().intersection(ranges);
        if !waiting.is_empty() {
            self.damaged.insert_all(&waiting);
            self.dirty = true;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn cursor(&self, note: Option<(u64, String)>) -> Cursor {
        Cursor {
            generation: self.generation + 1,
            epoch: self.epoch,
            class: self.class,
            last_seq: self.last_seq,
            sealed: self.sealed,
            stored: self.stored.clone(),
            dropped: self.dropped.clone(),
            damaged: self.damaged.clone(),
            note,
        }
    }

    pub(crate) fn state(&self) -> LaneState {
        let buffered = self.buffered();
        let first = buffered.runs().first().map(|run| run.first);
        let holds = |segment: &&Segment| first.is_some_and(|seq| segment.present.last() >= Some(seq));
        LaneState {
            epoch: self.epoch,
            class: self.class,
            last_seq: self.last_seq,
            bytes: self.bytes(),
            oldest_ms: self.segments.iter().find(holds).map(|segment| segment.oldest_ms),
            buffered,
            stored: self.stored.clone(),
            dropped: self.dropped.clone(),
            damaged: self.damaged.clone(),
            sealed: self.sealed,
        }
    }
}

/// The name of a lane's folder.
pub(crate) fn folder_name(class: Class, epoch: u64) -> String {
    format!("{class}-{epoch:014x}")
}

/// Class and epoch in the name of a lane's folder.
pub(crate) fn parse_folder(name: &str) -> Option<(Class, u64)> {
    let (class, epoch) = name.split_once('-')?;
    let epoch = u64::from_str_radix(epoch, 16).ok()?;
    let class = class.parse().ok()?;
    (folder_name(class, epoch) == name).then_some((class, epoch))
}

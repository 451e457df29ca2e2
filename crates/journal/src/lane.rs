//! One lane: the segments of a class under one epoch, and what has become of its readings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fieldline_model::{Class, LaneBooks, RangeSet, SeqRange};

use crate::cursor::{self, Cursor};
use crate::error::Error;
use crate::frame::Place;
use crate::fs::Fs;
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
    /// The number of the next segment; never one that was used before.
    pub(crate) next_segment: u64,
    /// Whether the disk may still forget what was found on it: nothing is read before that is settled.
    pub(crate) unsettled: bool,
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
            next_segment: 1,
            unsettled: false,
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
        let names = fs.read_dir(&lane.path).map_err(Error::io("list", &lane.path))?;
        let found = cursor::load(fs, &lane.path, &names);
        recovery.damaged_cursors += u64::from(found.damaged);
        if let Some(cursor) = found.cursor {
            recovery.newest_note(cursor.note.clone());
            lane.take_cursor(cursor);
        }
        let promised = lane.last_seq;
        let tail_in_doubt = lane.load_segments(fs, &names, recovery);
        let noted = lane.segments.iter().map(|segment| segment.promised).max().unwrap_or(0);
        lane.last_seq = lane.last_seq.max(noted);
        let present = lane.present();
        // What was unreadable once may be readable again.
        for run in present.runs() {
            lane.damaged.remove(*run);
        }
        let tail_lost = present.last().unwrap_or(0) < lane.last_seq
            && !lane.settled_with(&present).contains(lane.last_seq);
        lane.last_seq = lane.last_seq.max(present.last().unwrap_or(0));
        let missing = lane.missing(&present);
        recovery.damaged_readings += missing.count();
        lane.damaged.insert_all(&missing);
        let seal = !lane.sealed && (tail_in_doubt || tail_lost || found.damaged);
        recovery.sealed_lanes += u64::from(seal);
        lane.sealed |= seal;
        // What was found may be in the page cache only; see `Journal::settle`.
        lane.unsettled = seal || !missing.is_empty() || lane.last_seq > promised;
        lane.dirty = lane.unsettled;
        Ok(lane)
    }

    fn take_cursor(&mut self, cursor: Cursor) {
        self.generation = cursor.generation;
        self.next_segment = cursor.next_segment;
        self.last_seq = cursor.last_seq;
        self.sealed = cursor.sealed;
        self.stored = cursor.stored;
        self.dropped = cursor.dropped;
        self.damaged = cursor.damaged;
    }

    /// Scans all segments; says whether frames may have stood at the end that cannot be read.
    fn load_segments(&mut self, fs: &dyn Fs, names: &[String], recovery: &mut Recovery) -> bool {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        let mut tail_in_doubt = false;
        for number in numbers {
            let (segment, findings) = self.load_segment(fs, number);
            let begun = findings.first_seq.is_some() || !segment.present.is_empty();
            tail_in_doubt = findings.tail_bytes > 0 || (tail_in_doubt && !begun);
            recovery.segments += 1;
            recovery.damaged_bytes += findings.damaged_bytes;
            recovery.damaged_headers += u64::from(findings.first_seq.is_none() && begun);
            self.give_way(&segment, &findings);
            recovery.newest_note(findings.note);
            self.next_segment = self.next_segment.max(number + 1);
            self.segments.push(segment);
        }
        tail_in_doubt
    }

    /// Scans one segment; that the disk cannot read it must not hide the others.
    fn load_segment(&self, fs: &dyn Fs, number: u64) -> (Segment, Findings) {
        let path = self.path.join(segment::file_name(number));
        match fs.open(&path).and_then(|file| Ok((file.len()?, file))) {
            Ok((length, file)) => {
                scan(file.as_ref(), length, &self.path, Place { epoch: self.epoch, segment: number })
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "cannot open a journal segment");
                let segment = Segment { unreadable: true, ..Segment::new(&self.path, number) };
                (segment, Findings { tail_bytes: 1, ..Findings::default() })
            }
        }
    }

    /// A segment begins where durable numbers ended: everything before it had been given out, and
    /// what older segments hold from there on is left of a batch that failed and was written again.
    fn give_way(&mut self, later: &Segment, findings: &Findings) {
        let Some(first) = findings.first_seq.or(later.present.runs().first().map(|run| run.first)) else {
            return;
        };
        self.last_seq = self.last_seq.max(first.saturating_sub(1));
        for segment in &mut self.segments {
            segment.promised = segment.promised.min(first.saturating_sub(1));
        }
        for segment in self.segments.iter_mut().filter(|segment| segment.present.last() >= Some(first)) {
            segment.present.remove(SeqRange::new(first, u64::MAX));
            segment.overruled = true;
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

    /// Segments that need not be kept, oldest first. One that overrules the end of the segment before
    /// it stays until that one is gone for good, lest a failed batch come back to life.
    pub(crate) fn removable(&self, is_open: impl Fn(u64) -> bool) -> Vec<Segment> {
        let settled = self.settled_with(&RangeSet::new());
        let mut removable = Vec::new();
        let mut held = false;
        for segment in &self.segments {
            let needed = held && !segment.present.is_empty();
            let goes = !needed && !is_open(segment.number) && segment.is_settled(&settled);
            held = if goes { held || segment.overruled } else { segment.overruled };
            if goes {
                removable.push(segment.clone());
            }
        }
        removable
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn cursor(&self, note: Option<(u64, String)>) -> Cursor {
        Cursor {
            generation: self.generation + 1,
            next_segment: self.next_segment,
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

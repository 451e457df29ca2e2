//! Bit rot: each byte flipped, each length cut, each block unreadable. What is damaged is counted, and
//! everything else is read back equal.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fieldline_journal::sim::{Outcome, SimFs};
use fieldline_journal::{Append, Config, Error, Record, Recovery};
use fieldline_model::{Class, RangeSet, SeqRange};

use crate::oracle::{Dice, FOLDER, Oracle, START_MS, new_disk, open, ranges, small};

const SEGMENT_BYTES: usize = 64 * 1024;
const SEGMENT_HEADER_BYTES: usize = 48;
const FRAME_HEADER_BYTES: usize = 36;

/// A lane of one segment of nearly 64 KiB and one of a few records.
struct Lane {
    disk: SimFs,
    records: Vec<Record>,
    segments: Vec<PathBuf>,
    /// Where the frames of the first segment stand, and which readings they hold; none for a note.
    frames: Vec<(Range<usize>, Option<SeqRange>)>,
}

fn config() -> Config {
    Config { segment_bytes: SEGMENT_BYTES as u64, bytes_max: 1 << 20, reserve_bytes: 0, ..small() }
}

impl Lane {
    fn new(with_cursor: bool, with_notes: bool) -> Self {
        let disk = new_disk();
        let (journal, _) = open(&disk, config(), START_MS).unwrap();
        let mut dice = Dice(5);
        let mut records = Vec::new();
        let segments =
            || disk.files().into_iter().filter(|path| path.extension().is_some_and(|x| x == "seg"));
        // Records that hold the marker of a frame, and are themselves whole frames.
        let mut frame_in_frame = b"FLF1".to_vec();
        while segments().count() < 2 || records.len() % 5 != 0 {
            let bytes = 200 + dice.below(1500) as usize;
            let mut payload = frame_in_frame.clone();
            payload.resize_with(bytes, || dice.below(256) as u8);
            let count = 1 + dice.below(30) as u32;
            let record = Append { class: Class::Live, count, payload: &payload };
            let note = format!("note {}", records.len());
            let placed = journal.commit(&[record], with_notes.then_some(note.as_str()), START_MS).unwrap();
            records.push(Record { first_seq: placed[0].first_seq, count, appended_ms: START_MS, payload });
            if records.len() == 3 {
                let first = disk.file(&segments().next().unwrap()).unwrap();
                frame_in_frame = first[SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + 150].to_vec();
            }
        }
        if with_cursor {
            journal.release(journal.lanes()[0].epoch, &ranges(1, 1), START_MS).unwrap();
            journal.save_cursors().unwrap();
        }
        drop(journal);
        let segments: Vec<PathBuf> = segments().collect();
        let frames = frames(&disk.file(&segments[0]).unwrap());
        Self { disk: disk.reboot(Outcome::Dropped, 0), records, segments, frames }
    }

    fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, last_of)
    }

    fn first_bytes(&self) -> usize {
        let bytes = self.disk.file(&self.segments[0]).unwrap().len();
        assert!((62 * 1024..=SEGMENT_BYTES).contains(&bytes), "{bytes}");
        bytes
    }

    /// The readings of frames that touch these bytes of the first segment.
    fn touching(&self, bytes: Range<usize>) -> RangeSet {
        self.frames
            .iter()
            .filter(|(at, _)| at.start < bytes.end && bytes.start < at.end)
            .filter_map(|(_, readings)| *readings)
            .collect()
    }

    /// Opens a copy of the disk with something damaged; these readings and no others may be lost.
    fn check(&self, damage: impl FnOnce(&SimFs), lost: &RangeSet, context: &str) {
        let (found, recovery) = self.check_rest(damage, context);
        assert_eq!(&found, lost, "{context}");
        assert_eq!(recovery.damaged_readings, lost.count(), "{context}");
    }

    /// The same, without saying which readings; gives those that are counted as damaged. The others
    /// must be there.
    fn check_rest(&self, damage: impl FnOnce(&SimFs), context: &str) -> (RangeSet, Recovery) {
        let disk = self.disk.reboot(Outcome::Kept, 0);
        damage(&disk);
        let (journal, recovery) = open(&disk, config(), START_MS).unwrap();
        let epoch = journal.lanes()[0].epoch;
        let read = journal.read(epoch, 1, usize::MAX, usize::MAX).unwrap();
        let lane = journal.lanes().remove(0);
        let gone =
            |record: &Record| lane.damaged.contains(last_of(record)) || lane.stored.contains(last_of(record));
        assert!(read.iter().eq(self.records.iter().filter(|record| !gone(record))), "records: {context}");
        assert_eq!(lane.last_seq, self.last_seq(), "{context}");
        let sum = lane.buffered.count() + lane.stored.count() + lane.damaged.count();
        assert_eq!(sum, lane.last_seq, "{context}");
        assert!(lane.buffered.intersection(&lane.damaged).is_empty(), "{context}");
        (lane.damaged, recovery)
    }

    fn check_flips(&self, segment: usize, flips: &[usize], lost: &RangeSet) {
        let path = &self.segments[segment];
        let flip = |disk: &SimFs| {
            let mut bytes = disk.file(path).unwrap();
            for at in flips {
                bytes[*at] ^= 1 << (at % 8);
            }
            assert!(disk.replace(path, bytes));
        };
        self.check(flip, lost, &format!("bytes {flips:?} of segment {segment}"));
    }
}

fn last_of(record: &Record) -> u64 {
    record.first_seq + u64::from(record.count) - 1
}

/// The frames of an undamaged segment, by docs/formats/journal.md.
fn frames(bytes: &[u8]) -> Vec<(Range<usize>, Option<SeqRange>)> {
    let mut frames = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 4], b"FLF1");
        let length = u32::from_le_bytes(*bytes[at + 4..].first_chunk().unwrap()) as usize;
        let first = u64::from_le_bytes(*bytes[at + 16..].first_chunk().unwrap());
        let count = u64::from(u32::from_le_bytes(*bytes[at + 24..].first_chunk().unwrap()));
        let end = at + FRAME_HEADER_BYTES + length;
        frames.push((at..end, (bytes[at + 12] == 0).then(|| SeqRange::new(first, first + count - 1))));
        at = end;
    }
    frames
}

/// Runs `check` for all numbers below `end` on two threads.
fn at_each(end: usize, check: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for half in 0..2 {
            let check = &check;
            scope.spawn(move || (half..end).step_by(2).for_each(check));
        }
    });
}

/// Four bytes at a time, a quarter of the segment apart: each byte has its turn.
#[test]
fn each_byte_of_a_segment_flipped_costs_the_record_it_is_in() {
    let lane = Lane::new(false, true);
    let bytes = lane.first_bytes();
    let quarter = bytes.div_ceil(4);
    at_each(quarter, |at| {
        let flips: Vec<usize> = (0..4).map(|part| at + part * quarter).filter(|at| *at < bytes).collect();
        let mut lost = RangeSet::new();
        for at in &flips {
            lost.insert_all(&lane.touching(*at..at + 1));
        }
        lane.check_flips(0, &flips, &lost);
    });
}

#[test]
fn each_length_of_a_segment_costs_the_records_that_were_cut() {
    let lane = Lane::new(false, true);
    at_each(lane.first_bytes(), |length| {
        let cut = |disk: &SimFs| {
            let mut bytes = disk.file(&lane.segments[0]).unwrap();
            bytes.truncate(length);
            assert!(disk.replace(&lane.segments[0], bytes));
        };
        lane.check(cut, &lane.touching(length..SEGMENT_BYTES), &format!("cut to {length}"));
    });
}

#[test]
fn each_unreadable_block_costs_the_records_on_it() {
    let lane = Lane::new(false, true);
    for start in (0..SEGMENT_BYTES - 4096).step_by(4096) {
        let block = start..start + 4096;
        let spoil = |disk: &SimFs| assert!(disk.spoil(&lane.segments[0], block.clone()));
        lane.check(spoil, &lane.touching(block.clone()), &format!("block at {start} unreadable"));
    }
}

/// The end of the last segment has nothing after it that says what stood there but the cursor.
#[test]
fn a_damaged_end_that_the_cursor_speaks_of_is_counted() {
    let lane = Lane::new(true, true);
    let bytes = lane.disk.file(&lane.segments[1]).unwrap();
    let frames = frames(&bytes);
    for at in 0..bytes.len() {
        let hit = frames.iter().find(|(frame, _)| frame.contains(&at));
        let lost = hit.and_then(|(_, readings)| *readings).into_iter().collect();
        lane.check_flips(1, &[at], &lost);
    }
}

/// Where no cursor speaks of the end, it may have been cut before it was acknowledged, or sent and then
/// damaged: its numbers are given to nobody else.
#[test]
fn the_numbers_of_a_damaged_end_are_not_given_out_again() {
    // With notes, a good frame stands behind the damaged one.
    for notes in [false, true] {
        damaged_end(&Lane::new(false, notes));
    }
}

fn damaged_end(lane: &Lane) {
    let whole = lane.disk.file(&lane.segments[1]).unwrap();
    let frames = frames(&whole);
    for at in (0..whole.len()).filter(|at| frames.last().is_some_and(|(last, _)| *at >= last.start - 300)) {
        let disk = lane.disk.reboot(Outcome::Kept, 0);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(disk.replace(&lane.segments[1], bytes));
        let (journal, _) = open(&disk, config(), START_MS).unwrap();
        let before = journal.lanes().remove(0);
        let record = Append { class: Class::Live, count: 1, payload: b"fresh" };
        let placed = journal.commit(&[record], None, START_MS).unwrap();
        let is_new = placed[0].epoch != before.epoch || placed[0].first_seq > lane.last_seq();
        assert!(is_new, "byte {at}: {placed:?}, {before:?}");
        let read = journal.read(placed[0].epoch, placed[0].first_seq, 100, 1).unwrap();
        assert_eq!(read[0].payload, b"fresh");
    }
}

/// A segment of which only the header is left still says what had been given out before it.
#[test]
fn a_segments_header_says_what_is_missing_before_it() {
    let lane = Lane::new(false, true);
    let (last_data, readings) = lane
        .frames
        .iter()
        .rev()
        .find_map(|(at, readings)| readings.map(|readings| (at.start, readings)))
        .unwrap();
    let disk = lane.disk.reboot(Outcome::Kept, 0);
    for (path, length) in [(&lane.segments[0], last_data), (&lane.segments[1], SEGMENT_HEADER_BYTES)] {
        let mut bytes = disk.file(path).unwrap();
        bytes.truncate(length);
        assert!(disk.replace(path, bytes));
    }
    let (journal, recovery) = open(&disk, config(), START_MS).unwrap();
    let state = journal.lanes().remove(0);
    assert_eq!((state.last_seq, recovery.damaged_readings), (readings.last, readings.count()));
    assert_eq!(state.damaged, ranges(readings.first, readings.last));
}

/// A lane some of whose segments have gone, and whose cursors say so.
fn settled_lane() -> (SimFs, Oracle, Vec<PathBuf>) {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    let (journal, _) = open(&disk, small(), START_MS).unwrap();
    for _ in 0..12 {
        let id = oracle.offer(Class::Live, 2, 400);
        oracle.commit(&journal, &[id], true, START_MS).unwrap();
    }
    let epoch = journal.lanes()[0].epoch;
    oracle.release(&journal, epoch, &ranges(1, 9)).unwrap();
    oracle.release(&journal, epoch, &ranges(13, 16)).unwrap();
    journal.save_cursors().unwrap();
    drop(journal);
    let cursors: Vec<PathBuf> = disk
        .files()
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cursor.")))
        .collect();
    assert_eq!(cursors.len(), 2);
    // With the segments gone: a power cut may bring them back.
    (disk.reboot(Outcome::Kept, 0), oracle, cursors)
}

#[test]
fn each_byte_of_a_cursor_flipped_or_cut_loses_and_invents_nothing() {
    let (disk, oracle, cursors) = settled_lane();
    for path in &cursors {
        let whole = disk.file(path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            for damaged in [flipped, whole[..at].to_vec()] {
                let (disk, mut oracle) = (disk.reboot(Outcome::Kept, 0), oracle.clone());
                oracle.context = format!("byte {at} of {}", path.display());
                assert!(disk.replace(path, damaged));
                let (journal, recovery) = open(&disk, small(), START_MS).unwrap();
                assert_eq!(recovery.damaged_cursors, 1, "{}", oracle.context);
                oracle.check(&journal).unwrap();
                let id = oracle.offer(Class::Live, 1, 20);
                oracle.commit(&journal, &[id], true, START_MS).unwrap();
                oracle.check(&journal).unwrap();
            }
        }
    }
}

/// What was unlinked can no longer be told from what was lost; what waits is there all the same.
#[test]
fn a_lane_without_any_cursor_keeps_what_waits() {
    let (whole, mut oracle, cursors) = settled_lane();
    let disk = whole.reboot(Outcome::Kept, 0);
    let before = {
        let (journal, _) = open(&whole.reboot(Outcome::Kept, 0), small(), START_MS).unwrap();
        oracle.read_lane(&journal, journal.lanes()[0].epoch).unwrap()
    };
    for path in &cursors {
        assert!(disk.replace(path, b"\0\0\0".to_vec()));
    }
    let (journal, recovery) = open(&disk, small(), START_MS).unwrap();
    assert_eq!((recovery.damaged_cursors, recovery.sealed_lanes), (1, 1));
    let lane = journal.lanes().remove(0);
    let after = oracle.read_lane(&journal, lane.epoch).unwrap();
    assert!(before.iter().all(|(seq, id)| after.get(seq) == Some(id)), "{before:?} {after:?}");
    assert_eq!(lane.buffered.count() + lane.damaged.count(), lane.last_seq);
}

#[test]
fn a_damaged_format_mark_is_written_anew_or_taken_for_a_newer_one() {
    let (disk, oracle, _) = settled_lane();
    let path = Path::new(FOLDER).join("format");
    let whole = disk.file(&path).unwrap();
    let mut opened = BTreeSet::new();
    for at in 0..whole.len() * 8 {
        let (disk, mut oracle) = (disk.reboot(Outcome::Kept, 0), oracle.clone());
        let mut damaged = whole.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(disk.replace(&path, damaged));
        match open(&disk, small(), START_MS) {
            Ok((journal, _)) => {
                oracle.check(&journal).unwrap();
                opened.insert(at);
            }
            Err(Error::Newer { known: 1, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(opened.len() > whole.len() * 8 - 8, "{opened:?}");
}

/// A bad block under a cursor or under a whole small segment costs what stands on it, not the journal.
#[test]
fn a_file_of_which_nothing_can_be_read_does_not_keep_the_journal_from_opening() {
    let (disk, oracle, _) = settled_lane();
    let live = |path: &PathBuf| path.extension().is_some_and(|x| x == "seg" || x == "a" || x == "b");
    for path in disk.files().into_iter().filter(live) {
        let (disk, mut oracle) = (disk.reboot(Outcome::Kept, 0), oracle.clone());
        assert!(disk.spoil(&path, 0..usize::MAX));
        let opened = open(&disk, small(), START_MS);
        assert!(opened.is_ok(), "{}: {opened:?}", path.display());
        let (journal, recovery) = opened.unwrap();
        if path.extension().is_some_and(|x| x == "seg") {
            assert!(recovery.damaged_readings > 0, "{recovery:?}");
        } else {
            oracle.check(&journal).unwrap();
        }
    }
}

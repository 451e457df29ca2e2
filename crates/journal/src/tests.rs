//! Stories of what went wrong or could have; the large crash tests stand in `tests/`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fieldline_model::{Class, RangeSet, SeqRange};

use crate::sim::{Fault, Kind, Outcome, SimFs};
use crate::{Append, Config, Error, Journal, LaneState, Recovery};

const FOLDER: &str = "/var/data/journal";

fn open(disk: &SimFs, config: Config) -> (Journal, Recovery) {
    Journal::open(Arc::new(disk.clone()), Path::new(FOLDER), config, 0).unwrap()
}

fn live(count: u32, payload: &[u8]) -> Append<'_> {
    Append { class: Class::Live, count, payload }
}

fn ranges(first: u64, last: u64) -> RangeSet {
    [SeqRange::new(first, last)].into_iter().collect()
}

fn only_lane(journal: &Journal) -> LaneState {
    let mut lanes = journal.lanes();
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    lanes.remove(0)
}

fn payloads(journal: &Journal, epoch: u64) -> Vec<(u64, Vec<u8>)> {
    let records = journal.read(epoch, 1, usize::MAX, usize::MAX).unwrap();
    records.into_iter().map(|record| (record.first_seq, record.payload)).collect()
}

fn files(disk: &SimFs, ending: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// Makes a commit fail at both attempts, when its bytes are already in the files.
fn fail_to_commit(disk: &SimFs, journal: &Journal, record: Append<'_>, note: &str) {
    let trial = disk.operations();
    // Attempt one: append, sync. Attempt two: create, append, append, sync.
    disk.fail(trial + 1..trial + 2, Fault::Eio);
    disk.fail(trial + 5..trial + 6, Fault::Eio);
    let error = journal.commit(&[record], Some(note), 1).unwrap_err();
    assert!(matches!(error, Error::Io { action: "sync", .. }), "{error:?}");
    disk.heal();
}

#[test]
fn the_note_of_a_failed_commit_never_overrides_a_later_one() {
    let disk = SimFs::new();
    let (journal, _) = open(&disk, Config::default());
    journal.commit(&[live(1, b"a")], Some("one"), 0).unwrap();
    fail_to_commit(&disk, &journal, live(1, b"b"), "failed");
    journal.commit(&[live(1, b"c")], Some("two"), 2).unwrap();
    drop(journal);
    let (journal, _) = open(&disk.reboot(Outcome::Kept, 0), Config::default());
    assert_eq!(journal.note().as_deref(), Some("two"));
}

#[test]
fn a_failed_commit_does_not_come_back_when_its_successor_is_released() {
    let disk = SimFs::new();
    let (journal, _) = open(&disk, Config { segment_bytes: 1, ..Config::default() });
    let epoch = journal.commit(&[live(4, b"waits")], None, 0).unwrap()[0].epoch;
    drop(journal);
    // A segment that takes more than one batch.
    let (journal, _) = open(&disk, Config::default());
    journal.commit(&[live(1, b"begin")], None, 0).unwrap();
    fail_to_commit(&disk, &journal, live(6, b"failed: 6 to 11"), "x");
    journal.commit(&[live(4, b"6 to 9")], None, 2).unwrap();
    drop(journal);
    let (journal, _) = open(&disk, Config::default());
    journal.commit(&[live(1, b"10")], None, 2).unwrap();
    journal.release(epoch, &ranges(6, 10), 3).unwrap();
    journal.save_cursors().unwrap();
    drop(journal);
    for outcome in Outcome::ALL {
        let (journal, _) = open(&disk.reboot(outcome, 0), Config::default());
        assert_eq!(only_lane(&journal).last_seq, 10);
        assert_eq!(payloads(&journal, epoch), [(1, b"waits".to_vec()), (5, b"begin".to_vec())]);
    }
}

#[test]
fn the_first_commit_in_a_folder_that_was_not_there_survives_a_power_cut() {
    let disk = SimFs::new();
    let (journal, _) = open(&disk, Config::default());
    let epoch = journal.commit(&[live(1, b"a")], None, 0).unwrap()[0].epoch;
    drop(journal);
    let (journal, _) = open(&disk.reboot(Outcome::Dropped, 0), Config::default());
    assert_eq!(payloads(&journal, epoch), [(1, b"a".to_vec())]);
}

#[test]
fn no_flipped_bit_of_the_format_mark_keeps_the_journal_from_opening() {
    let disk = SimFs::new();
    drop(open(&disk, Config::default()));
    let path = Path::new(FOLDER).join("format");
    let good = disk.file(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(disk.replace(&path, bytes));
        drop(open(&disk, Config::default()));
        assert_eq!(disk.file(&path).unwrap(), good, "bit {bit}");
    }
    assert!(disk.replace(&path, b"fieldline-journal 2\nfieldline-journal 2\n".to_vec()));
    let refused = Journal::open(Arc::new(disk.clone()), Path::new(FOLDER), Config::default(), 0);
    assert!(matches!(refused, Err(Error::Newer { found: 2, known: 1, .. })), "{refused:?}");
}

#[test]
fn a_bad_block_costs_its_records_and_seals_the_lane_if_it_is_the_last() {
    for (bad, tail) in [(8_000..8_001, false), (60_600..60_601, true)] {
        let disk = SimFs::new();
        let (journal, _) = open(&disk, Config::default());
        let record = [7; 4_000];
        let mut epoch = 0;
        for _ in 0..15 {
            epoch = journal.commit(&[live(1, &record)], None, 0).unwrap()[0].epoch;
        }
        journal.commit(&[live(1, b"last")], None, 0).unwrap();
        drop(journal);
        let path = files(&disk, ".seg").remove(0);
        assert!(disk.spoil(&path, bad));
        let (journal, _) = open(&disk, Config::default());
        let read = payloads(&journal, epoch).len() as u64;
        let state = |epoch| journal.lanes().into_iter().find(|lane| lane.epoch == epoch).unwrap();
        // A frame that lies on the bad block, and its neighbour at most.
        assert!((14..16).contains(&read), "{read}");
        assert_eq!(state(epoch).last_seq, read + state(epoch).damaged.count());
        let next = journal.commit(&[live(1, b"next")], None, 0).unwrap()[0];
        assert_eq!(next.epoch != epoch, tail, "numbers that may have been sent must not be given again");
    }
}

#[test]
fn a_segment_that_cannot_be_read_neither_blocks_the_start_nor_is_it_thrown_away() {
    let disk = SimFs::new();
    let config = Config { segment_bytes: 1, ..Config::default() };
    let (journal, _) = open(&disk, config.clone());
    let epoch = journal.commit(&[live(1, b"a")], None, 0).unwrap()[0].epoch;
    journal.commit(&[live(1, b"b")], None, 0).unwrap();
    drop(journal);
    let path = files(&disk, ".seg").remove(0);
    let bytes = disk.file(&path).unwrap();
    assert!(disk.spoil(&path, 0..bytes.len()));
    let (journal, recovery) = open(&disk, config.clone());
    assert_eq!(recovery.damaged_readings, 1);
    assert_eq!(payloads(&journal, epoch), [(2, b"b".to_vec())]);
    drop(journal);
    assert!(disk.replace(&path, bytes), "the disk reads it again");
    let (journal, _) = open(&disk, config);
    assert_eq!(payloads(&journal, epoch), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
    assert!(only_lane(&journal).damaged.is_empty());
}

#[test]
fn what_a_release_could_not_remove_goes_with_the_next_look() {
    let disk = SimFs::new();
    let config = Config { segment_bytes: 1, ..Config::default() };
    let (journal, _) = open(&disk, config);
    for payload in [b"a", b"b", b"c"] {
        journal.commit(&[live(1, payload)], None, 0).unwrap();
    }
    let epoch = only_lane(&journal).epoch;
    let now = disk.operations();
    disk.fail(now..now + 100, Fault::Eio);
    assert!(journal.release(epoch, &ranges(1, 3), 0).is_err());
    disk.heal();
    journal.save_cursors().unwrap();
    assert_eq!(files(&disk, ".seg").len(), 1, "only the open one stays");
}

#[test]
fn a_disk_that_fails_does_not_fill_with_folders_and_files() {
    for healthy in 0..9 {
        let disk = SimFs::new();
        let (journal, _) = open(&disk, Config::default());
        let mut failures = 0;
        for _ in 0..20 {
            let now = disk.operations();
            disk.fail(now + healthy..now + healthy + 1, Fault::Eio);
            disk.fail(now + healthy + 2..now + healthy + 1_000, Fault::Eio);
            failures += u32::from(journal.commit(&[live(1, b"a")], None, 0).is_err());
            disk.heal();
        }
        journal.commit(&[live(1, b"a")], None, 0).unwrap();
        assert!(disk.files().len() < 8, "{failures} failures after {healthy}: {:?}", disk.files());
        let folders = disk.history().iter().filter(|operation| operation.kind == Kind::RemoveDir).count();
        assert!(journal.lanes().len() == 1 && folders <= 40, "{healthy}");
    }
}

#[test]
fn of_one_class_the_older_lane_is_dropped_first() {
    let config = Config { segment_bytes: 1, bytes_max: 4_000, ..Config::default() };
    for round in 0..8 {
        let disk = SimFs::new();
        let (journal, _) = open(&disk, config.clone());
        let old = journal.commit(&[live(1, &[1; 900])], None, 0).unwrap()[0].epoch;
        drop(journal);
        let path = files(&disk, ".seg").remove(0);
        let mut bytes = disk.file(&path).unwrap();
        bytes.extend_from_slice(b"torn");
        assert!(disk.replace(&path, bytes));
        let (journal, recovery) = open(&disk, config.clone());
        assert_eq!(recovery.sealed_lanes, 1);
        for _ in 0..4 {
            journal.commit(&[live(1, &[2; 900])], None, 0).unwrap();
        }
        for lane in journal.lanes() {
            assert_eq!(lane.dropped.is_empty(), lane.epoch != old, "round {round}: {lane:?}");
        }
    }
}

#[test]
fn a_full_disk_does_not_keep_the_journal_from_opening() {
    let disk = SimFs::new();
    let config = Config { reserve_bytes: 0, segment_bytes: 1, ..Config::default() };
    let (journal, _) = open(&disk, config.clone());
    for payload in [b"a", b"b"] {
        journal.commit(&[live(1, payload)], None, 0).unwrap();
    }
    let epoch = only_lane(&journal).epoch;
    disk.set_space(Some(disk.used()));
    assert!(matches!(journal.release(epoch, &ranges(1, 1), 0), Err(Error::NoSpace(_))));
    drop(journal);
    let (journal, _) = open(&disk.reboot(Outcome::Kept, 0), config);
    assert_eq!(only_lane(&journal).last_seq, 2);
}

//! A disk that fails at any operation, a disk that is full, and a journal that is full.

use std::path::Path;

use fieldline_journal::sim::{Fault, Kind, Outcome, SimFs};
use fieldline_journal::{Append, Config, Error, Fs as _, Journal, Policy};
use fieldline_model::Class;

use crate::oracle::{Dice, FOLDER, Oracle, START_MS, new_disk, open, ranges, small};
use crate::workload::{Call, STEPS, config};

/// What a caller does whose commit has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Gives the same batch again.
    Again,
    /// Gives that batch up and comes with another.
    Another,
}

/// Makes each call until it comes off, at most so many times; `failed` is told of every failure.
fn persist(
    disk: &SimFs,
    oracle: &mut Oracle,
    (attempts, then): (usize, Then),
    failed: &mut dyn FnMut(&Error),
) -> Journal {
    let journal = insist(&oracle.context.clone(), attempts, failed, || open(disk, config(), START_MS)).0;
    let mut dice = Dice(7);
    for step in 0..STEPS {
        let mut call = Call::plan(step, &journal, oracle, &mut dice);
        let context = format!("{call:?}; {}", oracle.context);
        insist(&context, attempts, failed, || {
            let made = call.make(&journal, oracle);
            if let (Err(_), Then::Another, Call::Commit { ids, .. }) = (&made, then, &mut call) {
                ids.iter_mut().for_each(|id| *id = oracle.another(*id));
            }
            made
        });
    }
    journal
}

fn insist<T>(
    context: &str,
    attempts: usize,
    failed: &mut dyn FnMut(&Error),
    mut call: impl FnMut() -> Result<T, Error>,
) -> T {
    for _ in 0..attempts {
        match call() {
            Ok(done) => return done,
            Err(error) => failed(&error),
        }
    }
    panic!("still failing after {attempts} attempts: {context}")
}

/// What is on disk after a power cut is all that was promised.
fn check_after_power_cut(disk: &SimFs, oracle: &mut Oracle, seed: u64) {
    let outcome = Outcome::ALL[(seed % 3) as usize];
    oracle.context = format!("{}, then {outcome:?}", oracle.context);
    let (journal, recovery) = open(&disk.reboot(outcome, seed), config(), START_MS).unwrap();
    assert_eq!((recovery.damaged_readings, recovery.damaged_cursors), (0, 0), "{}", oracle.context);
    oracle.check(&journal).unwrap();
}

/// The operations of a workload in which nothing fails.
fn operations() -> (u64, u64) {
    let disk = new_disk();
    let first = disk.operations();
    let _journal = persist(&disk, &mut Oracle::default(), (1, Then::Again), &mut |_| ());
    (first, disk.operations())
}

fn faults_at_every_operation(length: u64, fault: Fault, then: Then) {
    let (first, end) = operations();
    for operation in first..end {
        let (disk, mut oracle) = (new_disk(), Oracle::default());
        oracle.context = format!("{fault:?} at {operation}, {length} times, then {then:?}");
        disk.fail(operation..operation + length, fault);
        let attempts = (length as usize + 1, then);
        let journal = persist(&disk, &mut oracle, attempts, &mut |error| {
            assert_eq!(matches!(error, Error::NoSpace(_)), fault == Fault::NoSpace, "{error:?}");
        });
        oracle.check(&journal).unwrap();
        check_after_power_cut(&disk, &mut oracle, operation);
    }
}

#[test]
fn one_input_output_error_anywhere_costs_nothing() {
    faults_at_every_operation(1, Fault::Eio, Then::Again);
}

#[test]
fn after_several_input_output_errors_another_batch_takes_the_numbers() {
    faults_at_every_operation(4, Fault::Eio, Then::Another);
}

#[test]
fn one_full_disk_anywhere_costs_nothing() {
    faults_at_every_operation(1, Fault::NoSpace, Then::Again);
}

#[test]
fn after_a_full_disk_another_batch_takes_the_numbers() {
    faults_at_every_operation(9, Fault::NoSpace, Then::Another);
}

/// Names in the journal's folder and in all lanes.
fn names(disk: &SimFs) -> usize {
    let lanes = disk.read_dir(Path::new(FOLDER)).unwrap();
    let files = |name: &String| disk.read_dir(&Path::new(FOLDER).join(name)).map_or(0, |names| names.len());
    lanes.len() + lanes.iter().map(files).sum::<usize>()
}

/// A disk that fails for an hour is tried every second: nothing may pile up on it.
#[test]
fn failing_again_and_again_leaves_no_pile_of_files() {
    for (kind, fault) in [
        (Kind::CreateDirAll, Fault::Eio),
        (Kind::Create, Fault::NoSpace),
        (Kind::Append, Fault::NoSpace),
        (Kind::SyncData, Fault::Eio),
        (Kind::SyncDir, Fault::Eio),
        (Kind::Rename, Fault::Eio),
    ] {
        let (disk, mut oracle) = (new_disk(), Oracle::default());
        oracle.context = format!("{kind:?} fails");
        let (journal, _) = open(&disk, small(), START_MS).unwrap();
        let live = oracle.offer(Class::Live, 1, 600);
        oracle.commit(&journal, &[live], true, START_MS).unwrap();
        // A segment that is closed and a lane that is new.
        let next = [oracle.offer(Class::Live, 1, 600), oracle.offer(Class::Alarm, 1, 10)];
        let before = names(&disk);
        disk.fail_every(kind, fault);
        for _ in 0..50 {
            if kind != Kind::Rename {
                oracle.commit(&journal, &next, true, START_MS).unwrap_err();
            }
        }
        assert!(names(&disk) <= before + 4, "{kind:?}: {} names, before {before}", names(&disk));
        disk.heal();
        oracle.commit(&journal, &next, true, START_MS).unwrap();
        assert!(names(&disk) <= before + 4, "{kind:?}: {} names, before {before}", names(&disk));
        oracle.check(&journal).unwrap();
        check_after_power_cut(&disk, &mut oracle, 1);
    }
}

/// The disk fills up before each step in turn, and stays full for five more attempts.
#[test]
fn a_full_disk_takes_releases_and_the_same_call_works_when_there_is_space() {
    for full_at in 0..STEPS {
        let (disk, mut oracle) = (new_disk(), Oracle::default());
        oracle.context = format!("full at step {full_at}");
        let (journal, _) = open(&disk, config(), START_MS).unwrap();
        let mut dice = Dice(7);
        for step in 0..STEPS {
            let call = Call::plan(step, &journal, &mut oracle, &mut dice);
            if step == full_at {
                disk.set_space(Some(disk.used()));
                let done = stays_full(&call, &journal, &mut oracle);
                disk.set_space(None);
                if done {
                    continue;
                }
            }
            call.make(&journal, &mut oracle).unwrap();
        }
        check_after_power_cut(&disk, &mut oracle, full_at as u64);
    }
}

/// Only a commit may fail; says whether the call came off.
fn stays_full(call: &Call, journal: &Journal, oracle: &mut Oracle) -> bool {
    for _ in 0..5 {
        match (call.make(journal, oracle), call) {
            (Ok(()), _) => return true,
            (Err(Error::NoSpace(_)), Call::Commit { .. }) => oracle.check(journal).unwrap(),
            (Err(error), _) => panic!("{error:?}: {call:?}; {}", oracle.context),
        }
    }
    false
}

#[test]
fn the_reserve_pays_for_the_cursor_that_frees_a_full_disk() {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    let (journal, _) = open(&disk, small(), START_MS).unwrap();
    let reserve = Path::new(FOLDER).join("reserve");
    assert_eq!(disk.file(&reserve).unwrap().len() as u64, small().reserve_bytes);
    let ids: Vec<u64> = (0..8).map(|_| oracle.offer(Class::Live, 1, 500)).collect();
    for id in ids {
        oracle.commit(&journal, &[id], true, START_MS).unwrap();
    }
    disk.set_space(Some(disk.used()));
    let next = oracle.offer(Class::Live, 1, 500);
    assert!(matches!(oracle.commit(&journal, &[next], true, START_MS), Err(Error::NoSpace(_))));
    assert!(journal.lanes()[0].dropped.is_empty(), "a full disk is no reason to drop");
    let epoch = journal.lanes()[0].epoch;
    let freed = journal.release(epoch, &ranges(1, 6), START_MS).unwrap();
    assert!(freed.segments >= 2 && freed.bytes > 2000, "{freed:?}");
    oracle.release(&journal, epoch, &ranges(1, 6)).unwrap();
    oracle.commit(&journal, &[next], true, START_MS).unwrap();
    disk.set_space(None);
    journal.save_cursors().unwrap();
    assert_eq!(disk.file(&reserve).unwrap().len() as u64, small().reserve_bytes, "the reserve is back");
    check_after_power_cut(&disk, &mut oracle, 1);
}

#[test]
fn a_full_disk_does_not_keep_a_journal_from_opening() {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    persist(&disk, &mut oracle, (1, Then::Again), &mut |_| ());
    for outcome in Outcome::ALL {
        let full = disk.reboot(outcome, 3);
        full.set_space(Some(full.used()));
        let (journal, _) = open(&full, config(), START_MS).unwrap();
        oracle.check(&journal).unwrap();
    }
}

#[test]
fn a_journal_that_refuses_takes_nothing_until_some_has_gone() {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    let config = Config { policy: Policy::Refuse, ..small() };
    let (journal, _) = open(&disk, config.clone(), START_MS).unwrap();
    let mut taken = 0;
    let refused = loop {
        let id = oracle.offer(Class::Live, 2, 900);
        match oracle.commit(&journal, &[id], true, START_MS) {
            Ok(()) => taken += 1,
            Err(error) => break (id, error),
        }
    };
    assert!((10..18).contains(&taken), "{taken}");
    // The header of the last segment may stand above the limit.
    assert!(matches!(refused.1, Error::Full { bytes, .. } if bytes <= config.bytes_max + 48), "{refused:?}");
    let before = disk.operations();
    oracle.commit(&journal, &[refused.0], true, START_MS).unwrap_err();
    assert_eq!(disk.operations(), before, "a refusal costs no write");
    let lane = journal.lanes()[0].clone();
    assert_eq!((lane.buffered, lane.dropped.len()), (ranges(1, 2 * taken), 0));
    oracle.release(&journal, lane.epoch, &ranges(1, 4)).unwrap();
    oracle.commit(&journal, &[refused.0], true, START_MS).unwrap();
    oracle.check(&journal).unwrap();
    check_after_power_cut(&disk, &mut oracle, 1);
}

#[test]
fn the_dearest_class_is_dropped_last() {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    let (journal, _) = open(&disk, small(), START_MS).unwrap();
    for class in [Class::Alarm, Class::Event, Class::Live, Class::History] {
        for _ in 0..4 {
            let id = oracle.offer(class, 1, 800);
            oracle.commit(&journal, &[id], false, START_MS).unwrap();
        }
    }
    for _ in 0..7 {
        let id = oracle.offer(Class::Alarm, 1, 800);
        oracle.commit(&journal, &[id], false, START_MS).unwrap();
    }
    let left: Vec<(Class, u64)> =
        journal.lanes().iter().map(|lane| (lane.class, lane.buffered.count())).collect();
    let count = |class| left.iter().find(|(of, _)| *of == class).map(|(_, count)| *count);
    assert_eq!(
        (count(Class::History), count(Class::Alarm), count(Class::Event)),
        (Some(0), Some(11), Some(4))
    );
    assert!(count(Class::Live) < Some(4), "{left:?}");
    assert!(journal.bytes() <= small().bytes_max);
    oracle.check(&journal).unwrap();
}

#[test]
fn a_record_is_as_large_as_the_limit_and_no_larger() {
    let limit = fieldline_journal::PAYLOAD_BYTES_MAX;
    let (journal, _) = open(&new_disk(), Config::default(), START_MS).unwrap();
    let payload = vec![7; limit + 1];
    let record = |payload, count| Append { class: Class::Live, count, payload };
    for bad in [record(&payload[..], 1), record(&payload[..4], 0)] {
        assert!(matches!(journal.commit(&[bad], None, START_MS), Err(Error::BadRecord { .. })));
    }
    let placed = journal.commit(&[record(&payload[..limit], 1)], None, START_MS).unwrap();
    let read = journal.read(placed[0].epoch, 1, 1, 10).unwrap();
    assert_eq!(read[0].payload, payload[..limit]);
}

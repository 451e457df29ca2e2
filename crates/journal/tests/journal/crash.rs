//! A crash at every operation of a workload, with what was not synced kept, dropped and torn; then a
//! second crash while the machine comes up again.

use std::collections::BTreeSet;

use fieldline_journal::sim::{Kind, Outcome, SimFs};
use fieldline_journal::{DROP_OLDEST, EXPIRED, Error};
use fieldline_model::Class;

use crate::oracle::{Dice, Oracle, START_MS, new_disk, open};
use crate::workload::{Call, STEPS, config};

/// A second crash at every so manieth operation; the next first crash takes the operations beside.
const SECOND_STRIDE: u64 = 10;
const SECOND_SAMPLES: u64 = 5;

fn first_life(disk: &SimFs, oracle: &mut Oracle) -> Result<(), Error> {
    let (journal, _) = open(disk, config(), START_MS)?;
    let mut dice = Dice(7);
    for step in 0..STEPS {
        let call = Call::plan(step, &journal, oracle, &mut dice);
        call.make(&journal, oracle)?;
    }
    Ok(())
}

/// After a crash: opens, is held to every promise, takes fresh records, lets go of everything.
fn next_life(disk: &SimFs, oracle: &mut Oracle) -> Result<(), Error> {
    let (journal, recovery) = open(disk, config(), START_MS)?;
    assert_eq!((recovery.damaged_readings, recovery.damaged_cursors), (0, 0), "{}", oracle.context);
    oracle.check(&journal)?;
    let ids = [Class::Live, Class::History, Class::Alarm].map(|class| oracle.offer(class, 2, 40));
    oracle.commit(&journal, &ids, true, START_MS)?;
    oracle.check(&journal)?;
    for lane in journal.lanes() {
        oracle.release(&journal, lane.epoch, &lane.buffered)?;
    }
    assert!(journal.lanes().iter().all(|lane| lane.buffered.is_empty()), "{}", oracle.context);
    let more = oracle.offer(Class::Live, 1, 700);
    oracle.commit(&journal, &[more], false, START_MS)?;
    journal.save_cursors()?;
    oracle.check(&journal)
}

/// Crashes `life` at an operation; the oracle then knows what was promised until then.
fn crashed(
    disk: &SimFs,
    oracle: &mut Oracle,
    operation: u64,
    life: fn(&SimFs, &mut Oracle) -> Result<(), Error>,
) -> bool {
    disk.crash_at(operation);
    let ended = life(disk, oracle);
    assert_eq!(ended.is_err(), disk.has_crashed(), "{ended:?}; {}", oracle.context);
    disk.has_crashed()
}

/// Every operation of the first life; at each, a sample of the operations of the second, which is
/// other ones for the next.
fn crash_everywhere(outcome: Outcome, seeds: u64) {
    let mut operation = 0;
    loop {
        for seed in 0..seeds {
            let (disk, mut oracle) = (new_disk(), Oracle::default());
            let at = disk.operations() + operation;
            if !crashed(&disk, &mut oracle, at, first_life) {
                assert!(operation > 200, "the workload has only {operation} operations");
                return;
            }
            crash_again(&disk, &oracle, (operation, outcome, seed));
        }
        operation += 1;
    }
}

fn crash_again(disk: &SimFs, oracle: &Oracle, (operation, outcome, seed): (u64, Outcome, u64)) {
    let mut whole = oracle.clone();
    whole.context = format!("crash at {operation} {outcome:?} seed {seed}");
    next_life(&disk.reboot(outcome, seed), &mut whole).unwrap();
    for sample in 0..SECOND_SAMPLES {
        let second = operation % SECOND_STRIDE + sample * SECOND_STRIDE;
        let after = Outcome::ALL[((operation + sample) % 3) as usize];
        let (disk, mut oracle) = (disk.reboot(outcome, seed), oracle.clone());
        oracle.context = format!("crash at {operation} {outcome:?} seed {seed}, then at {second} {after:?}");
        if crashed(&disk, &mut oracle, second, next_life) {
            next_life(&disk.reboot(after, second), &mut oracle).unwrap();
        }
    }
}

/// The workload is worth crashing: records wait, are dropped for space and for age, segments go.
#[test]
fn the_workload_sees_all_that_happens_to_a_journal() {
    let (disk, mut oracle) = (new_disk(), Oracle::default());
    first_life(&disk, &mut oracle).unwrap();
    let removed = disk.history().iter().filter(|done| done.kind == Kind::Remove).count();
    assert!(removed > 10, "only {removed} files were removed");
    let (journal, _) = open(&disk.reboot(Outcome::Dropped, 0), config(), START_MS).unwrap();
    let lanes = journal.lanes();
    assert!(lanes.len() == 3 && lanes.iter().any(|lane| !lane.buffered.is_empty()), "{lanes:?}");
    assert_eq!(oracle.policies, BTreeSet::from([DROP_OLDEST.to_owned(), EXPIRED.to_owned()]));
    oracle.check(&journal).unwrap();
}

#[test]
fn a_killed_process_loses_nothing_that_it_promised() {
    crash_everywhere(Outcome::Kept, 1);
}

#[test]
fn a_power_cut_that_drops_all_that_was_not_synced_loses_nothing() {
    crash_everywhere(Outcome::Dropped, 1);
}

#[test]
fn a_power_cut_that_tears_what_was_not_synced_loses_nothing() {
    crash_everywhere(Outcome::Torn, 2);
}

//! The power fails at every disk operation of a recorded workload, with unsynced data kept, dropped
//! and torn: every block, shadow and entry that was acknowledged is there afterwards, each is there whole
//! or not at all, and the store takes new ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "power_cut/careless.rs"]
mod careless;
#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/documents.rs"]
mod documents;
#[path = "power_cut/trace.rs"]
mod trace;
#[path = "power_cut/workload.rs"]
mod workload;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk::{Disk, Unsynced};
use trace::{CALLS, Operation, Reader};

/// Set in the process that is recorded: the folder of the store, and the file for acknowledgements.
const FOLDER: &str = "FIELDLINE_TEST_STORE_FOLDER";
const ACKNOWLEDGEMENTS: &str = "FIELDLINE_TEST_STORE_ACKNOWLEDGEMENTS";

/// Not a test by itself: what `the_power_fails_at_every_disk_operation` records.
#[test]
fn recorded_workload() {
    if let Some((folder, file)) = told() {
        workload::run(&folder, &file);
    }
}

/// Not a test by itself: what `the_power_fails_while_shadows_and_entries_change` records.
#[test]
fn recorded_documents() {
    if let Some((folder, file)) = told() {
        documents::run(&folder, &file);
    }
}

/// What `a_store_that_does_not_sync_is_caught` records.
#[test]
fn recorded_carelessness() {
    if let Some((folder, file)) = told() {
        careless::run(&folder, &file, "OFF");
    }
}

/// The same with SQLite's syncs.
#[test]
fn recorded_care() {
    if let Some((folder, file)) = told() {
        careless::run(&folder, &file, "FULL");
    }
}

fn told() -> Option<(PathBuf, PathBuf)> {
    Some((std::env::var_os(FOLDER)?.into(), std::env::var_os(ACKNOWLEDGEMENTS)?.into()))
}

/// The disk operations of one of the tests above, run by itself; `None` without strace.
fn record(root: &Path, workload: &str) -> Option<Vec<Operation>> {
    let (folder, file, trace) = (root.join("store"), root.join("acknowledged"), root.join("trace"));
    std::fs::create_dir(&folder).unwrap();
    let status = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "33554432", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", workload, "--test-threads=1"])
        .env(FOLDER, &folder)
        .env(ACKNOWLEDGEMENTS, &file)
        .stdout(Stdio::null())
        .status();
    match status {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        other => assert!(other.unwrap().success(), "the workload failed"),
    }
    let trace = std::fs::read_to_string(&trace).unwrap();
    Some(Reader::read(&trace, folder.to_str().unwrap(), file.to_str().unwrap()))
}

#[test]
fn the_power_fails_at_every_disk_operation() {
    let acknowledged = cut_everywhere("recorded_workload", workload::check);
    assert!(
        acknowledged.is_none_or(|blocks| blocks.len() == workload::BLOCKS),
        "not every block was acknowledged"
    );
}

#[test]
fn the_power_fails_while_shadows_and_entries_change() {
    let acknowledged = cut_everywhere("recorded_documents", documents::check);
    assert!(
        acknowledged.is_none_or(|steps| steps.len() == documents::STEPS),
        "not every step was acknowledged"
    );
}

/// Records a workload and checks what each cut leaves; gives what was acknowledged in the end. `None`
/// without strace.
fn cut_everywhere(workload: &str, check: impl Fn(&Path, &BTreeSet<usize>, &str)) -> Option<BTreeSet<usize>> {
    // Neither a link on the way (traces give resolved paths) nor a place where syncing costs.
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let Some(operations) = record(&root, workload) else {
        println!("skipped: strace is not installed");
        return None;
    };
    let disk_operations =
        operations.iter().filter(|op| !matches!(op, Operation::Acknowledged { .. })).count();
    let syncs = operations.iter().filter(|op| matches!(op, Operation::Sync { .. })).count();
    println!("{disk_operations} disk operations, {syncs} of them syncs");
    assert!(disk_operations > 100, "the trace does not show what the store does");

    let (mut disk, mut acknowledged) = (Disk::default(), BTreeSet::new());
    for (at, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        if let Operation::Acknowledged { block } = operation {
            acknowledged.insert(*block);
        }
        let seed = (at as u64 + 1) << 20;
        for unsynced in [
            Unsynced::Kept,
            Unsynced::Dropped,
            Unsynced::Torn { seed },
            Unsynced::Torn { seed: seed + 77_777 },
        ] {
            let folder = scratch();
            disk.cut(unsynced, folder.path());
            let context = format!("operation {at} ({}), unsynced data {unsynced:?}", brief(operation));
            check(folder.path(), &acknowledged, &context);
        }
    }
    Some(acknowledged)
}

/// SQLite itself, told not to sync, must be caught, or the test above proves nothing; told to sync,
/// it must pass, or the replay takes away what was durable.
#[test]
fn a_store_that_does_not_sync_is_caught() {
    for (workload, careful) in [("recorded_carelessness", false), ("recorded_care", true)] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let Some(operations) = record(&root, workload) else {
            println!("skipped: strace is not installed");
            return;
        };
        let (mut disk, mut acknowledged, mut kept, mut dropped) = (Disk::default(), 0, true, true);
        for operation in &operations {
            disk.apply(operation);
            if matches!(operation, Operation::Acknowledged { .. }) {
                acknowledged += 1;
            }
            kept &= rows_after(&disk, Unsynced::Kept) >= acknowledged;
            dropped &= rows_after(&disk, Unsynced::Dropped) >= acknowledged;
        }
        assert_eq!(acknowledged, careless::ROWS);
        assert!(kept, "{workload}: the replay does not give what the process wrote");
        assert_eq!(dropped, careful, "{workload}: whether all that was acknowledged was synced");
    }
}

fn rows_after(disk: &Disk, unsynced: Unsynced) -> usize {
    let folder = scratch();
    disk.cut(unsynced, folder.path());
    careless::rows(folder.path())
}

/// A folder in memory where there is one: what is opened after a cut need not survive another.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn brief(operation: &Operation) -> String {
    match operation {
        Operation::Write { name, offset, bytes } => format!("write {name} {offset}+{}", bytes.len()),
        other => format!("{other:?}"),
    }
}

//! The real disk, in a temporary folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use fieldline_journal::{Append, Config, DiskFs, Error, Journal, Recovery};
use fieldline_model::Class;

use crate::oracle::{START_MS, ranges};

fn open(folder: &Path) -> Result<(Journal, Recovery), Error> {
    let config = Config { segment_bytes: 4096, ..Config::default() };
    Journal::open(Arc::new(DiskFs), folder, config, START_MS)
}

fn append(journal: &Journal, payload: &[u8]) -> u64 {
    let record = Append { class: Class::Live, count: 1, payload };
    journal.commit(&[record], Some("counts"), START_MS).unwrap()[0].first_seq
}

#[test]
fn readings_survive_a_restart_and_released_segments_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(&folder.path().join("new/journal")).unwrap();
    for number in 0..40_u8 {
        append(&journal, &[number; 400]);
    }
    let epoch = journal.lanes()[0].epoch;
    let released = journal.release(epoch, &ranges(1, 30), START_MS).unwrap();
    assert!(released.segments > 2, "{released:?}");
    drop(journal);
    let (journal, recovery) = open(&folder.path().join("new/journal")).unwrap();
    assert_eq!(recovery.damaged_readings, 0);
    assert_eq!(journal.note().as_deref(), Some("counts"));
    assert_eq!(journal.lanes()[0].buffered, ranges(31, 40));
    let read = journal.read(epoch, 1, usize::MAX, 100).unwrap();
    let found: Vec<(u64, u8)> = read.iter().map(|record| (record.first_seq, record.payload[0])).collect();
    assert_eq!(found, (31..=40).map(|seq| (seq, seq as u8 - 1)).collect::<Vec<_>>());
    assert_eq!(append(&journal, b"next"), 41);
}

#[test]
fn a_second_journal_in_the_same_folder_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path()).unwrap();
    let handle = first.clone();
    drop(first);
    let refused = open(folder.path()).err();
    assert!(
        matches!(&refused, Some(Error::InUse { folder: named }) if named == folder.path()),
        "{refused:?}"
    );
    drop(handle);
    open(folder.path()).unwrap();
}

#[test]
fn a_folder_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    append(&journal, b"old");
    drop(journal);
    let mark = folder.path().join("format");
    assert_eq!(fs::read_to_string(&mark).unwrap(), "fieldline-journal 1\nfieldline-journal 1\n");
    fs::write(&mark, "fieldline-journal 2\n").unwrap();
    assert!(matches!(open(folder.path()), Err(Error::Newer { found: 2, known: 1, .. })));
    assert_eq!(fs::read_to_string(&mark).unwrap(), "fieldline-journal 2\n");
    fs::write(&mark, "fieldline-journal 1\n").unwrap();
    assert_eq!(append(&open(folder.path()).unwrap().0, b"new"), 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_in_the_error() {
    // The superuser may write everywhere.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains(&*folder.path().to_string_lossy()), "{error}");
}

#[test]
fn a_file_where_the_folder_should_be_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "not a folder").unwrap();
    let error = open(&path).unwrap_err();
    assert!(
        matches!(error, Error::Io { .. }) && error.to_string().contains(&*path.to_string_lossy()),
        "{error}"
    );
}

#[test]
fn files_of_others_in_the_folder_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    append(&journal, b"mine");
    drop(journal);
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    fs::create_dir(folder.path().join("live-xyz")).unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    assert_eq!(journal.lanes().len(), 1);
    assert_eq!(append(&journal, b"mine too"), 2);
}

use std::path::Path;

use fieldline_journal::sim::{Fault, Kind, Outcome, SimFs};

use super::*;

fn open(disk: &SimFs) -> io::Result<StateLog> {
    StateLog::open(Arc::new(disk.clone()), PathBuf::from("/rules"))
}

/// Commit `n`: one key is replaced, one comes, and one goes; `bytes` makes the log grow.
fn changes(n: u8, bytes: usize) -> Vec<Change> {
    vec![
        Change { key: "position/lane".to_owned(), value: Some(vec![n; bytes]) },
        Change { key: format!("outbox/{n}"), value: Some(vec![n]) },
        Change { key: format!("outbox/{}", n.wrapping_sub(1)), value: None },
    ]
}

/// The state after commit `n`.
fn expected(n: u8, bytes: usize) -> Vec<(String, Vec<u8>)> {
    match n {
        0 => Vec::new(),
        n => vec![(format!("outbox/{n}"), vec![n]), ("position/lane".to_owned(), vec![n; bytes])],
    }
}

/// How many commits were acknowledged.
fn work(disk: &SimFs, commits: u8, bytes: usize) -> u8 {
    let Ok(mut log) = open(disk) else { return 0 };
    (1..=commits).take_while(|n| log.commit(&changes(*n, bytes)).is_ok()).count() as u8
}

#[test]
fn a_commit_survives_a_crash_at_any_operation_whole_or_not_at_all() {
    // The second size makes the log be written anew in between.
    for (commits, bytes) in [(3, 10), (5, 400_000)] {
        let disk = SimFs::new();
        assert_eq!(work(&disk, commits, bytes), commits);
        for crash in 0..=disk.operations() {
            for outcome in Outcome::ALL {
                let disk = SimFs::new();
                disk.crash_at(crash);
                let durable = work(&disk, commits, bytes);
                let mut log = open(&disk.reboot(outcome, crash)).unwrap();
                let found = log.load().unwrap();
                assert!(
                    found == expected(durable, bytes) || found == expected(durable + 1, bytes),
                    "{crash} {outcome:?} {durable}"
                );
                assert!(!log.is_damaged, "{crash} {outcome:?}");
                log.commit(&changes(9, bytes)).unwrap();
            }
        }
    }
}

#[test]
fn a_log_that_grows_is_written_anew_and_stays_small() {
    let disk = SimFs::new();
    let mut log = open(&disk).unwrap();
    for n in 1..=50 {
        log.commit(&changes(n, 100_000)).unwrap();
    }
    assert_eq!(log.load().unwrap(), expected(50, 100_000));
    assert!(disk.file(Path::new("/rules/state.log")).unwrap().len() < 1_500_000);
}

#[test]
fn a_failed_commit_is_forgotten_and_the_next_one_works() {
    let disk = SimFs::new();
    let mut log = open(&disk).unwrap();
    log.commit(&changes(1, 10)).unwrap();
    for kind in [Kind::Append, Kind::SyncData] {
        disk.fail_every(kind, Fault::NoSpace);
        assert!(log.commit(&changes(2, 10)).is_err());
        assert_eq!(log.load().unwrap(), expected(1, 10), "{kind:?}");
        assert!(log.commit(&changes(3, 10)).is_err());
        disk.heal();
    }
    // The new log cannot be put in its place either.
    disk.fail_every(Kind::Append, Fault::NoSpace);
    assert!(log.commit(&changes(2, 10)).is_err());
    disk.heal();
    disk.fail_every(Kind::Rename, Fault::NoSpace);
    assert!(log.commit(&changes(2, 10)).is_err());
    disk.heal();
    log.commit(&changes(2, 10)).unwrap();
    assert_eq!(log.load().unwrap(), expected(2, 10));
    assert_eq!(open(&disk).unwrap().load().unwrap(), expected(2, 10));
}

#[test]
fn damage_is_set_aside_and_what_stands_before_it_counts() {
    let disk = SimFs::new();
    let mut log = open(&disk).unwrap();
    for n in 1..=3 {
        log.commit(&changes(n, 10)).unwrap();
    }
    let path = Path::new("/rules/state.log");
    let mut bytes = disk.file(path).unwrap();
    let second = MAGIC.len() + frame_length(&changes(1, 10)) + HEADER_BYTES + 4;
    bytes[second] ^= 1;
    disk.replace(path, bytes.clone());
    let log = open(&disk).unwrap();
    assert!(log.is_damaged);
    assert_eq!(log.load().unwrap(), expected(1, 10));
    assert_eq!(disk.file(Path::new("/rules/state.damaged")).unwrap(), bytes);
    assert!(!open(&disk).unwrap().is_damaged);
}

fn frame_length(changes: &[Change]) -> usize {
    frame(changes.iter().map(|change| (change.key.as_str(), change.value.as_deref()))).unwrap().len()
}

#[test]
fn a_log_of_another_version_is_left_alone() {
    let disk = SimFs::new();
    open(&disk).unwrap();
    let path = Path::new("/rules/state.log");
    disk.replace(path, b"FLRULES2 and more".to_vec());
    assert!(open(&disk).unwrap_err().to_string().contains("of this version"));
    assert_eq!(disk.file(path).unwrap(), b"FLRULES2 and more");
}

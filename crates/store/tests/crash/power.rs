//! A power cut at every disk operation of a recorded workload.

use std::path::PathBuf;
use std::sync::Arc;

use fieldline_model::Timestamp;
use fieldline_store::contract::{assert_same_points, prefix_stored};
use fieldline_store::{MemoryStore, ReceivedBlock, SqliteConfig, SqliteStore, TimeSeriesStore as _};

use crate::disk::{Disk, Unsynced};
use crate::record::{Event, record};
use crate::workload;

/// Enough for flushes, a restart, and some rounds of the write-ahead log.
const BLOCKS: usize = 16;

/// Memory, where the machine has it: thousands of files are written here.
fn scratch() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.unwrap()
}

#[tokio::test]
async fn a_power_cut_at_any_disk_operation_loses_nothing_acknowledged() {
    let recorded = scratch();
    let folder = recorded.path().join("store");
    let Some(events) = record(&folder, BLOCKS) else {
        println!("skipped: there is no strace on this machine");
        return;
    };
    let blocks = workload::blocks(BLOCKS);
    let writes = events.iter().filter(|event| matches!(event, Event::Write { .. })).count();
    let syncs = events.iter().filter(|event| matches!(event, Event::Sync { .. })).count();
    let last = events.iter().rev().find_map(acknowledged);
    assert!(
        writes > 100 && syncs >= BLOCKS && last == Some(BLOCKS),
        "{writes} writes, {syncs} syncs, {last:?}"
    );

    let mut disk = Disk::default();
    let mut done = 0;
    for (at, event) in events.iter().enumerate() {
        disk.apply(event);
        done = acknowledged(event).unwrap_or(done);
        for unsynced in [Unsynced::Kept, Unsynced::Dropped, Unsynced::Torn] {
            check(&disk, unsynced, at, done, &blocks).await;
        }
    }
    println!("{} operations, {writes} writes and {syncs} syncs among them", events.len());
}

fn acknowledged(event: &Event) -> Option<usize> {
    match event {
        Event::Acknowledged(count) => Some(*count),
        _ => None,
    }
}

async fn check(disk: &Disk, unsynced: Unsynced, at: usize, done: usize, blocks: &[Arc<ReceivedBlock>]) {
    let folder = scratch();
    disk.cut(folder.path(), unsynced, at as u64);
    let store = SqliteStore::open(folder.path(), SqliteConfig::default(), Timestamp::EPOCH)
        .unwrap_or_else(|error| panic!("operation {at}, {unsynced:?}: {error:?}"));
    let model = MemoryStore::new();
    let in_doubt = (done + 1).min(blocks.len());
    prefix_stored(&store, &model, blocks, done..=in_doubt).await;
    // And it goes on from there.
    for block in blocks.get(done..in_doubt).unwrap_or_default() {
        let written = store.write(Arc::clone(block)).await.unwrap();
        assert_eq!(written.seqs, block.block.seqs());
    }
    let model = MemoryStore::new();
    for block in &blocks[..in_doubt] {
        model.write(Arc::clone(block)).await.unwrap();
    }
    assert_same_points(&store, &model).await;
    assert_eq!(store.stats().damaged, 0, "operation {at}, {unsynced:?}");
}

//! A crash at every step of the writer: what was acknowledged is there, the rest whole or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};

use fieldline_wire::Block;

use super::super::fault::FaultPoint;
use super::*;
use crate::MemoryStore;
use crate::contract::{Feed, assert_same_points, prefix_stored};

/// Blocks of the workload, and how many are under way at once.
const BLOCKS: usize = 36;
const AT_ONCE: usize = 3;

fn workload() -> Vec<Arc<ReceivedBlock>> {
    let blocks: Vec<Block> = Feed::new(42).blocks().into_iter().take(BLOCKS).collect();
    blocks.into_iter().map(|block| Arc::new(ReceivedBlock::new(block, Timestamp::EPOCH))).collect()
}

/// Writes until something fails; says how many blocks were acknowledged.
async fn write_until_crash(store: &Arc<SqliteStore>, blocks: &[Arc<ReceivedBlock>]) -> usize {
    let mut acknowledged = 0;
    for (round, group) in blocks.chunks(AT_ONCE).enumerate() {
        let calls = group.iter().map(|block| {
            let (store, block) = (Arc::clone(store), Arc::clone(block));
            tokio::spawn(async move { store.write(block).await })
        });
        let mut failed = false;
        for call in calls.collect::<Vec<_>>() {
            failed |= call.await.unwrap().is_err();
            acknowledged += usize::from(!failed);
        }
        if failed {
            return acknowledged;
        }
        if round % 4 == 3 && store.flush().await.is_err() {
            return acknowledged;
        }
    }
    acknowledged
}

async fn crash_at(point: FaultPoint, times: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let blocks = workload();
    let reached = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reached);
    let faults = Faults::new(move |at| at == point && counter.fetch_add(1, Ordering::Relaxed) + 1 == times);
    let config = SqliteConfig::default();
    let store = SqliteStore::open_with(folder.path(), config.clone(), Timestamp::EPOCH, faults).unwrap();
    let store = Arc::new(store);
    let acknowledged = write_until_crash(&store, &blocks).await;
    drop(store);

    let store = SqliteStore::open(folder.path(), config, Timestamp::EPOCH).unwrap();
    let in_doubt = (acknowledged + AT_ONCE).min(blocks.len());
    let model = MemoryStore::new();
    let stored = prefix_stored(&store, &model, &blocks, acknowledged..=in_doubt).await;
    assert_same_points(&store, &model).await;
    // The agent sends again what was not acknowledged, and goes on.
    for block in &blocks[acknowledged..] {
        store.write(Arc::clone(block)).await.unwrap();
    }
    for block in &blocks[stored..] {
        model.write(Arc::clone(block)).await.unwrap();
    }
    store.flush().await.unwrap();
    assert_same_points(&store, &model).await;
    reached.load(Ordering::Relaxed) >= times
}

#[tokio::test]
async fn a_crash_at_any_step_loses_and_doubles_nothing() {
    for point in FaultPoint::ALL {
        let mut crashes = 0;
        for times in [1, 2, 5] {
            crashes += usize::from(crash_at(point, times).await);
        }
        assert!(crashes > 0, "the workload never reaches {point:?}");
    }
}

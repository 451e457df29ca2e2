//! What the store does while it is recorded, and what has to be true of it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use fieldline_model::{Class, DeviceId, GatewayId, Metric, StreamId, Timestamp, Value};
use fieldline_store::{Ledger, ReceivedBlock, SeriesQuery, SqliteConfig, SqliteStore, TimeSeriesStore};
use fieldline_wire::{Block, Column, Values};

/// Blocks of the workload.
pub(crate) const BLOCKS: usize = 24;
const READINGS: u64 = 30;
/// Blocks arrive in this order: live ones first, then what was missed, some twice.
const ARRIVALS: [usize; 28] =
    [0, 1, 2, 6, 7, 8, 3, 3, 4, 5, 9, 10, 15, 16, 11, 12, 16, 14, 13, 17, 18, 19, 23, 22, 20, 21, 0, 23];
/// After so many arrivals the heads become chunks, or the store is closed and opened again.
const FLUSHES: [usize; 4] = [4, 9, 13, 20];
const RESTARTS: [usize; 2] = [11, 22];

fn now() -> Timestamp {
    Timestamp::from_nanos(1_795_341_600_000_000_000)
}

fn stream() -> StreamId {
    StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 }
}

/// Block `index`: 20 readings at times of its own and 10 at times that every block has.
fn block(index: usize) -> Arc<ReceivedBlock> {
    let first_seq = index as u64 * READINGS + 1;
    let column = |metric: &str, times: Vec<i64>, values: Values| Column {
        device: DeviceId::new("press-4").unwrap(),
        metric: Metric::new(metric).unwrap(),
        times,
        values,
        qualities: vec![],
    };
    let own: Vec<i64> = (0..20).map(|at| at * 1_000_000_000 + index as i64 * 17_500_000_000).collect();
    let values = own.iter().map(|time| (time / 1_000_000) as f64 / 10.0).collect();
    let shared: Vec<i64> = (0..10).map(|at| at * 60_000_000_000).collect();
    let block = Block {
        stream: stream(),
        class: Class::Live,
        first_seq,
        last_seq: first_seq + READINGS - 1,
        columns: vec![
            column("own", own, Values::Float(values)),
            column("shared", shared, Values::Integer(vec![index as i64; 10])),
        ],
        order: Vec::new(),
    };
    Arc::new(ReceivedBlock::new(block, now()))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn open(folder: &Path, context: &str) -> SqliteStore {
    // So little that the write-ahead log begins anew several times.
    let config = SqliteConfig { wal_bytes_max: 200 << 10, ..SqliteConfig::default() };
    SqliteStore::open(folder, config, now()).unwrap_or_else(|error| panic!("{context}: {error:?}"))
}

/// The workload.
pub(crate) fn run(folder: &Path, acknowledgements: &Path) {
    let mut file = std::fs::File::create(acknowledgements).unwrap();
    runtime().block_on(async {
        let mut store = open(folder, "recording");
        for (arrival, index) in ARRIVALS.into_iter().enumerate() {
            store.write(block(index)).await.unwrap();
            file.write_all(format!("{index}\n").as_bytes()).unwrap();
            if FLUSHES.contains(&arrival) {
                store.flush().await.unwrap();
            }
            if RESTARTS.contains(&arrival) {
                store.close().await.unwrap();
                drop(store);
                store = open(folder, "recording");
            }
        }
        store.close().await.unwrap();
    });
}

/// Opens what a power cut left in `folder`.
pub(crate) fn check(folder: &Path, acknowledged: &BTreeSet<usize>, context: &str) {
    runtime().block_on(async {
        let store = open(folder, context);
        let stored = stored_blocks(&store, context).await;
        assert!(
            acknowledged.is_subset(&stored),
            "{context}: acknowledged {acknowledged:?}, stored {stored:?}"
        );
        compare(&store, &stored, context).await;
        // A fresh block still passes, and turns everything into chunks.
        let fresh = BLOCKS + 1;
        store.write(block(fresh)).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        store.flush().await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let stored = stored.into_iter().chain([fresh]).collect();
        compare(&store, &stored, context).await;
    });
}

async fn stored_blocks(store: &SqliteStore, context: &str) -> BTreeSet<usize> {
    let ledger = store.ledger(None).await.unwrap();
    let Some(stream) = ledger.first().and_then(|gateway| gateway.streams.first()) else {
        return BTreeSet::new();
    };
    for run in stream.stored.runs() {
        let whole = run.first % READINGS == 1 && run.last % READINGS == 0;
        assert!(whole, "{context}: a block is stored in part: {run}");
    }
    (0..=BLOCKS).filter(|index| stream.stored.contains(*index as u64 * READINGS + 1)).collect()
}

/// The series hold what the stored blocks leave, applied in the order of the gateway.
async fn compare(store: &SqliteStore, stored: &BTreeSet<usize>, context: &str) {
    let (mut own, mut shared) = (BTreeMap::new(), BTreeMap::new());
    for index in stored {
        for column in &block(*index).block.columns {
            match &column.values {
                Values::Float(values) => {
                    own.extend(
                        column.times.iter().copied().zip(values.iter().map(|value| Value::Float(*value))),
                    );
                }
                Values::Integer(values) => {
                    shared.extend(
                        column.times.iter().copied().zip(values.iter().map(|value| Value::Integer(*value))),
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for (metric, expected) in [("own", own), ("shared", shared)] {
        let page = store.series(&SeriesQuery::one("press-4", metric)).await.unwrap();
        let found: BTreeMap<i64, Value> = page
            .series
            .into_iter()
            .flat_map(|series| series.points)
            .map(|point| (point.time.nanos(), point.value))
            .collect();
        assert_eq!(found, expected, "{context}: {metric}");
    }
}

//! What every [`TimeSeriesStore`] has to do, as checks that run against any of them.
//!
//! [`run`] feeds a store the same blocks as a [`MemoryStore`] and compares the answers. It panics where
//! they differ; call it from a test.

mod checks;
mod feed;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use fieldline_model::{DeviceId, RangeSet, StreamId, Timestamp, Value};

pub use feed::Feed;

use crate::{
    Aggregate, Buckets, DeviceQuery, Glob, Ledger, MemoryStore, Point, ReceivedBlock, Series, SeriesQuery,
    TimeSeriesStore,
};

/// Runs all checks, each on a fresh store. `between` is called between writes, for whatever a store does
/// in the background (a flush, a reopening); it must not change an answer.
pub async fn run<S: TimeSeriesStore>(fresh: impl AsyncFn() -> S, between: impl AsyncFn(&mut S)) {
    checks::a_written_block_is_there_and_a_second_time_changes_nothing(&mut fresh().await).await;
    checks::empty_and_senseless_questions(&fresh().await).await;
    checks::pages_join_to_the_whole(&mut fresh().await, &between).await;
    for seed in 0..6 {
        checks::the_last_write_wins_in_the_order_of_the_stream(&mut fresh().await, seed, &between).await;
        compare_with_model(&mut fresh().await, seed, &between).await;
    }
}

/// Feeds random blocks of three streams, out of order, overlapping and doubled, to the store and to the
/// model, and compares what they answer.
pub async fn compare_with_model<S: TimeSeriesStore>(
    store: &mut S,
    seed: u64,
    between: &impl AsyncFn(&mut S),
) {
    let model = MemoryStore::new();
    for block in Feed::new(seed).blocks() {
        let received = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(1)));
        let expected = model.write(Arc::clone(&received)).await.expect("the model takes every block");
        let written = store.write(received).await.expect("the store takes every block");
        assert_eq!(written, expected, "seed {seed}");
        between(store).await;
    }
    assert_same(store, &model).await;
}

/// Asks both the same questions and compares the answers.
pub async fn assert_same(store: &impl TimeSeriesStore, model: &impl TimeSeriesStore) {
    let all = SeriesQuery { limit: 100_000, ..SeriesQuery::one("*", "*") };
    same_answer(store, model, &all).await;
    let aggregates = [
        Aggregate::Mean,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Sum,
        Aggregate::Count,
        Aggregate::First,
        Aggregate::Last,
    ];
    for (step_nanos, from, to) in feed::WINDOWS {
        let (from, to) = (Timestamp::from_nanos(from), Timestamp::from_nanos(to));
        same_answer(store, model, &SeriesQuery { from, to, ..all.clone() }).await;
        for aggregate in aggregates {
            let buckets = Some(Buckets { step_nanos, aggregate });
            same_answer(store, model, &SeriesQuery { from, to, buckets, ..all.clone() }).await;
        }
    }
    same_devices(store, model).await;
}

async fn same_devices(store: &impl TimeSeriesStore, model: &impl TimeSeriesStore) {
    let devices = model.devices(&DeviceQuery::default()).await.expect("the model answers");
    assert_eq!(store.devices(&DeviceQuery::default()).await.expect("the store answers"), devices);
    for info in devices.devices {
        let expected = model.latest(&info.device).await.expect("the model answers");
        let found = store.latest(&info.device).await.expect("the store answers");
        assert_eq!(found.len(), expected.len(), "latest of {}", info.device);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.metric, expected.metric);
            assert!(same_point(&found.point, &expected.point), "{found:?} is not {expected:?}");
        }
    }
}

/// The short form of [`assert_same`]: all points, and the newest of each device.
pub async fn assert_same_points(store: &impl TimeSeriesStore, model: &impl TimeSeriesStore) {
    same_answer(store, model, &SeriesQuery { limit: 100_000, ..SeriesQuery::one("*", "*") }).await;
    same_devices(store, model).await;
}

/// After a crash: writes the first blocks to the model, as many as the store has, which must be within
/// `range`; says how many. What a store has of them is told by its ledger.
pub async fn prefix_stored<S: Ledger>(
    store: &S,
    model: &MemoryStore,
    blocks: &[Arc<ReceivedBlock>],
    range: RangeInclusive<usize>,
) -> usize {
    let found = stored(store).await;
    for (count, block) in (0..).zip(blocks.iter().map(Some).chain([None])) {
        if range.contains(&count) && stored(model).await == found {
            return count;
        }
        if let Some(block) = block {
            model.write(Arc::clone(block)).await.expect("the model takes every block");
        }
    }
    assert!(range.is_empty(), "the store has none of {range:?} blocks: {found:?}");
    0
}

async fn stored(ledger: &impl Ledger) -> BTreeMap<StreamId, RangeSet> {
    let gateways = ledger.ledger(None).await.expect("the ledger answers");
    let streams = gateways.into_iter().flat_map(|gateway| gateway.streams);
    streams.map(|stream| (stream.stream, stream.stored)).collect()
}

async fn same_answer(store: &impl TimeSeriesStore, model: &impl TimeSeriesStore, query: &SeriesQuery) {
    let found = store.series(query).await.expect("the store answers");
    let expected = model.series(query).await.expect("the model answers");
    assert_eq!(names(&found.series), names(&expected.series), "the series of {query:?}");
    for (found, expected) in found.series.iter().zip(&expected.series) {
        let name = (&found.device, &found.metric);
        assert_eq!(found.points.len(), expected.points.len(), "{name:?} of {query:?}");
        for (found, expected) in found.points.iter().zip(&expected.points) {
            assert!(same_point(found, expected), "{name:?}: {found:?} is not {expected:?} in {query:?}");
        }
    }
    assert_eq!(found.next, expected.next);
}

fn names(series: &[Series]) -> Vec<String> {
    series.iter().map(|series| format!("{}/{}", series.device, series.metric)).collect()
}

/// Values of points are the same bits; sums and means may differ in their last digits, since the order of
/// additions is free.
fn same_point(one: &Point, other: &Point) -> bool {
    let value = match (&one.value, &other.value) {
        (Value::Float(one), Value::Float(other)) => {
            one.to_bits() == other.to_bits() || (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
        }
        (one, other) => one == other,
    };
    one.time == other.time && one.quality == other.quality && value
}

/// A query for one device's metric over all time.
pub(crate) fn everything(device: &DeviceId, metric: &str) -> SeriesQuery {
    SeriesQuery { device: Glob::new(device.as_str()), ..SeriesQuery::one("", metric) }
}

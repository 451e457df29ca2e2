//! The single checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldline_model::{DeviceId, GatewayId, Metric, Reading, StreamId, Timestamp, Value};

use super::feed::{Feed, cut};
use super::{assert_same, everything, same_point};
use crate::{
    Aggregate, Buckets, DeviceQuery, Glob, MemoryStore, Point, ReceivedBlock, SeriesQuery, StoreError,
    TimeSeriesStore,
};

fn stream() -> StreamId {
    StreamId { gateway: GatewayId::new("gw").expect("a good name"), epoch: 7 }
}

async fn write(store: &impl TimeSeriesStore, readings: &[Reading], start: usize, length: usize) -> u64 {
    let block = cut(&stream(), readings, start, length).expect("there are readings");
    let received = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(1)));
    store.write(received).await.expect("the store takes the block").new
}

pub(super) async fn a_written_block_is_there_and_a_second_time_changes_nothing(
    store: &mut impl TimeSeriesStore,
) {
    let readings = Feed::new(1).readings(200);
    let model = MemoryStore::new();
    assert_eq!(write(&model, &readings, 0, 60).await, 60);
    assert_eq!(write(store, &readings, 0, 60).await, 60);
    assert_same(store, &model).await;
    for (start, length) in [(0, 60), (0, 1), (10, 20)] {
        assert_eq!(write(store, &readings, start, length).await, 0, "these are stored");
    }
    assert_same(store, &model).await;
    assert_eq!(write(store, &readings, 50, 20).await, 10, "an overlap counts once");
}

pub(super) async fn empty_and_senseless_questions(store: &impl TimeSeriesStore) {
    let query = SeriesQuery::one("*", "*");
    assert!(store.series(&query).await.expect("an empty answer").series.is_empty());
    assert!(store.devices(&DeviceQuery::default()).await.expect("an empty answer").devices.is_empty());
    let nobody = DeviceId::new("nobody").expect("a good name");
    assert!(store.latest(&nobody).await.expect("an empty answer").is_empty());
    let buckets = Some(Buckets { step_nanos: 0, aggregate: Aggregate::Mean });
    let senseless = [
        SeriesQuery { limit: 0, ..query.clone() },
        SeriesQuery { buckets, ..query.clone() },
        SeriesQuery { from: Timestamp::MAX, to: Timestamp::MIN, ..query },
    ];
    for query in senseless {
        assert!(matches!(store.series(&query).await, Err(StoreError::Query { .. })), "{query:?}");
    }
}

/// The model here is the simplest one: readings in the order of their sequence numbers.
pub(super) async fn the_last_write_wins_in_the_order_of_the_stream<S: TimeSeriesStore>(
    store: &mut S,
    seed: u64,
    between: &impl AsyncFn(&mut S),
) {
    let mut feed = Feed::new(seed + 100);
    let readings = feed.readings(500);
    let mut expected: BTreeMap<(DeviceId, Metric), BTreeMap<Timestamp, Point>> = BTreeMap::new();
    for reading in &readings {
        let point = Point { time: reading.time, value: reading.value.clone(), quality: reading.quality };
        let series = expected.entry((reading.device.clone(), reading.metric.clone())).or_default();
        series.insert(reading.time, point);
    }
    for _ in 0..40 {
        let (start, length) = (feed.below(readings.len()), 1 + feed.below(60));
        write(store, &readings, start, length).await;
        between(store).await;
    }
    write(store, &readings, 0, readings.len()).await;
    for ((device, metric), points) in expected {
        let answer = store.series(&everything(&device, metric.as_str())).await.expect("an answer");
        let found = answer.series.into_iter().next().expect("the series is there").points;
        assert_eq!(found.len(), points.len(), "{device}/{metric}, seed {seed}");
        for (found, expected) in found.iter().zip(points.values()) {
            assert!(same_point(found, expected), "{device}/{metric}: {found:?} is not {expected:?}");
        }
    }
}

pub(super) async fn pages_join_to_the_whole<S: TimeSeriesStore>(
    store: &mut S,
    between: &impl AsyncFn(&mut S),
) {
    let readings = Feed::new(5).readings(400);
    write(store, &readings, 0, 200).await;
    between(store).await;
    write(store, &readings, 200, 200).await;
    let buckets = Buckets { step_nanos: 3_600_000_000_000, aggregate: Aggregate::Count };
    for buckets in [None, Some(buckets)] {
        let whole = SeriesQuery { buckets, limit: 100_000, ..SeriesQuery::one("*", "*") };
        let expected = flat(store, &whole).await.0;
        for limit in [1, 7, expected.len(), expected.len() + 1] {
            let mut query = SeriesQuery { limit, ..whole.clone() };
            let mut found = Vec::new();
            loop {
                let (points, next) = flat(store, &query).await;
                assert!(points.len() <= limit);
                found.extend(points);
                match next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            // As text: a NaN is not equal to itself.
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "pages of {limit}");
        }
    }
    let first = DeviceQuery { device: Glob::new("device-*"), after: None, limit: 1 };
    let page = store.devices(&first).await.expect("an answer");
    let next = DeviceQuery { after: page.next.clone(), ..first };
    let rest = store.devices(&next).await.expect("an answer");
    assert_eq!((page.devices.len(), rest.devices.len(), rest.next), (1, 1, None));
}

type Flat = Vec<(String, i64, Value)>;

async fn flat(store: &impl TimeSeriesStore, query: &SeriesQuery) -> (Flat, Option<crate::Cursor>) {
    let page = store.series(query).await.expect("an answer");
    let mut all = Vec::new();
    for series in page.series {
        assert!(!series.points.is_empty());
        for point in series.points {
            all.push((format!("{}/{}", series.device, series.metric), point.time.nanos(), point.value));
        }
    }
    (all, page.next)
}

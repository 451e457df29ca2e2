mod things;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fieldline_model::{
    Books, Class, DeviceId, GatewayId, Metric, Quality, ShadowName, StreamId, ThingName, Timestamp, Value,
};
use fieldline_shadow::Stored;
use fieldline_wire::{Block, Values};

use crate::ledger::{RefusedCounts, StreamRecord, assemble};
use crate::order::Admission;
use crate::{
    Aggregate, Buckets, Cursor, DeviceInfo, DevicePage, DeviceQuery, GatewayLedger, HeldStream, Latest,
    Ledger, OwnStream, PlacedBlock, Point, PointStore, ReceivedBlock, Refused, ReportedBooks, Series,
    SeriesPage, SeriesQuery, SetAside, StoreError, StreamOrders, TimeSeriesStore, Written,
};

/// A store that forgets everything when it goes: for tests, and the model of what a store does.
///
/// Plain on purpose: each point in a map, each query a walk over it. It has no bounds on memory. It can
/// also be either half of a [`crate::PlacingStore`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

type Held = (u64, Value, Quality);

#[derive(Debug, Default)]
struct Inner {
    counter: u64,
    streams: BTreeMap<StreamId, Stream>,
    series: BTreeMap<(DeviceId, Metric), BTreeMap<i64, Held>>,
    books: BTreeMap<GatewayId, ReportedBooks>,
    refused: RefusedCounts,
    own: BTreeMap<GatewayId, StreamId>,
    shadows: BTreeMap<(ThingName, Option<ShadowName>), Stored>,
    entries: BTreeMap<(String, String), String>,
}

#[derive(Debug, Default)]
struct Stream {
    class: Class,
    held: HeldStream,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn new(class: Class) -> Self {
        Self { class, held: HeldStream::default() }
    }
}

impl Inner {
    fn write(&mut self, block: &Block) -> Result<Written, StoreError> {
        let stream = self.streams.entry(block.stream.clone()).or_insert_with(|| Stream::new(block.class));
        match stream.held.order.admit(block.seqs(), &mut self.counter) {
            Admission::Duplicate => Ok(Written { seqs: block.seqs(), new: 0, set_aside: 0 }),
            Admission::OutOfBounds => {
                Err(StoreError::Refused { what: "its numbers are out of bounds".to_owned() })
            }
            Admission::New { order, count } => {
                self.apply(block, order);
                Ok(Written { seqs: block.seqs(), new: count, set_aside: 0 })
            }
        }
    }

    fn apply(&mut self, block: &Block, order: u64) {
        for column in &block.columns {
            let points = self.series.entry((column.device.clone(), column.metric.clone())).or_default();
            for (at, time) in column.times.iter().enumerate() {
                let Some(value) = value_at(&column.values, at) else { continue };
                let quality = column.qualities.get(at).copied().unwrap_or_default();
                if points.get(time).is_none_or(|held| held.0 <= order) {
                    points.insert(*time, (order, value, quality));
                }
            }
        }
    }

    fn query(&self, query: &SeriesQuery) -> SeriesPage {
        let mut page = SeriesPage::default();
        let mut left = query.limit;
        for ((device, metric), held) in &self.series {
            if !query.device.matches(device.as_str()) || !query.metric.matches(metric.as_str()) {
                continue;
            }
            let mut points = points_of(query, held);
            if let Some(after) = &query.after {
                match (device, metric).cmp(&(&after.device, &after.metric)) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => points.retain(|point| point.time > after.time),
                    std::cmp::Ordering::Greater => {}
                }
            }
            if points.is_empty() {
                continue;
            }
            if left == 0 {
                page.next = page.series.last().and_then(cursor_of);
                return page;
            }
            let more = points.len() > left;
            points.truncate(left);
            left -= points.len();
            page.series.push(Series { device: device.clone(), metric: metric.clone(), points });
            if more {
                page.next = page.series.last().and_then(cursor_of);
                return page;
            }
        }
        page
    }
}

fn cursor_of(series: &Series) -> Option<Cursor> {
    let time = series.points.last()?.time;
    Some(Cursor { device: series.device.clone(), metric: series.metric.clone(), time })
}

fn value_at(values: &Values, at: usize) -> Option<Value> {
    Some(match values {
        Values::Float(values) => Value::Float(*values.get(at)?),
        Values::Integer(values) => Value::Integer(*values.get(at)?),
        Values::Boolean(values) => Value::Boolean(*values.get(at)?),
        Values::Text(values) => Value::Text(values.get(at)?.clone()),
    })
}

fn points_of(query: &SeriesQuery, held: &BTreeMap<i64, Held>) -> Vec<Point> {
    let range = (Bound::Included(query.from.nanos()), Bound::Excluded(query.to.nanos()));
    let points = if query.from < query.to { Some(held.range(range)) } else { None };
    let points = points.into_iter().flatten();
    let Some(buckets) = query.buckets else {
        return points
            .map(|(time, (_, value, quality))| Point {
                time: Timestamp::from_nanos(*time),
                value: value.clone(),
                quality: *quality,
            })
            .collect();
    };
    let mut steps: BTreeMap<i64, Vec<&Held>> = BTreeMap::new();
    for (time, held) in points {
        steps.entry(buckets.start(*time)).or_default().push(held);
    }
    steps.into_iter().filter_map(|(start, held)| bucket(buckets, start, &held)).collect()
}

fn bucket(buckets: Buckets, start: i64, held: &[&Held]) -> Option<Point> {
    let numbers: Vec<f64> = held.iter().filter_map(|held| number(&held.1)).collect();
    let integers: Option<Vec<i128>> = held
        .iter()
        .filter(|held| number(&held.1).is_some())
        .map(|held| match held.1 {
            Value::Integer(value) => Some(i128::from(value)),
            Value::Boolean(value) => Some(i128::from(value)),
            _ => None,
        })
        .collect();
    let whole = |sum: i128| i64::try_from(sum).map_or(Value::Float(sum as f64), Value::Integer);
    let value = match (buckets.aggregate, &integers) {
        (Aggregate::Count, _) => Value::Integer(held.len() as i64),
        (Aggregate::First, _) => held.first()?.1.clone(),
        (Aggregate::Last, _) => held.last()?.1.clone(),
        _ if numbers.is_empty() => return None,
        (Aggregate::Sum, Some(integers)) => whole(integers.iter().sum()),
        (Aggregate::Min, Some(integers)) => whole(*integers.iter().min()?),
        (Aggregate::Max, Some(integers)) => whole(*integers.iter().max()?),
        (Aggregate::Sum, None) => Value::Float(numbers.iter().sum()),
        (Aggregate::Mean, _) => Value::Float(numbers.iter().sum::<f64>() / numbers.len() as f64),
        (Aggregate::Min, None) => extreme(held, |one, other| one < other)?,
        (Aggregate::Max, None) => extreme(held, |one, other| one > other)?,
    };
    let quality = held.iter().map(|held| held.2).max_by_key(|quality| quality.code())?;
    Some(Point { time: Timestamp::from_nanos(start), value, quality })
}

/// The first value of which no other is better; as a number.
fn extreme(held: &[&Held], better: impl Fn(f64, f64) -> bool) -> Option<Value> {
    let mut best: Option<(f64, Value)> = None;
    for held in held {
        let Some(found) = number(&held.1) else { continue };
        if best.as_ref().is_none_or(|best| better(found, best.0)) {
            let value = match held.1 {
                Value::Boolean(value) => Value::Integer(i64::from(value)),
                ref value => value.clone(),
            };
            best = Some((found, value));
        }
    }
    best.map(|best| best.1)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Boolean(value) => Some(f64::from(u8::from(*value))),
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value).filter(|value| !value.is_nan()),
        Value::Text(_) => None,
    }
}

#[async_trait]
impl TimeSeriesStore for MemoryStore {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        self.lock().write(&block.block)
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        query.check()?;
        Ok(self.lock().query(query))
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        let inner = self.lock();
        let mine = inner.series.iter().filter(|((name, _), _)| name == device);
        Ok(mine
            .filter_map(|((_, metric), held)| {
                let (time, (_, value, quality)) = held.last_key_value()?;
                let time = Timestamp::from_nanos(*time);
                let point = Point { time, value: value.clone(), quality: *quality };
                Some(Latest { metric: metric.clone(), point })
            })
            .collect())
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        let inner = self.lock();
        let mut devices: BTreeMap<&DeviceId, DeviceInfo> = BTreeMap::new();
        for ((device, _), held) in &inner.series {
            let empty = DeviceInfo { device: device.clone(), series: 0, last: None };
            let info = devices.entry(device).or_insert(empty);
            info.series += 1;
            info.last = info.last.max(held.keys().last().map(|time| Timestamp::from_nanos(*time)));
        }
        let wanted = |device: &DeviceId| {
            query.device.matches(device.as_str()) && query.after.as_ref().is_none_or(|after| device > after)
        };
        let mut found = devices.into_values().filter(|info| wanted(&info.device));
        let devices: Vec<DeviceInfo> = found.by_ref().take(query.limit.max(1)).collect();
        let next = found.next().and(devices.last().map(|info| info.device.clone()));
        Ok(DevicePage { devices, next })
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn record_books(
        &self,
        gateway: &GatewayId,
        books: Books,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.lock().books.insert(gateway.clone(), ReportedBooks { books, received: now });
        Ok(())
    }

    async fn ledger(&self, gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError> {
        let inner = self.lock();
        let streams = inner.streams.iter().map(|(name, stream)| StreamRecord {
            stream: name.clone(),
            class: stream.class,
            stored: stream.held.order.stored.clone(),
            quarantined: stream.held.quarantined.clone(),
        });
        Ok(assemble(gateway, inner.books.clone(), streams.collect(), inner.refused.clone()))
    }

    async fn quarantine(&self, refused: Refused) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if let Some((stream, class, seqs)) = &refused.readings {
            let entry = inner.streams.entry(stream.clone());
            entry.or_insert_with(|| Stream::new(*class)).held.quarantined.insert(*seqs);
        }
        let counts = inner.refused.entry(refused.gateway.clone()).or_default();
        *counts.entry(refused.reason_word()).or_default() += 1;
        Ok(())
    }

    async fn own_stream(&self, gateway: &GatewayId, _now: Timestamp) -> Result<OwnStream, StoreError> {
        let mut inner = self.lock();
        let fresh = StreamId { gateway: gateway.clone(), epoch: 1 };
        let stream = inner.own.entry(gateway.clone()).or_insert(fresh).clone();
        let last = inner.streams.get(&stream).and_then(|stream| stream.held.order.stored.last());
        Ok(OwnStream { stream, next_seq: last.unwrap_or(0) + 1 })
    }
}

#[async_trait]
impl PointStore for MemoryStore {
    async fn put(&self, block: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        self.lock().apply(&block.received.block, block.place);
        Ok(Vec::new())
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        TimeSeriesStore::series(self, query).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        TimeSeriesStore::latest(self, device).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        TimeSeriesStore::devices(self, query).await
    }
}

#[async_trait]
impl StreamOrders for MemoryStore {
    async fn load(&self, stream: &StreamId) -> Result<HeldStream, StoreError> {
        Ok(self.lock().streams.get(stream).map(|stream| stream.held.clone()).unwrap_or_default())
    }

    async fn commit(
        &self,
        stream: &StreamId,
        class: Class,
        state: &HeldStream,
    ) -> Result<Option<u64>, StoreError> {
        let mut inner = self.lock();
        let held = &mut inner.streams.entry(stream.clone()).or_insert_with(|| Stream::new(class)).held;
        if held.revision != state.revision {
            return Ok(None);
        }
        held.order = state.order.clone();
        held.place = state.place;
        held.revision += 1;
        Ok(Some(held.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_model_keeps_the_contract() {
        crate::contract::run(async || MemoryStore::new(), async |_| {}).await;
    }
}

//! A store whose points lie in a database of other people.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{Class, DeviceId, RangeSet, StreamId, Timestamp};

use crate::{
    Admission, DevicePage, DeviceQuery, Latest, Ledger, ReceivedBlock, Refused, SeriesPage, SeriesQuery,
    StoreError, StreamOrder, TimeSeriesStore, Written,
};

/// How often a write begins anew because another one has changed its stream meanwhile.
const ATTEMPTS_MAX: usize = 8;
/// Streams whose lock is kept between writes.
const LANES_KEPT_MAX: usize = 1_024;

/// A block with its place in the order.
#[derive(Debug, Clone)]
pub struct PlacedBlock {
    /// The block.
    pub received: Arc<ReceivedBlock>,
    /// Of two readings of one series and time the one with the greater place stands; within a block
    /// the later one does.
    pub place: u64,
    /// Whether nothing of its stream has a greater place. Where that is so, whatever the database
    /// holds under the same series and time is older.
    pub newest: bool,
}

/// Readings of a block that the database can never take; the others are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAside {
    /// Why, in a word or two; few different ones.
    pub reason: String,
    /// The readings, as a block of their own.
    pub bytes: Bytes,
}

/// Where points lie: the half of a [`TimeSeriesStore`] that knows nothing of streams.
#[async_trait]
pub trait PointStore: Send + Sync {
    /// Stores the readings of a block. They are durable and visible to queries when this returns.
    /// Putting them again, under the same place or another, is harmless.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the whole block can never be stored; on any other error any part of
    /// it may have been stored, and it should be put again.
    async fn put(&self, block: &PlacedBlock) -> Result<Vec<SetAside>, StoreError>;

    /// See [`TimeSeriesStore::series`]; [`crate::Pager`] makes the page.
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError>;

    /// See [`TimeSeriesStore::latest`].
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError>;

    /// See [`TimeSeriesStore::devices`].
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError>;
}

/// What is stored of a stream, as last read or committed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeldStream {
    /// What is stored, and the places kept free for what is missing.
    pub order: StreamOrder,
    /// What has come but could not be stored; [`Ledger::quarantine`] keeps it.
    pub quarantined: RangeSet,
    /// The greatest place given out in the stream so far.
    pub place: u64,
    /// Changes with every commit; 0 for a stream of which nothing is known.
    pub revision: u64,
}

/// What is stored of each stream, where several writers may meet.
#[async_trait]
pub trait StreamOrders: Send + Sync {
    /// The state of a stream as of now; the default if nothing is known of it.
    async fn load(&self, stream: &StreamId) -> Result<HeldStream, StoreError>;

    /// Puts `state.order` and `state.place` in place of what was there at `state.revision`, and gives
    /// the new revision; `None`, and nothing is changed, if the stream has another revision by now.
    async fn commit(
        &self,
        stream: &StreamId,
        class: Class,
        state: &HeldStream,
    ) -> Result<Option<u64>, StoreError>;
}

type Lane = Arc<tokio::sync::Mutex<()>>;

/// A [`TimeSeriesStore`] made of points and stream orders that lie in databases of other people.
///
/// A block's points are put first and its stream is committed afterwards; what a crash leaves between
/// the two is put again with the block when it comes again. The commit is what counts: from then on the
/// block is a duplicate. Places across streams follow the clock, in nanoseconds: of two gateways the
/// later write wins, as far as their functions' clocks agree.
///
/// The state of a stream is read for each write and never kept, since another process may have gone on
/// with the stream meanwhile: with an old state a redelivered block would be taken for new, and its
/// points put above those of later blocks before the commit tells. What remains is two processes that
/// write blocks of one stream at the same moment; a queue with a group for each stream keeps them apart.
pub struct PlacingStore<P, O> {
    points: P,
    orders: O,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    lanes: Mutex<HashMap<StreamId, Lane>>,
}

impl<P, O> fmt::Debug for PlacingStore<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlacingStore").finish_non_exhaustive()
    }
}

impl<P, O> PlacingStore<P, O> {
    /// A store; `clock` tells the time.
    pub fn new(points: P, orders: O, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { points, orders, clock: Arc::new(clock), lanes: Mutex::default() }
    }

    /// Where the points lie.
    pub fn points(&self) -> &P {
        &self.points
    }

    /// Blocks of one stream pass one at a time, in the order of the calls.
    fn lane(&self, stream: &StreamId) -> Lane {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_KEPT_MAX && !lanes.contains_key(stream) {
            // Whoever writes at this moment holds a clone.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(stream.clone()).or_default())
    }
}

impl<P: PointStore, O: StreamOrders + Ledger> PlacingStore<P, O> {
    async fn set_aside(&self, block: &ReceivedBlock, part: SetAside) -> Result<(), StoreError> {
        let gateway = block.block.stream.gateway.clone();
        tracing::warn!(%gateway, seqs = %block.block.seqs(), reason = part.reason, "readings set aside");
        let SetAside { reason, bytes } = part;
        self.orders
            .quarantine(Refused { gateway, readings: None, reason, bytes, received: block.received })
            .await
    }
}

#[async_trait]
impl<P: PointStore, O: StreamOrders + Ledger> TimeSeriesStore for PlacingStore<P, O> {
    async fn write(&self, received: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        let block = &received.block;
        let (stream, seqs) = (&block.stream, block.seqs());
        let lane = self.lane(stream);
        let _alone = lane.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let before = self.orders.load(stream).await?;
            let mut after = before.clone();
            let mut counter = before.place.max((self.clock)().nanos().max(0).unsigned_abs());
            let (place, new) = match after.order.admit(seqs, &mut counter) {
                Admission::Duplicate => return Ok(Written { seqs, new: 0, set_aside: 0 }),
                Admission::OutOfBounds => {
                    let what = "its numbers are out of bounds".to_owned();
                    return Err(StoreError::Refused { what });
                }
                Admission::New { order, count } => (order, count),
            };
            let newest = place > before.place;
            after.place = before.place.max(place);
            let placed = PlacedBlock { received: Arc::clone(&received), place, newest };
            let parts = self.points.put(&placed).await?;
            let set_aside = parts.len() as u64;
            for part in parts {
                self.set_aside(&received, part).await?;
            }
            if self.orders.commit(stream, block.class, &after).await?.is_some() {
                return Ok(Written { seqs, new, set_aside });
            }
            tracing::info!(%stream, "another writer has changed the stream; once more");
        }
        Err(StoreError::Unavailable {
            service: "the ledger",
            source: format!("the stream {stream} changes all the time").into(),
        })
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.points.series(query).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.points.latest(device).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.points.devices(query).await
    }
}

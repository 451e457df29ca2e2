use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use fieldline_model::{Books, GatewayId, Quality, ReadingRef, SeqRange, Value, ValueRef};
use fieldline_wire::BlockBuilder;

use super::*;
use crate::contract::{self, Feed};
use crate::{GatewayLedger, MemoryStore, OwnStream};

/// A clock that goes on by a second each time it is asked.
fn ticking() -> impl Fn() -> Timestamp + Send + Sync {
    let now = AtomicI64::new(1_800_000_000_000_000_000);
    move || Timestamp::from_nanos(now.fetch_add(1_000_000_000, Ordering::Relaxed))
}

/// A ledger in memory that other writers, or crashes, interfere with.
#[derive(Debug, Default)]
struct Meddled {
    inner: MemoryStore,
    /// Every so many commits another writer comes first; 0: never.
    conflict_every: u64,
    /// Every so many commits are lost before they are made.
    fail_every: u64,
    commits: AtomicU64,
}

#[async_trait]
impl StreamOrders for Meddled {
    async fn load(&self, stream: &StreamId) -> Result<HeldStream, StoreError> {
        self.inner.load(stream).await
    }

    async fn commit(
        &self,
        stream: &StreamId,
        class: Class,
        state: &HeldStream,
    ) -> Result<Option<u64>, StoreError> {
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fail_every > 0 && number.is_multiple_of(self.fail_every) {
            return Err(StoreError::Unavailable { service: "the test", source: "lost".into() });
        }
        if self.conflict_every > 0 && number.is_multiple_of(self.conflict_every) {
            let theirs = self.inner.load(stream).await?;
            self.inner.commit(stream, class, &theirs).await?;
        }
        self.inner.commit(stream, class, state).await
    }
}

#[async_trait]
impl Ledger for Meddled {
    async fn record_books(
        &self,
        gateway: &GatewayId,
        books: Books,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.record_books(gateway, books, now).await
    }
    async fn ledger(&self, gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError> {
        self.inner.ledger(gateway).await
    }
    async fn quarantine(&self, refused: Refused) -> Result<(), StoreError> {
        self.inner.quarantine(refused).await
    }
    async fn own_stream(&self, gateway: &GatewayId, now: Timestamp) -> Result<OwnStream, StoreError> {
        self.inner.own_stream(gateway, now).await
    }
}

fn store(conflict_every: u64) -> PlacingStore<MemoryStore, Meddled> {
    PlacingStore::new(MemoryStore::new(), Meddled { conflict_every, ..Meddled::default() }, ticking())
}

#[tokio::test]
async fn points_and_orders_apart_keep_the_contract() {
    contract::run(async || store(0), async |_| {}).await;
}

#[tokio::test]
async fn the_contract_holds_where_writers_meet() {
    contract::run(async || store(2), async |_| {}).await;
}

#[tokio::test]
async fn a_commit_that_is_lost_is_made_up_for_by_the_redelivery() {
    let orders = Meddled { fail_every: 3, ..Meddled::default() };
    let store = PlacingStore::new(MemoryStore::new(), orders, ticking());
    let model = MemoryStore::new();
    for block in Feed::new(9).blocks() {
        let received = Arc::new(ReceivedBlock::new(block, Timestamp::EPOCH));
        let expected = model.write(Arc::clone(&received)).await.unwrap();
        let written = match store.write(Arc::clone(&received)).await {
            Ok(written) => written,
            Err(StoreError::Unavailable { .. }) => store.write(received).await.unwrap(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(written, expected);
    }
    contract::assert_same_points(&store, &model).await;
}

/// What another process does with a block that is given to it.
async fn written_elsewhere(store: &PlacingStore<MemoryStore, Meddled>, received: &Arc<ReceivedBlock>) {
    let stream = &received.block.stream;
    let mut held = store.orders.load(stream).await.unwrap();
    let mut place = (store.clock)().nanos().unsigned_abs();
    held.order.admit(received.block.seqs(), &mut place);
    held.place = place;
    store.points.put(&PlacedBlock { received: Arc::clone(received), place, newest: true }).await.unwrap();
    store.orders.commit(stream, received.block.class, &held).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_redelivery_after_others_have_written_changes_nothing() {
    let store = store(0);
    let reading = |seq: u64, value: f64| {
        let stream = StreamId { gateway: GatewayId::new("gw").unwrap(), epoch: 1 };
        let mut builder = BlockBuilder::new(stream, Class::Live, seq);
        let (time, value) = (Timestamp::from_nanos(5), ValueRef::Float(value));
        builder.push(ReadingRef { device: "pump", metric: "flow", time, value, quality: Quality::Good });
        Arc::new(ReceivedBlock::new(builder.finish().unwrap(), Timestamp::EPOCH))
    };
    store.write(reading(1, 1.0)).await.unwrap();
    written_elsewhere(&store, &reading(2, 2.0)).await;
    written_elsewhere(&store, &reading(3, 3.0)).await;
    assert!(store.write(reading(2, 2.0)).await.unwrap().is_duplicate());
    let latest = store.latest(&DeviceId::new("pump").unwrap()).await.unwrap();
    assert_eq!(latest[0].point.value, Value::Float(3.0));
}

/// Takes everything but one metric.
#[derive(Debug, Default)]
struct Choosy(MemoryStore);

#[async_trait]
impl PointStore for Choosy {
    async fn put(&self, _block: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        Ok(vec![SetAside { reason: "too-old".to_owned(), bytes: Bytes::from_static(b"x") }])
    }
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        PointStore::series(&self.0, query).await
    }
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        PointStore::latest(&self.0, device).await
    }
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        PointStore::devices(&self.0, query).await
    }
}

#[tokio::test]
async fn what_the_database_never_takes_is_set_aside_with_its_reason() {
    let store = PlacingStore::new(Choosy::default(), Meddled::default(), ticking());
    let block = Feed::new(1).blocks().remove(0);
    let (gateway, seqs) = (block.stream.gateway.clone(), block.seqs());
    let written = store.write(Arc::new(ReceivedBlock::new(block, Timestamp::EPOCH))).await.unwrap();
    assert_eq!(written.set_aside, 1);
    let ledger = store.orders.ledger(Some(&gateway)).await.unwrap();
    assert_eq!(ledger[0].refused["too-old"], 1);
    assert_eq!(ledger[0].streams[0].stored, RangeSet::from(vec![SeqRange::new(seqs.first, seqs.last)]));
}

use std::sync::Mutex;

use fieldline_model::{Class, DeviceId, Quality, ReadingRef, Timestamp, ValueRef};
use fieldline_store::{DevicePage, DeviceQuery, Latest, MemoryStore, SeriesPage, SeriesQuery, Written};
use fieldline_wire::BlockBuilder;

use super::*;

/// Keeps what it is told to publish; fails while `broken`.
#[derive(Debug, Default)]
struct Mailbox {
    acks: Mutex<Vec<(GatewayId, AckMessage)>>,
    broken: bool,
}

#[async_trait]
impl Acks for Mailbox {
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), PortError> {
        if self.broken {
            return Err("nobody is connected".into());
        }
        self.acks.lock().unwrap().push((gateway.clone(), ack.clone()));
        Ok(())
    }
}

/// A store that takes no block that begins at `refuses` and fails at `fails`.
struct Picky {
    inner: Arc<MemoryStore>,
    refuses: u64,
    fails: u64,
}

/// The number of a block that takes for ever.
const ENDLESS: u64 = 1_001;

#[async_trait]
impl TimeSeriesStore for Picky {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        match block.block.first_seq {
            first if first == self.refuses => Err(StoreError::Refused { what: "too many series".to_owned() }),
            first if first == self.fails => Err(StoreError::Full),
            ENDLESS => std::future::pending().await,
            _ => self.inner.write(block).await,
        }
    }
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.inner.series(query).await
    }
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.inner.latest(device).await
    }
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.inner.devices(query).await
    }
}

fn stream(gateway: &str) -> StreamId {
    StreamId { gateway: GatewayId::new(gateway).unwrap(), epoch: 3 }
}

fn block(gateway: &str, first: u64, last: u64) -> Arc<ReceivedBlock> {
    let mut builder = BlockBuilder::new(stream(gateway), Class::Live, first);
    for seq in first..=last {
        builder.push(ReadingRef {
            device: "press-4",
            metric: "temperature",
            time: Timestamp::from_nanos(seq as i64),
            value: ValueRef::Float(seq as f64),
            quality: Quality::Good,
        });
    }
    Arc::new(ReceivedBlock::new(builder.finish().unwrap(), Timestamp::EPOCH))
}

fn ranges(runs: &[(u64, u64)]) -> RangeSet {
    runs.iter().map(|run| SeqRange::from(*run)).collect()
}

struct Bench {
    store: Arc<MemoryStore>,
    mailbox: Arc<Mailbox>,
    context: Context,
}

fn bench(mailbox: Mailbox, refuses: u64, fails: u64) -> Bench {
    let (store, mailbox) = (Arc::new(MemoryStore::default()), Arc::new(mailbox));
    let picky = Arc::new(Picky { inner: store.clone(), refuses, fails });
    let context = Context { store: picky, ledger: store.clone(), acks: mailbox.clone() };
    Bench { store, mailbox, context }
}

#[tokio::test]
async fn the_acks_of_one_call_are_one_message_for_each_stream() {
    let bench = bench(Mailbox::default(), 0, 0);
    let blocks =
        vec![block("gw-1", 1, 10), block("gw-2", 1, 5), block("gw-1", 11, 20), block("gw-1", 31, 40)];
    let outcomes = handle(blocks, &bench.context).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Stored { .. }))));
    let acks = bench.mailbox.acks.lock().unwrap();
    assert_eq!(acks.len(), 2);
    let ack = |runs| AckMessage { epoch: 3, stored: ranges(runs) };
    assert_eq!(acks[0], (stream("gw-1").gateway, ack(&[(1, 20), (31, 40)])));
    assert_eq!(acks[1], (stream("gw-2").gateway, ack(&[(1, 5)])));
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_again() {
    let bench = bench(Mailbox::default(), 0, 0);
    for expected in [Outcome::Stored { set_aside: 0 }, Outcome::Duplicate] {
        let outcomes = handle(vec![block("gw-1", 1, 10)], &bench.context).await;
        assert_eq!(*outcomes[0].as_ref().unwrap(), expected);
    }
    assert_eq!(bench.mailbox.acks.lock().unwrap().len(), 2);
    let page = bench.store.series(&SeriesQuery::one("press-4", "temperature")).await.unwrap();
    assert_eq!(page.series[0].points.len(), 10);
}

#[tokio::test]
async fn a_block_that_fails_is_not_acknowledged_and_takes_no_other_with_it() {
    let bench = bench(Mailbox::default(), 0, 11);
    let blocks = vec![block("gw-1", 1, 10), block("gw-1", 11, 20), block("gw-1", 21, 30)];
    let outcomes = handle(blocks, &bench.context).await;
    assert!(matches!(outcomes[1], Err(StoreError::Full)));
    let acks = bench.mailbox.acks.lock().unwrap();
    assert_eq!(acks[0].1.stored, ranges(&[(1, 10), (21, 30)]));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_in_time_comes_again_and_the_rest_is_acknowledged() {
    let bench = bench(Mailbox::default(), 0, 0);
    let blocks = [block("gw-1", 991, 1_000), block("gw-1", ENDLESS, 1_010), block("gw-1", 1_011, 1_020)];
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(40);
    let outcomes = handle_in_order(&blocks, &bench.context, until).await;
    assert_eq!(tokio::time::Instant::now(), until);
    assert!(matches!(outcomes[..], [Ok(Outcome::Stored { .. }), Err(StoreError::Unavailable { .. })]));
    assert_eq!(bench.mailbox.acks.lock().unwrap()[0].1.stored, ranges(&[(991, 1_000)]));
}

#[tokio::test]
async fn a_block_that_can_never_be_stored_is_quarantined_and_acknowledged() {
    let bench = bench(Mailbox::default(), 11, 0);
    let outcomes = handle(vec![block("gw-1", 1, 10), block("gw-1", 11, 20)], &bench.context).await;
    assert_eq!(*outcomes[1].as_ref().unwrap(), Outcome::Quarantined);
    assert_eq!(bench.mailbox.acks.lock().unwrap()[0].1.stored, ranges(&[(1, 20)]));
    let ledger = bench.store.ledger(None).await.unwrap();
    assert_eq!(ledger[0].streams[0].quarantined, ranges(&[(11, 20)]));
    assert_eq!(ledger[0].refused["refused-by-store"], 1);
}

#[tokio::test]
async fn an_acknowledgement_that_cannot_be_sent_fails_nothing() {
    let bench = bench(Mailbox { broken: true, ..Mailbox::default() }, 0, 0);
    let outcomes = handle(vec![block("gw-1", 1, 10)], &bench.context).await;
    assert_eq!(*outcomes[0].as_ref().unwrap(), Outcome::Stored { set_aside: 0 });
}

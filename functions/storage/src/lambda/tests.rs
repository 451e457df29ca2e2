use std::sync::Mutex;

use async_trait::async_trait;
use fieldline_model::{AckMessage, Class, DeviceId, Quality, ReadingRef, ValueRef};
use fieldline_store::{
    DevicePage, DeviceQuery, Latest, MemoryStore, SeriesPage, SeriesQuery, StoreError, TimeSeriesStore,
    Written,
};
use fieldline_wire::BlockBuilder;

use super::*;
use crate::{Acks, PortError};

/// Fails for blocks that begin at `fails`, and notes what it was given.
struct Failing {
    inner: Arc<MemoryStore>,
    fails: u64,
    seen: Mutex<Vec<(StreamId, u64)>>,
}

#[async_trait]
impl TimeSeriesStore for Failing {
    async fn write(&self, block: Arc<ReceivedBlock>) -> Result<Written, StoreError> {
        let (stream, first) = (block.block.stream.clone(), block.block.first_seq);
        self.seen.lock().unwrap().push((stream, first));
        if first == self.fails {
            return Err(StoreError::Unavailable { service: "the test", source: "throttled".into() });
        }
        self.inner.write(block).await
    }
    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        TimeSeriesStore::series(self.inner.as_ref(), query).await
    }
    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        TimeSeriesStore::latest(self.inner.as_ref(), device).await
    }
    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        TimeSeriesStore::devices(self.inner.as_ref(), query).await
    }
}

#[derive(Debug, Default)]
struct Mailbox(Mutex<Vec<(GatewayId, AckMessage)>>);

#[async_trait]
impl Acks for Mailbox {
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), PortError> {
        self.0.lock().unwrap().push((gateway.clone(), ack.clone()));
        Ok(())
    }
}

fn body(gateway: &str, first: u64) -> String {
    let stream = StreamId { gateway: GatewayId::new(gateway).unwrap(), epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, first);
    for seq in first..first + 10 {
        builder.push(ReadingRef {
            device: "press-4",
            metric: "temperature",
            time: Timestamp::from_nanos(seq as i64),
            value: ValueRef::Integer(seq as i64),
            quality: Quality::Good,
        });
    }
    BASE64.encode(builder.finish().unwrap().encode())
}

fn event(bodies: &[&str]) -> SqsEvent {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            serde_json::json!({
                "messageId": format!("m{number}"), "body": body, "attributes": {},
                "messageAttributes": {
                    "gateway": { "stringValue": "gw-1", "dataType": "String" },
                    "received": { "stringValue": "1795341600000", "dataType": "Number" },
                },
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
}

async fn run(fails: u64, bodies: &[&str]) -> (Vec<String>, Arc<Failing>, Arc<Mailbox>) {
    let inner = Arc::new(MemoryStore::new());
    let store = Arc::new(Failing { inner: inner.clone(), fails, seen: Mutex::default() });
    let mailbox = Arc::new(Mailbox::default());
    let context = Context { store: store.clone(), ledger: inner, acks: mailbox.clone() };
    let answer =
        Cloud { context }.handle(event(bodies), Instant::now() + Duration::from_secs(60)).await.unwrap();
    let failed = answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    (failed, store, mailbox)
}

#[tokio::test]
async fn a_group_stops_at_its_first_failure_and_the_others_go_on() {
    let bodies = [body("gw-1", 1), body("gw-2", 1), body("gw-1", 11), body("gw-1", 21), body("gw-2", 101)];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let (failed, store, mailbox) = run(11, &bodies).await;
    assert_eq!(failed, ["m2", "m3"]);
    let seen = store.seen.lock().unwrap();
    assert!(!seen.iter().any(|(_, first)| *first == 21), "{seen:?}");
    let acks = mailbox.0.lock().unwrap();
    let told: Vec<_> = acks.iter().map(|(gateway, ack)| (gateway.as_str(), ack.stored.count())).collect();
    assert_eq!(told, [("gw-1", 10), ("gw-2", 20)]);
}

#[tokio::test]
async fn a_poison_message_is_quarantined_and_the_others_are_stored() {
    let good = body("gw-1", 1);
    let (failed, store, mailbox) = run(0, &["%%%", &good, "bm90IGEgYmxvY2s="]).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(mailbox.0.lock().unwrap().len(), 1);
    let ledger = fieldline_store::Ledger::ledger(store.inner.as_ref(), None).await.unwrap();
    assert_eq!(ledger[0].refused["not-base64"], 1);
    assert_eq!(ledger[0].refused["not-a-block"], 1);
}

#[tokio::test]
async fn a_block_that_comes_twice_is_acknowledged_twice_and_stored_once() {
    let good = body("gw-1", 1);
    let (failed, store, mailbox) = run(0, &[&good, &good]).await;
    assert!(failed.is_empty());
    assert_eq!(mailbox.0.lock().unwrap().len(), 1, "one message for the stream");
    let page = TimeSeriesStore::series(store.as_ref(), &SeriesQuery::one("*", "*")).await.unwrap();
    assert_eq!(page.series[0].points.len(), 10);
}

use std::sync::Mutex;

use fieldline_model::{
    AckMessage, Class, LaneBooks, Quality, RangeSet, ReadingRef, SeqRange, StreamId, ValueRef,
};
use fieldline_store::MemoryStore;
use fieldline_wire::BlockBuilder;

use super::*;

#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Block>>);

#[async_trait]
impl BlockQueue for Shelf {
    async fn push(&self, block: Block) -> Result<(), PortError> {
        self.0.lock().unwrap().push(block);
        Ok(())
    }
}

#[derive(Debug)]
struct NoAcks;

#[async_trait]
impl storage::Acks for NoAcks {
    async fn publish(&self, _: &GatewayId, _: &AckMessage) -> Result<(), storage::PortError> {
        Ok(())
    }
}

fn cloud() -> (Cloud, Arc<Shelf>, Arc<MemoryStore>) {
    let (shelf, ledger) = (Arc::new(Shelf::default()), Arc::new(MemoryStore::new()));
    (Cloud::new(ledger.clone(), Arc::new(NoAcks), shelf.clone()), shelf, ledger)
}

fn event(message: &str, payload: &[u8]) -> RuleEvent {
    let text = BASE64.encode(payload);
    serde_json::from_value(json!({ "gateway": "gw-1", "received": 1_795_341_600_000_i64, message: text }))
        .unwrap()
}

fn block() -> Vec<u8> {
    let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, 1);
    builder.push(ReadingRef {
        device: "press-4",
        metric: "temperature",
        time: Timestamp::EPOCH,
        value: ValueRef::Float(21.5),
        quality: Quality::Good,
    });
    builder.finish().unwrap().encode()
}

#[tokio::test]
async fn a_block_goes_on_as_the_rule_received_it() {
    let (cloud, shelf, _) = cloud();
    let answer = cloud.handle(event("block", &block())).await.unwrap();
    assert_eq!(answer, json!({ "accepted": "gw-1/00000000000007/1-1" }));
    let blocks = shelf.0.lock().unwrap();
    assert_eq!(blocks[0].received.millis(), 1_795_341_600_000);
    assert_eq!(&blocks[0].encoded[..], &block()[..]);
}

#[tokio::test]
async fn what_is_no_block_is_quarantined_and_counted() {
    let (cloud, _, ledger) = cloud();
    let mut huge = vec![0; 1 << 20];
    huge[..3].copy_from_slice(b"FLB");
    for payload in [&b"ten bytes."[..], &huge, b""] {
        let answer = cloud.handle(event("block", payload)).await.unwrap();
        assert!(answer["quarantined"].is_string(), "{answer}");
    }
    let counts = &ledger.ledger(None).await.unwrap()[0].refused;
    assert_eq!(counts.values().sum::<u64>(), 3, "{counts:?}");
}

#[tokio::test]
async fn books_are_recorded_and_what_is_missing_is_told() {
    let (cloud, _, ledger) = cloud();
    let lane = LaneBooks {
        epoch: 7,
        last_seq: 10,
        stored: RangeSet::from(vec![SeqRange::new(1, 10)]),
        ..LaneBooks::default()
    };
    let books = Books { accepted: 10, lanes: vec![lane], ..Books::default() };
    let answer = cloud.handle(event("books", &serde_json::to_vec(&books).unwrap())).await.unwrap();
    // The gateway says that ten are stored; the store has none of them.
    assert_eq!(answer, json!({ "recorded": "gw-1", "missing": 10 }));
    let held = ledger.ledger(None).await.unwrap();
    assert_eq!(held[0].reported.as_ref().unwrap().books, books);
    let answer = cloud.handle(event("books", b"{")).await.unwrap();
    assert_eq!(answer, json!({ "quarantined": "malformed" }));
}

#[tokio::test]
async fn a_name_or_an_encoding_that_no_rule_makes_is_an_error_to_be_looked_at() {
    let (cloud, _, _) = cloud();
    let mut wrong = event("block", &block());
    wrong.gateway = "a b".to_owned();
    assert!(cloud.handle(wrong).await.is_err());
    let mut wrong = event("block", &block());
    wrong.message = Message::Block("not base64!".to_owned());
    assert!(cloud.handle(wrong).await.is_err());
}

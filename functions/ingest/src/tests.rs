use std::sync::Mutex;

use fieldline_model::{Class, Quality, ReadingRef, ValueRef};
use fieldline_wire::BlockBuilder;

use super::*;

/// A refused message: gateway, reason, the readings that are settled, payload.
type Kept = (GatewayId, Reason, Option<SeqRange>, Bytes);

/// Keeps what it is given; refuses everything while `broken`.
#[derive(Debug, Default)]
struct Shelf {
    blocks: Mutex<Vec<Block>>,
    refused: Mutex<Vec<Kept>>,
    broken: bool,
}

#[async_trait]
impl BlockQueue for Shelf {
    async fn push(&self, block: Block) -> Result<(), PortError> {
        if self.broken {
            return Err("no room".into());
        }
        self.blocks.lock().unwrap().push(block);
        Ok(())
    }
}

#[async_trait]
impl Quarantine for Shelf {
    async fn set_aside(&self, refused: Refused<'_>) -> Result<(), PortError> {
        if self.broken {
            return Err("no room".into());
        }
        let seqs = refused.settled.map(|(_, _, seqs)| *seqs);
        let kept = (refused.gateway.clone(), refused.reason, seqs, refused.payload.clone());
        self.refused.lock().unwrap().push(kept);
        Ok(())
    }
}

fn gateway(text: &str) -> GatewayId {
    GatewayId::new(text).unwrap()
}

fn payload(of: &str) -> Bytes {
    let mut builder = BlockBuilder::new(StreamId { gateway: gateway(of), epoch: 3 }, Class::Live, 11);
    for n in 0..5 {
        builder.push(ReadingRef {
            device: "press-4",
            metric: "temperature",
            time: Timestamp::from_nanos(n * 1_000_000_000),
            value: ValueRef::Float(20.0 + n as f64),
            quality: Quality::Good,
        });
    }
    Bytes::from(builder.finish().unwrap().encode())
}

async fn run(shelf: Shelf, payload: Bytes) -> (Arc<Shelf>, Result<Outcome, Error>) {
    let shelf = Arc::new(shelf);
    let context = Context { limits: Limits::default(), blocks: shelf.clone(), quarantine: shelf.clone() };
    let event = Event { gateway: gateway("gw-1"), payload, received: Timestamp::from_nanos(9) };
    let outcome = handle(event, &context).await;
    (shelf, outcome)
}

#[tokio::test]
async fn a_good_block_goes_on_as_it_came() {
    let sent = payload("gw-1");
    let (shelf, outcome) = run(Shelf::default(), sent.clone()).await;
    let stream = StreamId { gateway: gateway("gw-1"), epoch: 3 };
    assert_eq!(outcome.unwrap(), Outcome::Accepted { stream, seqs: SeqRange::new(11, 15) });
    let blocks = shelf.blocks.lock().unwrap();
    assert_eq!(blocks[0].encoded, sent);
    assert_eq!(blocks[0].received, Timestamp::from_nanos(9));
    assert_eq!(blocks[0].content.columns[0].times.len(), 5);
}

#[tokio::test]
async fn what_is_no_block_is_quarantined_with_its_reason() {
    let good = payload("gw-1");
    let mut flipped = good.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let table = [
        (Bytes::from_static(b"{\"temperature\":21.5}"), Reason::Malformed),
        (Bytes::new(), Reason::Malformed),
        (Bytes::from(flipped), Reason::Damaged),
        (payload("gw-2"), Reason::BadName),
    ];
    for (sent, reason) in table {
        let (shelf, outcome) = run(Shelf::default(), sent.clone()).await;
        assert_eq!(outcome.unwrap(), Outcome::Quarantined { reason }, "{sent:?}");
        let refused = shelf.refused.lock().unwrap();
        assert_eq!(refused[0].0, gateway("gw-1"));
        assert_eq!(refused[0].3, sent);
        assert!(shelf.blocks.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_block_beyond_the_limits_is_quarantined() {
    let shelf = Arc::new(Shelf::default());
    let limits = Limits { readings_max: 4, ..Limits::default() };
    let context = Context { limits, blocks: shelf.clone(), quarantine: shelf };
    let event = Event { gateway: gateway("gw-1"), payload: payload("gw-1"), received: Timestamp::EPOCH };
    let outcome = handle(event, &context).await.unwrap();
    assert_eq!(outcome, Outcome::Quarantined { reason: Reason::TooLarge });
}

#[tokio::test]
async fn a_failing_port_accepts_nothing() {
    let broken = || Shelf { broken: true, ..Shelf::default() };
    assert!(matches!(run(broken(), payload("gw-1")).await.1, Err(Error::Queue(_))));
    assert!(matches!(run(broken(), Bytes::from_static(b"x")).await.1, Err(Error::Quarantine(_))));
}

/// A block whose columns do not add up to its sequence numbers, sealed with a good checksum.
fn breaks_the_format(of: &str) -> Bytes {
    let good = fieldline_wire::Block::decode(&payload(of), &Limits::default()).unwrap();
    Bytes::from(fieldline_wire::Block { last_seq: good.last_seq + 10, ..good }.encode())
}

#[tokio::test]
async fn readings_that_nobody_can_ever_read_are_settled_by_number() {
    for (of, settled) in [("gw-1", Some(SeqRange::new(11, 25))), ("gw-2", None)] {
        let (shelf, outcome) = run(Shelf::default(), breaks_the_format(of)).await;
        assert_eq!(outcome.unwrap(), Outcome::Quarantined { reason: Reason::Malformed });
        assert_eq!(shelf.refused.lock().unwrap()[0].2, settled, "{of}");
    }
    let mut damaged = payload("gw-1").to_vec();
    damaged.pop();
    let (shelf, _) = run(Shelf::default(), Bytes::from(damaged)).await;
    assert_eq!(shelf.refused.lock().unwrap()[0].2, None);
}

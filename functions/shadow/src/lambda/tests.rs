use aws_lambda_events::sqs::{SqsMessage, SqsMessageAttribute};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_model::{Books, ReadingRef, ValueRef};
use fieldline_wire::Block;
use serde_json::json;

use super::*;
use crate::tests::{DAY_MS, Shelf, block, reading, runtime, shown};

fn message(id: &str, body: String) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.body = Some(body);
    let mut received = SqsMessageAttribute::default();
    received.string_value = Some(DAY_MS.to_string());
    message.message_attributes.insert("received".to_owned(), received);
    message
}

fn of_block(id: &str, block: &Block) -> SqsMessage {
    message(id, BASE64.encode(block.encode()))
}

fn lifecycle(id: &str, client: &str, kind: &str, at_ms: i64, version: u64) -> SqsMessage {
    let principal = if client == "console" { "AROA:me".to_owned() } else { "ab".repeat(32) };
    let body = json!({
        "clientId": client, "timestamp": DAY_MS + at_ms, "eventType": kind, "versionNumber": version,
        "sessionIdentifier": "00000000-0000-0000-0000-000000000000", "principalIdentifier": principal,
        "ipAddress": "127.0.0.1",
    });
    message(id, body.to_string())
}

fn handle(shelf: Shelf, messages: Vec<SqsMessage>, left: Duration) -> (Arc<Shelf>, Vec<String>) {
    let shelf = Arc::new(shelf);
    let cloud = Cloud { things: shelf.clone() };
    let mut event = SqsEvent::default();
    event.records = messages;
    let answer = runtime().block_on(cloud.handle(event, Instant::now() + left)).unwrap();
    (shelf, answer.batch_item_failures.into_iter().map(|failed| failed.item_identifier).collect())
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_batch_makes_one_update_of_each_shadow() {
    let books = json!({
        "books": BASE64.encode(serde_json::to_vec(&Books::default()).unwrap()), "gateway": "gw-1", "received": DAY_MS,
    });
    let other = ReadingRef { device: "press-5", ..reading("t", 0, ValueRef::Integer(7)) };
    let (shelf, failed) = handle(
        Shelf::default(),
        vec![
            of_block("1", &block([reading("t", 2, ValueRef::Integer(2)), other])),
            of_block("2", &block([reading("t", 1, ValueRef::Integer(1))])),
            message("3", books.to_string()),
            lifecycle("4", "gw-1", "disconnected", 3, 1),
            lifecycle("5", "gw-1", "connected", 4, 2),
            lifecycle("6", "console", "connected", 5, 0),
            lifecycle("7", "no thing", "connected", 5, 0),
            message("8", "bm90IGEgYmxvY2s=".to_owned()),
            message("9", "{\"neither\": 1}".to_owned()),
        ],
        MINUTE,
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(shelf.reported("press-4~telemetry"), json!({ "t": shown(2, 2) }));
    assert_eq!(shelf.reported("press-5~telemetry"), json!({ "t": shown(7, 0) }));
    assert_eq!(shelf.reported("gw-1~health")["unaccounted"], 0);
    let expected = json!({ "connected": true, "last_seen": DAY_MS + 4, "session": 2 });
    assert_eq!(shelf.reported("gw-1~presence"), expected);
    assert_eq!(shelf.updates(), 4);
}

#[test]
fn only_messages_of_shadows_that_failed_come_again() {
    let other = ReadingRef { device: "press-5", ..reading("t", 0, ValueRef::Integer(7)) };
    let shelf = Shelf { broken: Some("press-5"), ..Shelf::default() };
    let (shelf, failed) = handle(
        shelf,
        vec![
            of_block("1", &block([reading("t", 2, ValueRef::Integer(2))])),
            of_block("2", &block([other])),
            of_block("3", &block([reading("t", 3, ValueRef::Integer(3)), other])),
        ],
        MINUTE,
    );
    assert_eq!(failed, ["2", "3"]);
    assert_eq!(shelf.reported("press-4~telemetry"), json!({ "t": shown(3, 3) }));
}

#[test]
fn what_no_time_is_left_for_comes_again() {
    let messages = vec![of_block("1", &block([reading("t", 2, ValueRef::Integer(2))]))];
    let shelf = Arc::new(Endless);
    let mut event = SqsEvent::default();
    event.records = messages;
    let answer = runtime().block_on(Cloud { things: shelf }.handle(event, Instant::now() + RESERVE)).unwrap();
    assert_eq!(answer.batch_item_failures.len(), 1);
}

/// Never answers.
#[derive(Debug)]
struct Endless;

#[async_trait::async_trait]
impl Things for Endless {
    async fn get(&self, _: &fieldline_model::ShadowId) -> Result<Option<crate::Document>, crate::PortError> {
        std::future::pending().await
    }
    async fn update(
        &self,
        _: &fieldline_model::ShadowId,
        _: &serde_json::Value,
    ) -> Result<crate::Outcome, crate::PortError> {
        std::future::pending().await
    }
}

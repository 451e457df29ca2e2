//! What a message of the queue says.

use aws_lambda_events::sqs::SqsMessage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_model::{Books, GatewayId, ThingName, Timestamp};
use fieldline_wire::{Block, Limits};
use serde::Deserialize;

use crate::{PortError, Presence};

/// A message that has been read.
#[derive(Debug)]
pub(super) enum Message {
    /// From `ingest`, by its topic.
    Block(Block, Timestamp),
    /// From the topic rule of books.
    Books(GatewayId, Books, Timestamp),
    /// From the topic rule of lifecycle events.
    Presence(Presence),
    /// A lifecycle event of a client that is no thing.
    Stranger,
}

/// `SELECT encode(*, 'base64') AS books, topic(1) AS gateway, timestamp() AS received`.
#[derive(Debug, Deserialize)]
struct BooksEvent {
    books: String,
    gateway: GatewayId,
    /// Epoch milliseconds.
    received: i64,
}

/// A message on `$aws/events/presence/connected/<client>` or `…/disconnected/<client>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    client_id: String,
    event_type: String,
    /// Epoch milliseconds.
    timestamp: i64,
    /// A certificate's id, or an IAM identity.
    principal_identifier: String,
    version_number: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OfRule {
    Books(BooksEvent),
    Lifecycle(Lifecycle),
}

/// Reads a message.
///
/// # Errors
/// It is none of ours and never will be.
pub(super) fn read(message: &SqsMessage) -> Result<Message, PortError> {
    let body = message.body.as_deref().unwrap_or_default();
    if !body.starts_with('{') {
        let block = Block::decode(&BASE64.decode(body)?, &Limits::default())?;
        return Ok(Message::Block(block, received(message)));
    }
    match serde_json::from_str(body)? {
        OfRule::Books(event) => {
            let books = serde_json::from_slice(&BASE64.decode(event.books)?)?;
            Ok(Message::Books(event.gateway, books, Timestamp::from_millis(event.received)?))
        }
        OfRule::Lifecycle(event) => presence(&event),
    }
}

/// Whoever comes with a certificate, under the name of a thing. AWS's console and other users of IAM are
/// clients as well.
fn presence(event: &Lifecycle) -> Result<Message, PortError> {
    let principal = &event.principal_identifier;
    let certificate = principal.len() == 64 && principal.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(thing) = ThingName::new(&event.client_id).ok().filter(|_| certificate) else {
        return Ok(Message::Stranger);
    };
    let connected = match event.event_type.as_str() {
        "connected" => true,
        "disconnected" => false,
        _ => return Ok(Message::Stranger),
    };
    let at = Timestamp::from_millis(event.timestamp)?;
    let session = event.version_number.unwrap_or_default();
    Ok(Message::Presence(Presence { thing, connected, at, session }))
}

/// When `ingest` got the block.
fn received(message: &SqsMessage) -> Timestamp {
    let text = message.message_attributes.get("received").and_then(|value| value.string_value.as_deref());
    let millis = text.and_then(|text| text.parse().ok());
    millis.and_then(|millis| Timestamp::from_millis(millis).ok()).unwrap_or(Timestamp::EPOCH)
}

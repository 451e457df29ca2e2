//! Messages that cannot be stored: their bytes into the bucket, their count and their readings into
//! the table. Each step may be repeated; the message's hash tells whether it has been counted.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use aws_sdk_s3::primitives::ByteStream;
use fieldline_model::{Class, SeqRange, StreamId};
use fieldline_store::{Refused, StoreError, StreamOrders};
use sha2::{Digest, Sha256};

use super::{ATTEMPTS_MAX, DynamoLedger, Key, SERVICE, item, unchanged};
use crate::failure;

/// After so long the note that a message has been counted is let go of. No queue delivers later.
const NOTE_KEPT: Duration = Duration::from_secs(30 * 86_400);

impl DynamoLedger {
    pub(super) async fn set_aside(&self, refused: Refused) -> Result<(), StoreError> {
        let reason = refused.reason_word();
        let hash = hash(&refused, &reason);
        self.keep(&refused, &reason, &hash).await?;
        self.count(&refused, &reason, &hash).await?;
        match &refused.readings {
            Some((stream, class, seqs)) => self.mark(stream, *class, *seqs).await,
            None => Ok(()),
        }
    }

    async fn keep(&self, refused: &Refused, reason: &str, hash: &str) -> Result<(), StoreError> {
        let day = refused.received.to_string().chars().take(10).collect::<String>();
        let key = format!("quarantine/{}/{day}/{reason}-{hash}", refused.gateway);
        let call = self.bucket.put_object().bucket(&self.config.quarantine_bucket).key(key);
        let call = call.metadata("reason", reason).metadata("received", refused.received.to_string());
        let sent = call.body(ByteStream::from(refused.bytes.clone())).send().await;
        sent.map(drop).map_err(|error| failure("S3", error.into_service_error()))
    }

    /// Counts the message unless it has been counted.
    async fn count(&self, refused: &Refused, reason: &str, hash: &str) -> Result<(), StoreError> {
        let table = &self.config.table;
        let broken = |error: aws_sdk_dynamodb::error::BuildError| StoreError::Rejected {
            service: SERVICE,
            source: Box::new(error),
        };
        let expires = refused.received.millis() / 1_000 + NOTE_KEPT.as_secs().cast_signed();
        let mut note = Key::refused_message(&refused.gateway, hash).attributes();
        note.insert("expires".to_owned(), item::number(expires));
        let note = Put::builder().table_name(table).set_item(Some(note));
        let note = note.condition_expression("attribute_not_exists(gateway)").build().map_err(broken)?;
        let count = Update::builder().table_name(table).update_expression("ADD messages :one");
        let count = count.set_key(Some(Key::refused(&refused.gateway, reason).attributes()));
        let count = count.expression_attribute_values(":one", item::number(1)).build().map_err(broken)?;
        let call = self.client.transact_write_items();
        let call = call.transact_items(TransactWriteItem::builder().put(note).build());
        let call = call.transact_items(TransactWriteItem::builder().update(count).build());
        match call.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
            Ok(_) => Ok(()),
            Err(TransactWriteItemsError::TransactionCanceledException(cancelled))
                if cancelled
                    .cancellation_reasons()
                    .iter()
                    .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
            {
                Ok(())
            }
            // Two transactions met: the other one may have been about another message.
            Err(error @ TransactWriteItemsError::TransactionCanceledException(_)) => {
                Err(StoreError::Unavailable { service: SERVICE, source: Box::new(error) })
            }
            Err(error) => Err(failure(SERVICE, error)),
        }
    }

    /// Takes readings into what is quarantined of their stream.
    async fn mark(&self, stream: &StreamId, class: Class, seqs: SeqRange) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut held = self.load(stream).await?;
            if held.quarantined.covers(seqs) {
                return Ok(());
            }
            held.quarantined.insert(seqs);
            let values = HashMap::from([
                (":class".to_owned(), item::text(class.as_str())),
                (":quarantined".to_owned(), item::json(&held.quarantined)?),
                (":before".to_owned(), item::number(held.revision)),
                (":revision".to_owned(), item::number(held.revision + 1)),
            ]);
            let update = "SET lane = :class, quarantined = :quarantined, revision = :revision";
            if self.set(&Key::stream(stream), update, unchanged(held.revision), values).await? {
                return Ok(());
            }
        }
        let source = format!("the stream {stream} changes all the time").into();
        Err(StoreError::Unavailable { service: SERVICE, source })
    }
}

fn hash(refused: &Refused, reason: &str) -> String {
    let mut digest = Sha256::new();
    for part in [refused.gateway.as_str().as_bytes(), b"\n", reason.as_bytes(), b"\n", &refused.bytes] {
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

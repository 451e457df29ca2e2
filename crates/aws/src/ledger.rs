//! The ledger in a DynamoDB table, and the quarantined messages in a bucket.
//!
//! One partition for each gateway; `docs/formats/ledger.md` describes the items. Whatever may be
//! changed by two at once carries a revision and is written under the condition that it still has it.

mod item;
mod quarantine;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use fieldline_model::{Books, Class, GatewayId, StreamId, Timestamp};
use fieldline_store::{
    GatewayLedger, HeldStream, Ledger, OwnStream, Refused, RefusedCounts, ReportedBooks, StoreError,
    StreamOrders, StreamRecord, assemble,
};

use crate::{Aws, failure};
use item::{Item, Key};

const SERVICE: &str = "DynamoDB";
/// How often a change begins anew because another writer came first.
const ATTEMPTS_MAX: usize = 8;

/// Names of what the ledger is kept in.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The DynamoDB table: partition key `gateway`, sort key `item`, both strings.
    pub table: String,
    /// The bucket for the bytes of quarantined messages; they lie below `quarantine/`.
    pub quarantine_bucket: String,
}

/// A [`Ledger`] and the [`StreamOrders`] of a [`fieldline_store::PlacingStore`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    client: Client,
    bucket: aws_sdk_s3::Client,
    config: LedgerConfig,
}

impl DynamoLedger {
    /// A ledger in an existing table and bucket.
    pub fn new(aws: &Aws, config: LedgerConfig) -> Self {
        Self { client: Client::new(aws.config()), bucket: aws.s3(), config }
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.config.table).consistent_read(true);
        let answer = call.set_key(Some(key.attributes())).send().await;
        let answer = answer.map_err(|error| failure(SERVICE, error.into_service_error()))?;
        Ok(answer.item.map(Item))
    }

    /// Sets attributes if the condition on the item holds; whether it did.
    async fn set(
        &self,
        key: &Key,
        update: &str,
        condition: &str,
        values: HashMap<String, AttributeValue>,
    ) -> Result<bool, StoreError> {
        let call = self.client.update_item().table_name(&self.config.table);
        let call = call.set_key(Some(key.attributes())).update_expression(update);
        let call = call.condition_expression(condition).set_expression_attribute_values(Some(values));
        match call.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(error) => Err(failure(SERVICE, error)),
        }
    }

    /// Everything about one gateway or all, copies of messages apart.
    async fn read(&self, gateway: Option<&GatewayId>) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        match gateway {
            Some(gateway) => {
                for prefix in [item::BOOKS, item::STREAM, item::REFUSED] {
                    let call = self.client.query().table_name(&self.config.table).consistent_read(true);
                    let call = call
                        .key_condition_expression("gateway = :gateway AND begins_with(#item, :prefix)")
                        // A reserved word of DynamoDB.
                        .expression_attribute_names("#item", "item")
                        .expression_attribute_values(":gateway", item::text(gateway.as_str()))
                        .expression_attribute_values(":prefix", item::text(prefix));
                    let mut pages = call.into_paginator().items().send();
                    while let Some(found) = pages.next().await {
                        let found = found.map_err(|error| failure(SERVICE, error.into_service_error()))?;
                        items.push(Item(found));
                    }
                }
            }
            None => {
                let call = self.client.scan().table_name(&self.config.table).consistent_read(true);
                let call = call
                    .filter_expression("NOT begins_with(#item, :copies)")
                    .expression_attribute_names("#item", "item")
                    .expression_attribute_values(":copies", item::text(item::REFUSED_MESSAGE));
                let mut pages = call.into_paginator().items().send();
                while let Some(found) = pages.next().await {
                    let found = found.map_err(|error| failure(SERVICE, error.into_service_error()))?;
                    items.push(Item(found));
                }
            }
        }
        Ok(items)
    }
}

#[async_trait]
impl StreamOrders for DynamoLedger {
    async fn load(&self, stream: &StreamId) -> Result<HeldStream, StoreError> {
        match self.get(&Key::stream(stream)).await? {
            Some(item) => item.held(),
            None => Ok(HeldStream::default()),
        }
    }

    async fn commit(
        &self,
        stream: &StreamId,
        class: Class,
        state: &HeldStream,
    ) -> Result<Option<u64>, StoreError> {
        let revision = state.revision + 1;
        let values = HashMap::from([
            (":class".to_owned(), item::text(class.as_str())),
            (":order".to_owned(), item::json(&state.order)?),
            (":place".to_owned(), item::number(state.place)),
            (":before".to_owned(), item::number(state.revision)),
            (":revision".to_owned(), item::number(revision)),
        ]);
        let update = "SET lane = :class, seqs = :order, place = :place, revision = :revision";
        let done = self.set(&Key::stream(stream), update, unchanged(state.revision), values).await?;
        Ok(done.then_some(revision))
    }
}

/// The condition that an item has the revision `:before`; where it has none that is 0.
fn unchanged(revision: u64) -> &'static str {
    // `:before` has to occur in either case: a value that is not used is an error to DynamoDB.
    match revision {
        0 => "attribute_not_exists(revision) OR revision = :before",
        _ => "revision = :before",
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn record_books(
        &self,
        gateway: &GatewayId,
        books: Books,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = HashMap::from([
            (":books".to_owned(), item::json(&books)?),
            (":received".to_owned(), item::number(now.nanos())),
        ]);
        // Invocations may overtake each other: an older report never replaces a newer one.
        let condition = "attribute_not_exists(received) OR received <= :received";
        let update = "SET books = :books, received = :received";
        if !self.set(&Key::books(gateway), update, condition, values).await? {
            tracing::info!(%gateway, "older books came late");
        }
        Ok(())
    }

    async fn ledger(&self, gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError> {
        let mut books: BTreeMap<GatewayId, ReportedBooks> = BTreeMap::new();
        let mut streams = Vec::new();
        let mut refused = RefusedCounts::new();
        for item in self.read(gateway).await? {
            let (gateway, name) = item.name()?;
            if let Some(epoch) = name.strip_prefix(item::STREAM) {
                let stream = StreamId { gateway, epoch: item::epoch(epoch)? };
                let HeldStream { order, quarantined, .. } = item.held()?;
                let class = item.class()?;
                streams.push(StreamRecord { stream, class, stored: order.stored, quarantined });
            } else if let Some(reason) = name.strip_prefix(item::REFUSED) {
                refused.entry(gateway).or_default().insert(reason.to_owned(), item.count()?);
            } else if name == item::BOOKS {
                books.insert(gateway, item.reported()?);
            }
        }
        Ok(assemble(gateway, books, streams, refused))
    }

    async fn quarantine(&self, refused: Refused) -> Result<(), StoreError> {
        self.set_aside(refused).await
    }

    async fn own_stream(&self, gateway: &GatewayId, now: Timestamp) -> Result<OwnStream, StoreError> {
        let key = Key::own(gateway);
        // Drawn from the clock: below 2⁵³, and whoever comes second takes what the first one wrote.
        let drawn = now.nanos().unsigned_abs() & ((1 << 53) - 1);
        let values = HashMap::from([(":epoch".to_owned(), item::number(drawn))]);
        let fresh = "attribute_not_exists(epoch) OR epoch = :epoch";
        self.set(&key, "SET epoch = :epoch", fresh, values).await?;
        let item = self.get(&key).await?.ok_or_else(|| item::damaged("own"))?;
        let stream = StreamId { gateway: gateway.clone(), epoch: item.whole("epoch")? };
        let held = self.load(&stream).await?;
        Ok(OwnStream { stream, next_seq: held.order.stored.last().unwrap_or(0) + 1 })
    }
}

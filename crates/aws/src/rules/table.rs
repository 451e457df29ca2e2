//! A partition of the DynamoDB table of rules.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use fieldline_model::{GatewayId, Timestamp};
use fieldline_store::StoreError;
use sha2::{Digest, Sha256};

use crate::{Aws, failure};

pub(super) const SERVICE: &str = "DynamoDB";
/// The item of the head.
const HEAD: &str = "head";
/// What is due is looked up by time, in so many partitions of the index, so that none takes all writes.
const SHARDS: u8 = 8;
const INDEX: &str = "wake";

/// What a partition is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// Counts commits; 0: there was none.
    pub(super) version: u64,
    /// What is committed and not in the items yet.
    pub(super) log: Option<Log>,
    /// When there is something to do by the clock.
    pub(super) wake: Option<Timestamp>,
}

/// Names the pieces of a log, beside the head's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) writer: String,
    pub(super) pieces: usize,
}

/// The calls that a state is made of; a test counts them and is killed between any two.
#[async_trait]
pub(super) trait Table: Send + Sync {
    async fn head(&self) -> Result<Head, StoreError>;
    /// All but the head, by name.
    async fn items(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    async fn put(&self, item: &str, value: &[u8]) -> Result<(), StoreError>;
    async fn remove(&self, item: &str) -> Result<(), StoreError>;
    /// All of it, or nothing where the head is not at `before`; whether it was.
    async fn transact(
        &self,
        before: u64,
        head: Option<&Head>,
        items: &[(String, Option<&[u8]>)],
    ) -> Result<bool, StoreError>;
}

/// The partition of a gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RuleTable {
    client: Client,
    table: String,
    gateway: GatewayId,
}

impl RuleTable {
    /// In an existing table: partition key `partition`, sort key `item`, both strings; index `wake` with
    /// partition key `shard`, a string, and sort key `wake`, a number.
    pub fn new(aws: &Aws, table: impl Into<String>, gateway: GatewayId) -> Self {
        Self { client: Client::new(aws.config()), table: table.into(), gateway }
    }

    /// The gateways of a table with something to do by `now`, those first that have waited longest.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn due(aws: &Aws, table: &str, now: Timestamp) -> Result<Vec<GatewayId>, StoreError> {
        let client = Client::new(aws.config());
        let mut due = Vec::new();
        for shard in 0..SHARDS {
            let call = client.query().table_name(table).index_name(INDEX);
            let call = call
                .key_condition_expression("shard = :shard AND wake <= :now")
                .expression_attribute_values(":shard", text(&shard.to_string()))
                .expression_attribute_values(":now", number(now.millis()));
            let mut pages = call.into_paginator().items().send();
            while let Some(found) = pages.next().await {
                let found = found.map_err(|error| failure(SERVICE, error.into_service_error()))?;
                let partition = found.get("partition").and_then(|value| value.as_s().ok());
                let gateway = partition.and_then(|name| GatewayId::new(name.strip_prefix("rules#")?).ok());
                let wake: i64 = whole(&found, "wake").unwrap_or(i64::MIN);
                due.extend(gateway.map(|gateway| (wake, gateway)));
            }
        }
        due.sort();
        Ok(due.into_iter().map(|(_, gateway)| gateway).collect())
    }

    fn partition(&self) -> String {
        format!("rules#{}", self.gateway)
    }

    fn key(&self, item: &str) -> HashMap<String, AttributeValue> {
        key(&self.partition(), item)
    }

    fn put_of(&self, item: &str) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(self.key(item)))
    }

    /// The head under its condition, or the condition alone.
    fn head_write(&self, before: u64, head: Option<&Head>) -> Result<TransactWriteItem, StoreError> {
        let condition = match before {
            0 => "attribute_not_exists(revision) OR revision = :before",
            _ => "revision = :before",
        };
        let quiet = ReturnValuesOnConditionCheckFailure::None;
        let Some(head) = head else {
            let check = ConditionCheck::builder().table_name(&self.table).set_key(Some(self.key(HEAD)));
            let check = check.condition_expression(condition).return_values_on_condition_check_failure(quiet);
            let check = check.expression_attribute_values(":before", number(before)).build();
            return Ok(TransactWriteItem::builder().condition_check(check.map_err(unbuilt)?).build());
        };
        let mut put = self.put_of(HEAD).item("revision", number(head.version));
        if let Some(log) = &head.log {
            put = put.item("log", text(&log.writer)).item("pieces", number(log.pieces));
        }
        if let Some(wake) = head.wake {
            put = put.item("wake", number(wake.millis())).item("shard", text(&shard(&self.gateway)));
        }
        let put = put.condition_expression(condition).return_values_on_condition_check_failure(quiet);
        let put = put.expression_attribute_values(":before", number(before)).build();
        Ok(TransactWriteItem::builder().put(put.map_err(unbuilt)?).build())
    }

    fn item_write(&self, item: &str, value: Option<&[u8]>) -> Result<TransactWriteItem, StoreError> {
        let write = TransactWriteItem::builder();
        let write = match value {
            Some(value) => {
                let put = self.put_of(item).item("value", AttributeValue::B(Blob::new(value)));
                write.put(put.build().map_err(unbuilt)?)
            }
            None => {
                let delete = Delete::builder().table_name(&self.table).set_key(Some(self.key(item)));
                write.delete(delete.build().map_err(unbuilt)?)
            }
        };
        Ok(write.build())
    }
}

#[async_trait]
impl Table for RuleTable {
    async fn head(&self) -> Result<Head, StoreError> {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = call.set_key(Some(self.key(HEAD))).send().await;
        let answer = answer.map_err(|error| failure(SERVICE, error.into_service_error()))?;
        let Some(item) = answer.item else { return Ok(Head::default()) };
        let log = match item.get("log").and_then(|value| value.as_s().ok()) {
            Some(writer) => Some(Log { writer: writer.clone(), pieces: required(&item, "pieces")? }),
            None => None,
        };
        let wake: Option<i64> = whole(&item, "wake");
        let wake = wake.and_then(|wake| Timestamp::from_millis(wake).ok());
        Ok(Head { version: required(&item, "revision")?, log, wake })
    }

    async fn items(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let call = self.client.query().table_name(&self.table).consistent_read(true);
        let call = call
            // A reserved word of DynamoDB, as `item` is.
            .key_condition_expression("#partition = :partition")
            .expression_attribute_names("#partition", "partition")
            .expression_attribute_values(":partition", text(&self.partition()));
        let mut pages = call.into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(found) = pages.next().await {
            let mut found = found.map_err(|error| failure(SERVICE, error.into_service_error()))?;
            let Some(AttributeValue::S(item)) = found.remove("item") else { return Err(damaged("item")) };
            if item == HEAD {
                continue;
            }
            let Some(AttributeValue::B(value)) = found.remove("value") else { return Err(damaged("value")) };
            items.push((item, value.into_inner()));
        }
        Ok(items)
    }

    async fn put(&self, item: &str, value: &[u8]) -> Result<(), StoreError> {
        let call = self.client.put_item().table_name(&self.table).set_item(Some(self.key(item)));
        let sent = call.item("value", AttributeValue::B(Blob::new(value))).send().await;
        sent.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }

    async fn remove(&self, item: &str) -> Result<(), StoreError> {
        let call = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(item)));
        call.send().await.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }

    async fn transact(
        &self,
        before: u64,
        head: Option<&Head>,
        items: &[(String, Option<&[u8]>)],
    ) -> Result<bool, StoreError> {
        let mut writes = vec![self.head_write(before, head)?];
        for (item, value) in items {
            writes.push(self.item_write(item, *value)?);
        }
        let sent = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match sent.map_err(|error| error.into_service_error()) {
            Ok(_) => Ok(true),
            Err(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let mut reasons = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                match reasons.find(|code| *code != "None") {
                    // Another transaction has its hands on the same items: it will have moved the head.
                    Some("ConditionalCheckFailed" | "TransactionConflict") => Ok(false),
                    Some("ThrottlingError" | "ProvisionedThroughputExceeded") => {
                        Err(StoreError::Unavailable { service: SERVICE, source: Box::new(cancelled) })
                    }
                    _ => Err(StoreError::Rejected { service: SERVICE, source: Box::new(cancelled) }),
                }
            }
            Err(error) => Err(failure(SERVICE, error)),
        }
    }
}

fn shard(gateway: &GatewayId) -> String {
    let first = Sha256::digest(gateway.as_str().as_bytes()).first().copied().unwrap_or(0);
    (first % SHARDS).to_string()
}

pub(super) fn key(partition: &str, item: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("partition".to_owned(), text(partition)), ("item".to_owned(), text(item))])
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn whole<N: std::str::FromStr>(item: &HashMap<String, AttributeValue>, name: &str) -> Option<N> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn required<N: std::str::FromStr>(
    item: &HashMap<String, AttributeValue>,
    name: &'static str,
) -> Result<N, StoreError> {
    whole(item, name).ok_or_else(|| damaged(name))
}

fn damaged(attribute: &'static str) -> StoreError {
    let source = format!("the attribute \"{attribute}\" of an item cannot be read").into();
    StoreError::Rejected { service: "the table of rules", source }
}

fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::Rejected { service: SERVICE, source: Box::new(error) }
}

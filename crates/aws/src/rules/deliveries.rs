//! What has been delivered, and the history of alarms.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_store::StoreError;

use super::table::{SERVICE, key, number, text};
use crate::{Aws, failure};

/// Who claims a delivery has so long for it; longer than any call of an adapter takes with its retries.
const CLAIM_MS: i64 = 60_000;
/// So long it is known what was delivered. Whatever delivers again does so within hours.
const KEPT_SECONDS: i64 = 14 * 86_400;

/// Whether something is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// By the caller, who then says [`Deliveries::done`].
    Ours,
    /// Somebody else is at it.
    Held,
    /// It is delivered.
    Done,
}

/// Keeps two invocations that hold the same effect from delivering it both. One that is killed between delivery
/// and [`Deliveries::done`] delivers twice after all, under the same id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    client: Client,
    table: String,
}

impl Deliveries {
    /// In the table of [`super::RuleTable`], whose attribute `expires` is its time to live.
    pub fn new(aws: &Aws, table: impl Into<String>) -> Self {
        Self { client: Client::new(aws.config()), table: table.into() }
    }

    /// Claims a delivery.
    ///
    /// # Errors
    /// The table cannot be written; nothing is to be delivered.
    pub async fn claim(&self, gateway: &GatewayId, id: &str, now: Timestamp) -> Result<Claim, StoreError> {
        let values = HashMap::from([
            (":now".to_owned(), number(now.millis())),
            (":until".to_owned(), number(now.millis().saturating_add(CLAIM_MS))),
            (":expires".to_owned(), number(now.millis() / 1_000 + KEPT_SECONDS)),
        ]);
        let call = self.client.update_item().table_name(&self.table).set_key(Some(place(gateway, id)));
        let call = call
            .update_expression("SET held_until = :until, expires = :expires")
            .condition_expression(
                "attribute_not_exists(delivered) AND (attribute_not_exists(held_until) OR held_until < :now)",
            )
            .set_expression_attribute_values(Some(values));
        match call.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
            Ok(_) => return Ok(Claim::Ours),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => {}
            Err(error) => return Err(failure(SERVICE, error)),
        }
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = call.set_key(Some(place(gateway, id))).send().await;
        let answer = answer.map_err(|error| failure(SERVICE, error.into_service_error()))?;
        let delivered = answer.item.is_some_and(|item| item.contains_key("delivered"));
        Ok(if delivered { Claim::Done } else { Claim::Held })
    }

    /// It is delivered.
    ///
    /// # Errors
    /// It is not known to be; it may be delivered again.
    pub async fn done(&self, gateway: &GatewayId, id: &str) -> Result<(), StoreError> {
        let call = self.client.update_item().table_name(&self.table).set_key(Some(place(gateway, id)));
        let call = call
            .update_expression("SET delivered = :yes")
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        call.send().await.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }
}

fn place(gateway: &GatewayId, id: &str) -> HashMap<String, AttributeValue> {
    key(&format!("delivered#{gateway}"), id)
}

/// The lines of alarm histories, by gateway and event time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AlarmHistory {
    client: Client,
    table: String,
    kept: Duration,
}

impl AlarmHistory {
    /// In the same table; a line is kept so long after it was written.
    pub fn new(aws: &Aws, table: impl Into<String>, kept: Duration) -> Self {
        Self { client: Client::new(aws.config()), table: table.into(), kept }
    }

    /// Writes a line of JSON; writing it again changes nothing.
    ///
    /// # Errors
    /// It may or may not have been written.
    pub async fn write(
        &self,
        gateway: &GatewayId,
        id: &str,
        at: Timestamp,
        line: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let kept = i64::try_from(self.kept.as_secs()).unwrap_or(i64::MAX);
        let expires = (now.millis() / 1_000).saturating_add(kept);
        // Times before 1970 sort before all others.
        let item = format!("{:016}#{id}", at.millis().max(0));
        let call = self.client.put_item().table_name(&self.table);
        let call = call.set_item(Some(key(&format!("history#{gateway}"), &item)));
        let sent = call.item("line", text(line)).item("expires", number(expires)).send().await;
        sent.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }
}

//! The items of the table.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use fieldline_model::{Class, GatewayId, StreamId, Timestamp};
use fieldline_store::{HeldStream, ReportedBooks, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The last report of the gateway.
pub(super) const BOOKS: &str = "books";
/// Before the epoch of a stream.
pub(super) const STREAM: &str = "stream#";
/// Before the reason of a count of messages.
pub(super) const REFUSED: &str = "refused#";
/// Before the hash of a message that has been counted.
pub(super) const REFUSED_MESSAGE: &str = "refused-message#";

/// The key of an item.
#[derive(Debug, Clone)]
pub(super) struct Key {
    gateway: GatewayId,
    item: String,
}

impl Key {
    pub(super) fn stream(stream: &StreamId) -> Self {
        Self::new(&stream.gateway, format!("{STREAM}{:014x}", stream.epoch))
    }

    pub(super) fn books(gateway: &GatewayId) -> Self {
        Self::new(gateway, BOOKS.to_owned())
    }

    pub(super) fn own(gateway: &GatewayId) -> Self {
        Self::new(gateway, "own".to_owned())
    }

    pub(super) fn refused(gateway: &GatewayId, reason: &str) -> Self {
        Self::new(gateway, format!("{REFUSED}{reason}"))
    }

    pub(super) fn refused_message(gateway: &GatewayId, hash: &str) -> Self {
        Self::new(gateway, format!("{REFUSED_MESSAGE}{hash}"))
    }

    fn new(gateway: &GatewayId, item: String) -> Self {
        Self { gateway: gateway.clone(), item }
    }

    pub(super) fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("gateway".to_owned(), text(self.gateway.as_str())),
            ("item".to_owned(), text(&self.item)),
        ])
    }
}

/// What stands under a key.
#[derive(Debug)]
pub(super) struct Item(pub(super) HashMap<String, AttributeValue>);

impl Item {
    pub(super) fn name(&self) -> Result<(GatewayId, &str), StoreError> {
        let gateway = GatewayId::new(self.text("gateway")?).map_err(|_not_an_id| damaged("gateway"))?;
        Ok((gateway, self.text("item")?))
    }

    pub(super) fn held(&self) -> Result<HeldStream, StoreError> {
        Ok(HeldStream {
            order: self.json("seqs")?.unwrap_or_default(),
            quarantined: self.json("quarantined")?.unwrap_or_default(),
            place: self.optional_whole("place")?.unwrap_or(0),
            revision: self.optional_whole("revision")?.unwrap_or(0),
        })
    }

    pub(super) fn class(&self) -> Result<Class, StoreError> {
        self.text("lane")?.parse().map_err(|_unknown| damaged("lane"))
    }

    pub(super) fn count(&self) -> Result<u64, StoreError> {
        self.whole("messages")
    }

    pub(super) fn reported(&self) -> Result<ReportedBooks, StoreError> {
        let received = Timestamp::from_nanos(self.whole("received")?);
        Ok(ReportedBooks { books: self.json("books")?.ok_or_else(|| damaged("books"))?, received })
    }

    pub(super) fn whole<T: FromStr>(&self, name: &'static str) -> Result<T, StoreError> {
        self.optional_whole(name)?.ok_or_else(|| damaged(name))
    }

    fn optional_whole<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.as_n().map_err(|_other_type| damaged(name))?;
        number.parse().map(Some).map_err(|_not_whole| damaged(name))
    }

    fn text(&self, name: &'static str) -> Result<&str, StoreError> {
        let value = self.0.get(name).and_then(|value| value.as_s().ok());
        value.map(String::as_str).ok_or_else(|| damaged(name))
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = value.as_s().map_err(|_other_type| damaged(name))?;
        serde_json::from_str(text).map(Some).map_err(|_not_so| damaged(name))
    }
}

/// An attribute that no version of Fieldline wrote so.
pub(super) fn damaged(attribute: &'static str) -> StoreError {
    StoreError::Rejected {
        service: "the ledger",
        source: format!("the attribute \"{attribute}\" of an item cannot be read").into(),
    }
}

pub(super) fn epoch(hex: &str) -> Result<u64, StoreError> {
    u64::from_str_radix(hex, 16).map_err(|_not_hex| damaged("item"))
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_json::to_string(value)
        .map(AttributeValue::S)
        .map_err(|error| StoreError::Rejected { service: "the ledger", source: Box::new(error) })
}

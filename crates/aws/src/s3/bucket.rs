//! The calls of S3 that the store makes.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use fieldline_store::StoreError;

use super::SERVICE;
use super::cache::Cache;
use super::key;
use crate::failure;

/// How often an object is asked for again that broke off while it came; the SDK does not do it.
const READS_MAX: usize = 3;

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The object is not there (any more).
    Gone,
    /// Anything else.
    Store(StoreError),
}

impl Trouble {
    /// For those who know that their object is there.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Gone => unavailable("an object has vanished"),
            Self::Store(error) => error,
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable { service: SERVICE, source: source.into() }
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    /// In bytes.
    pub(super) size: u64,
}

#[derive(Debug)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    cache: Cache,
    damaged: AtomicU64,
}

impl Bucket {
    pub(super) fn new(client: Client, name: String) -> Self {
        Self { client, name, cache: Cache::default(), damaged: AtomicU64::new(0) }
    }

    /// Writes an object unless there is one of that name; whether it was written.
    pub(super) async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<bool, Trouble> {
        let call = self.client.put_object().bucket(&self.name).key(key).if_none_match("*");
        let call = call.content_type("application/vnd.apache.parquet").body(ByteStream::from(bytes));
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(412) => Ok(false),
            Err(error) => Err(trouble(error)),
        }
    }

    /// Deletes an object; that it is gone already is fine.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Trouble> {
        match self.client.delete_object().bucket(&self.name).key(key).send().await.map_err(trouble) {
            Ok(_) | Err(Trouble::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A range of an object's bytes; fewer only where the object ends.
    pub(super) async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes, Trouble> {
        let at = (object.key.clone(), range.start);
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        if let Some(bytes) = self.cache.get(&at, length) {
            return Ok(bytes);
        }
        let mut attempts = 0;
        let bytes = loop {
            attempts += 1;
            let call = self.client.get_object().bucket(&self.name).key(&object.key);
            let whole = range == (0..object.size);
            let last = range.end.saturating_sub(1);
            let part = (!whole).then(|| format!("bytes={}-{last}", range.start));
            let answer = call.set_range(part).send().await.map_err(trouble)?;
            match answer.body.collect().await {
                Ok(body) => break body.into_bytes(),
                Err(error) if attempts >= READS_MAX => return Err(Trouble::Store(unavailable(error))),
                Err(error) => tracing::debug!(%error, "an object broke off; once more"),
            }
        };
        self.cache.put(at, bytes.clone());
        Ok(bytes)
    }

    /// The objects below a prefix, by name.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let call = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = call.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(error).into_error())?;
            for object in page.contents.unwrap_or_default() {
                let size = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                objects.extend(object.key.map(|key| Object { key, size }));
            }
        }
        objects.retain(|object| object.key.ends_with(".parquet"));
        Ok(objects)
    }

    /// The days that there are from one to another, both included, as `2026-11-22`, in their order.
    pub(super) async fn days(&self, from: &str, to: &str) -> Result<Vec<String>, StoreError> {
        let call = self.client.list_objects_v2().bucket(&self.name).prefix(key::DAYS).delimiter("/");
        let call = call.start_after(format!("{}{from}", key::DAYS));
        let mut pages = call.into_paginator().send();
        let mut days = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(error).into_error())?;
            for folder in page.common_prefixes.unwrap_or_default() {
                let day = folder.prefix.as_deref().and_then(|prefix| prefix.strip_prefix(key::DAYS));
                let Some(day) = day.and_then(|day| day.strip_suffix('/')) else { continue };
                if day > to {
                    return Ok(days);
                }
                if day >= from {
                    days.push(day.to_owned());
                }
            }
        }
        Ok(days)
    }

    /// Notes that an object, or a part of one, is passed over.
    pub(super) fn note_damage(&self, object: &Object, damage: &super::decode::Damage) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        let error: &dyn std::error::Error = damage;
        tracing::error!(key = object.key, error, "a damaged object is passed over");
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What a failed call means. S3 tells much by the status alone, and some codes pass that other services
/// do not have.
fn trouble<E>(error: SdkError<E>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    SdkError<E>: ProvideErrorMetadata,
{
    let status = status(&error);
    match (status, error.code()) {
        (Some(404), code) if code != Some("NoSuchBucket") => Trouble::Gone,
        // Two conditional writes met; a request came too slowly; too many came.
        (Some(408 | 409 | 429), _) | (_, Some("RequestTimeout")) | (Some(500..), _) => {
            Trouble::Store(unavailable(error))
        }
        (Some(400..500), None) => {
            Trouble::Store(StoreError::Rejected { service: SERVICE, source: Box::new(error) })
        }
        _ => Trouble::Store(failure(SERVICE, error)),
    }
}

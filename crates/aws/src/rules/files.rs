//! Files of rules in a bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use fieldline_store::StoreError;

use crate::{Aws, failure};

const SERVICE: &str = "S3";
/// The folder of what people upload.
const RULES: &str = "rules/";
/// The folder of what was last taken of each file.
const ACCEPTED: &str = "accepted/";
/// The largest file, in bytes.
const FILE_BYTES_MAX: i64 = 4 << 20;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RuleFiles {
    client: Client,
    bucket: String,
}

impl RuleFiles {
    /// In an existing bucket: `rules/*.toml` and `rules/*.json`.
    pub fn new(aws: &Aws, bucket: impl Into<String>) -> Self {
        Self { client: aws.s3(), bucket: bucket.into() }
    }

    /// Names without the folder, and what tells versions apart.
    ///
    /// # Errors
    /// The bucket cannot be read.
    pub async fn list(&self) -> Result<Vec<(String, String)>, StoreError> {
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(RULES);
        let mut pages = call.into_paginator().send();
        let mut files = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(SERVICE, error.into_service_error()))?;
            for object in page.contents.unwrap_or_default() {
                let Some(name) = object.key().and_then(|key| key.strip_prefix(RULES)) else { continue };
                if name.ends_with(".toml") || name.ends_with(".json") {
                    files.push((name.to_owned(), object.e_tag().unwrap_or_default().to_owned()));
                }
            }
        }
        Ok(files)
    }

    /// What a file says.
    ///
    /// # Errors
    /// It cannot be read, is gone, or is larger than 4 MiB.
    pub async fn read(&self, name: &str) -> Result<String, StoreError> {
        let found = self.get(&format!("{RULES}{name}")).await?;
        found.ok_or_else(|| rejected(format!("the file {name} is gone")))
    }

    /// What was last kept of a file.
    ///
    /// # Errors
    /// As [`RuleFiles::read`].
    pub async fn accepted(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.get(&format!("{ACCEPTED}{name}")).await
    }

    /// Keeps the text of a file.
    ///
    /// # Errors
    /// The bucket cannot be written.
    pub async fn accept(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let call = self.client.put_object().bucket(&self.bucket).key(format!("{ACCEPTED}{name}"));
        let sent = call.body(ByteStream::from(text.as_bytes().to_vec())).send().await;
        sent.map(drop).map_err(|error| failure(SERVICE, error.into_service_error()))
    }

    async fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let answer = match sent.map_err(|error| error.into_service_error()) {
            Ok(answer) => answer,
            Err(GetObjectError::NoSuchKey(_)) => return Ok(None),
            Err(error) => return Err(failure(SERVICE, error)),
        };
        if answer.content_length().unwrap_or(i64::MAX) > FILE_BYTES_MAX {
            return Err(rejected(format!("{key} is larger than {FILE_BYTES_MAX} bytes")));
        }
        let bytes = answer.body.collect().await;
        let bytes =
            bytes.map_err(|error| StoreError::Unavailable { service: SERVICE, source: Box::new(error) })?;
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_other| rejected(format!("{key} is no text in UTF-8")))
    }
}

fn rejected(reason: String) -> StoreError {
    StoreError::Rejected { service: SERVICE, source: reason.into() }
}

//! An SQS queue behind an endpoint, by SQS's JSON protocol and without a signature.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::emulator;

/// A queue in an emulator.
#[derive(Debug, Clone)]
pub struct Queue {
    endpoint: SocketAddr,
    url: String,
}

impl Queue {
    /// The queue with this URL, at the emulator's address whatever host the URL names.
    pub fn new(endpoint: SocketAddr, url: impl Into<String>) -> Self {
        Self { endpoint, url: url.into() }
    }

    /// Up to ten messages, with all their attributes; waits for a second if there are none.
    ///
    /// # Errors
    /// The emulator does not answer, or not with messages.
    pub fn receive(&self) -> Result<Vec<Value>> {
        let answer = self.call(
            "ReceiveMessage",
            json!({
                "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1,
                "AttributeNames": ["All"], "MessageAttributeNames": ["All"],
            }),
        )?;
        Ok(answer["Messages"].as_array().cloned().unwrap_or_default())
    }

    /// A message is done with.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub fn delete(&self, receipt: &str) -> Result<()> {
        self.call("DeleteMessage", json!({ "ReceiptHandle": receipt })).map(drop)
    }

    /// A message may come again at once.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub fn give_back(&self, receipt: &str) -> Result<()> {
        let body = json!({ "ReceiptHandle": receipt, "VisibilityTimeout": 0 });
        self.call("ChangeMessageVisibility", body).map(drop)
    }

    /// How many messages wait or are in somebody's hand.
    ///
    /// # Errors
    /// As [`Queue::receive`].
    pub fn depth(&self) -> Result<u64> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let answer = self.call("GetQueueAttributes", json!({ "AttributeNames": names }))?;
        let count = |name: &str| answer["Attributes"][name].as_str()?.parse::<u64>().ok();
        names.into_iter().map(|name| count(name).context("a number of messages")).sum()
    }

    fn call(&self, action: &str, mut body: Value) -> Result<Value> {
        body["QueueUrl"] = json!(self.url);
        emulator::call(self.endpoint, "sqs", &format!("AmazonSQS.{action}"), &body)
    }
}

//! Blocks of the random-walk set, as the functions' events.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_model::{Class, GatewayId, Quality, ReadingRef, StreamId, Timestamp, ValueRef};
use fieldline_wire::BlockBuilder;
use serde_json::json;

use crate::walk::{BASE_S, SERIES, Walk};

const METRICS_PER_DEVICE: usize = 20;
const NANOS: i64 = 1_000_000_000;

/// How much is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockSize {
    /// 3,000 readings: what 100 signals a second make in half a minute.
    Live,
    /// 30,000 readings.
    Usual,
    /// About the 131,072 readings that an agent puts into a block when it sends a backlog.
    Full,
}

impl BlockSize {
    fn seconds(self) -> i64 {
        match self {
            Self::Live => 3,
            Self::Usual => 30,
            Self::Full => 131,
        }
    }
}

/// One block after the other, of one stream.
pub(crate) struct Feed {
    size: BlockSize,
    walk: Walk,
    second: i64,
    encoded: Vec<u8>,
}

impl Feed {
    pub(crate) fn new(size: BlockSize) -> Self {
        Self { size, walk: Walk::new(1), second: 0, encoded: Vec::new() }
    }

    pub(crate) fn readings(&self) -> u64 {
        self.size.seconds().unsigned_abs() * SERIES as u64
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.encoded.len()
    }

    pub(crate) fn next_block(&mut self) -> Result<()> {
        let epoch = 7 + self.size.seconds().unsigned_abs();
        let stream = StreamId { gateway: GatewayId::new("bench")?, epoch };
        let first = self.second.unsigned_abs() * SERIES as u64 + 1;
        let mut builder = BlockBuilder::new(stream, Class::History, first);
        for _ in 0..self.size.seconds() {
            let time = Timestamp::from_nanos((BASE_S + self.second) * NANOS);
            for (series, value) in self.walk.step().into_iter().enumerate() {
                let device = format!("machine-{:02}", series / METRICS_PER_DEVICE);
                let metric = format!("signal_{:02}", series % METRICS_PER_DEVICE);
                let (device, metric, value) = (device.as_str(), metric.as_str(), ValueRef::Float(value));
                builder.push(ReadingRef { device, metric, time, value, quality: Quality::Good });
            }
            self.second += 1;
        }
        self.encoded = builder.finish().context("an empty block")?.encode();
        Ok(())
    }

    fn text(&mut self) -> Result<String> {
        if self.encoded.is_empty() {
            self.next_block()?;
        }
        Ok(BASE64.encode(&self.encoded))
    }

    /// What the topic rule makes of the block.
    pub(crate) fn rule_event(&mut self) -> Result<String> {
        let received = BASE_S * 1_000;
        Ok(json!({ "gateway": "bench", "received": received, "block": self.text()? }).to_string())
    }

    /// What the queue makes of it: a batch of one.
    pub(crate) fn queue_event(&mut self) -> Result<String> {
        let message = json!({
            "messageId": "bench", "receiptHandle": "bench", "body": self.text()?, "attributes": {},
            "messageAttributes": {
                "gateway": { "stringValue": "bench", "dataType": "String" },
                "received": { "stringValue": (BASE_S * 1_000).to_string(), "dataType": "Number" },
            },
            "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        });
        Ok(json!({ "Records": [message] }).to_string())
    }
}

//! What AWS asks for: list prices of us-east-1, in dollars, without any free tier, as of November 2025.

use std::collections::BTreeMap;
use std::time::Duration;

use fieldline_tests::cloud::Volume;

/// AWS IoT Core: a rule that was triggered and an action that was executed, for each 5 KB of the message.
/// With Basic Ingest the message itself is free.
const RULE_AND_ACTION: f64 = 0.15e-6 + 0.15e-6;
const IOT_UNIT: f64 = 5.0 * 1024.0;
/// AWS IoT Core: a message to or from a device, of up to 5 KB.
const IOT_MESSAGE: f64 = 1.0e-6;
const LAMBDA_REQUEST: f64 = 0.20e-6;
/// Lambda on arm64, for a GB and a second.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// Lambda gives a whole processor at this much memory, and less of one in proportion.
const LAMBDA_PROCESSOR_MIB: f64 = 1769.0;
/// What a call to another service takes, at a guess; a function is paid while it waits.
const CALL: Duration = Duration::from_millis(8);
/// SNS FIFO: publish and delivery to a queue, by the message of whatever size, and by the GB.
const SNS_PUBLISH: f64 = 0.30e-6 + 0.01e-6;
const SNS_BYTE: f64 = 0.017e-9 + 0.001e-9;
/// SQS FIFO: a request, for each 64 KB. A block that comes alone is sent, received and deleted.
const SQS_REQUEST: f64 = 0.50e-6;
const SQS_UNIT: f64 = 64.0 * 1024.0;
/// DynamoDB on demand: items of ours are smaller than 1 KB.
const DYNAMODB_WRITE: f64 = 0.625e-6;
const DYNAMODB_READ: f64 = 0.125e-6;
const S3_PUT: f64 = 5.0e-6;
const S3_GET: f64 = 0.4e-6;
/// Timestream for LiveAnalytics: each KiB written.
const TIMESTREAM_KIB: f64 = 0.50e-6;
/// The memory of the functions, as the template's parameters have it by default.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    Ingest,
    Storage,
}

impl Memory {
    fn mib(self) -> f64 {
        match self {
            Self::Ingest => 256.0,
            Self::Storage => 512.0,
        }
    }
}

/// What blocks have cost so far.
#[derive(Debug, Default)]
pub(crate) struct Bill(f64);

impl Bill {
    /// A block on its way from the gateway to the queue of `storage`, and its acknowledgement back.
    pub(crate) fn block(&mut self, bytes: usize) {
        let base64 = bytes as f64 * 4.0 / 3.0;
        self.0 += RULE_AND_ACTION * (bytes as f64 / IOT_UNIT).ceil();
        let units = (base64 / SQS_UNIT).ceil();
        self.0 += SNS_PUBLISH + SNS_BYTE * base64;
        self.0 += SQS_REQUEST * (units + units + 1.0);
        // Published by `storage`, delivered to the gateway.
        self.0 += IOT_MESSAGE * 2.0;
    }

    /// A function ran: the processor time it took, at the share of a processor that its memory brings.
    pub(crate) fn invocation(&mut self, memory: Memory, processor: Duration) {
        let share = (memory.mib() / LAMBDA_PROCESSOR_MIB).min(1.0);
        self.0 += LAMBDA_REQUEST;
        self.seconds(memory, processor.as_secs_f64() / share);
    }

    fn seconds(&mut self, memory: Memory, seconds: f64) {
        self.0 += LAMBDA_GB_SECOND * memory.mib() / 1024.0 * seconds;
    }

    /// What the functions asked of other services, and the time that they waited for it.
    pub(crate) fn calls(&mut self, calls: &BTreeMap<String, Volume>) {
        for (operation, volume) in calls {
            let count = volume.calls as f64;
            self.seconds(Memory::Storage, count * CALL.as_secs_f64());
            self.0 += match operation.as_str() {
                "dynamodb GetItem" | "dynamodb Query" => DYNAMODB_READ * count,
                "dynamodb TransactWriteItems" => DYNAMODB_WRITE * 4.0 * count,
                name if name.starts_with("dynamodb ") => DYNAMODB_WRITE * count,
                "s3 GET" | "s3 HEAD" => S3_GET * count,
                name if name.starts_with("s3 ") => S3_PUT * count,
                // SNS and IoT are counted with the block, Timestream by what it bills.
                _ => 0.0,
            };
        }
    }

    /// What Timestream bills, in KiB.
    pub(crate) fn timestream(&mut self, kibibytes: u64) {
        self.0 += TIMESTREAM_KIB * kibibytes as f64;
    }

    pub(crate) fn dollars(&self) -> f64 {
        self.0
    }
}

/// A billion readings, each in a JSON message of its own to AWS IoT Core, a rule, a function of 128 MiB that
/// runs for 5 ms, and a record of Timestream.
pub(crate) fn naive() -> f64 {
    let function = LAMBDA_REQUEST + LAMBDA_GB_SECOND * 0.125 * 0.005;
    (IOT_MESSAGE + RULE_AND_ACTION + function + TIMESTREAM_KIB) * 1e9
}

//! The function `rules` against an emulator.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_wire::Block;
use serde_json::{Value, json};

use super::{Ending, FunctionSpec, Host, Queue};
use crate::emulator::Emulator;
use crate::programs;

/// The table of the rules' state.
pub const TABLE: &str = "fieldline-rules";

/// Where files of rules lie.
const BUCKET: &str = "fieldline-rules";

/// What the function needs; the queue gets what the topic is told.
///
/// # Errors
/// The emulator refuses.
pub fn prepare(emulator: &Emulator, rules: &str) -> Result<(String, Queue)> {
    emulator.create_rules_table(TABLE)?;
    emulator.create_bucket(BUCKET)?;
    emulator.put_object(BUCKET, "rules/plant.toml", rules.as_bytes())?;
    let topic = emulator.create_topic("fieldline-alarms")?;
    let queue = emulator.create_standard("fieldline-alarms", &topic)?;
    Ok((topic, queue))
}

/// Deploys the function's binary.
///
/// # Errors
/// It cannot be built.
pub fn deploy(host: &Host, folder: &Path, emulator: &Emulator, topic: &str) -> Result<()> {
    let mut environment = crate::emulator::variables(emulator.address());
    let endpoint = format!("http://{}", emulator.address());
    for (name, value) in [
        ("FIELDLINE_IOT_ENDPOINT", endpoint.as_str()),
        ("FIELDLINE_RULES_TABLE", TABLE),
        ("FIELDLINE_RULES_BUCKET", BUCKET),
        ("FIELDLINE_RULES_TOPIC_ARN", topic),
        ("FIELDLINE_RULES_HISTORY_DAYS", "400"),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    host.deploy(FunctionSpec {
        name: "rules".to_owned(),
        program: programs::function("rules")?.to_owned(),
        environment,
        timeout: Duration::from_secs(60),
        log: folder.join("rules.log"),
    });
    Ok(())
}

/// The messages that come again.
///
/// # Errors
/// The function fails.
pub fn invoke(host: &Host, event: &Value) -> Result<Value> {
    match host.invoke("rules", event.to_string())? {
        Ending::Answer(answer) => Ok(serde_json::from_slice::<Value>(&answer)?["batchItemFailures"].clone()),
        Ending::Failure(failure) => bail!("rules has failed: {}", String::from_utf8_lossy(&failure)),
    }
}

/// An event of the queue with these blocks.
pub fn batch(blocks: &[&Block]) -> Value {
    let record = |(number, block): (usize, &&Block)| {
        json!({
            "messageId": number.to_string(), "receiptHandle": "r", "body": BASE64.encode(block.encode()),
            "attributes": {}, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        })
    };
    json!({ "Records": blocks.iter().enumerate().map(record).collect::<Vec<_>>() })
}

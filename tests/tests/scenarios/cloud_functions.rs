//! The functions' binaries over Lambda's Runtime API, against moto, and LocalStack where it is there.

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_model::{Class, GatewayId, Quality, ReadingRef, StreamId, Timestamp, ValueRef};
use fieldline_tests::cloud::{Ending, FunctionSpec, Host, Services};
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{machine, programs};
use fieldline_wire::BlockBuilder;
use serde_json::{Value, json};

fn block(gateway: &str, first: u64) -> Result<Vec<u8>> {
    let stream = StreamId { gateway: GatewayId::new(gateway)?, epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, first);
    for seq in first..first + 10 {
        builder.push(ReadingRef {
            device: "press-4",
            metric: "temperature",
            time: Timestamp::from_nanos(1_795_341_600_000_000_000 + seq.cast_signed()),
            value: ValueRef::Float(seq as f64),
            quality: Quality::Good,
        });
    }
    Ok(builder.finish().map(|block| block.encode()).unwrap_or_default())
}

fn event(payload: &[u8]) -> String {
    json!({ "gateway": "gw-1", "received": 1_795_341_600_000_i64, "block": BASE64.encode(payload) })
        .to_string()
}

fn spec(name: &str, folder: &std::path::Path, environment: Vec<(String, String)>) -> Result<FunctionSpec> {
    Ok(FunctionSpec {
        name: name.to_owned(),
        program: programs::function(name)?.to_owned(),
        environment,
        timeout: Duration::from_secs(20),
        log: folder.join(format!("{name}.log")),
    })
}

#[test]
fn ingest_hands_blocks_to_the_queue_once_and_in_order_of_their_stream() -> Result<()> {
    hands_blocks_to_the_queue(Services::Moto)
}

#[test]
fn ingest_hands_blocks_to_localstacks_queue_once_and_in_order_of_their_stream() -> Result<()> {
    hands_blocks_to_the_queue(Services::LocalStack)
}

fn hands_blocks_to_the_queue(services: Services) -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(emulators) = services.start(folder.path())? else { return Ok(()) };
    emulators.most().create_bucket("quarantine")?;
    emulators.tables().create_ledger_table("ledger")?;
    let (topic, queue, _) = emulators.most().create_fifo("blocks", 5)?;
    let host = Host::start()?;
    let mut environment = emulators.variables(Ok)?;
    for (name, value) in [
        ("FIELDLINE_BLOCKS_TOPIC_ARN", topic.as_str()),
        ("FIELDLINE_LEDGER_TABLE", "ledger"),
        ("FIELDLINE_QUARANTINE_BUCKET", "quarantine"),
        ("FIELDLINE_IOT_ENDPOINT", "http://127.0.0.1:9"),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    host.deploy(spec("ingest", folder.path(), environment)?);
    for first in [1, 11, 1] {
        let ending = host.invoke("ingest", event(&block("gw-1", first)?))?;
        ensure!(matches!(ending, Ending::Answer(_)), "{ending:?}");
    }
    let mut bodies = Vec::new();
    until("two messages", PATIENCE, || {
        for message in queue.receive()? {
            bodies.push(BASE64.decode(message["Body"].as_str().unwrap_or_default())?);
            ensure!(message["MessageAttributes"]["gateway"]["StringValue"] == "gw-1", "{message}");
            queue.delete(message["ReceiptHandle"].as_str().unwrap_or_default())?;
        }
        Ok((bodies.len() >= 2).then_some(()))
    })?;
    ensure!(
        bodies == [block("gw-1", 1)?, block("gw-1", 11)?],
        "the resend is one message, the order is kept"
    );
    ensure!(queue.depth()? == 0, "nothing is left");

    // What is no block is quarantined, and the function lives on.
    let ending = host.invoke("ingest", event(b"ten bytes."))?;
    let Ending::Answer(answer) = ending else { anyhow::bail!("{ending:?}") };
    ensure!(serde_json::from_slice::<Value>(&answer)?["quarantined"].is_string(), "{answer:?}");
    let (kept, _) = emulators.most().objects("quarantine")?;
    ensure!(kept.len() == 1, "the bucket of quarantine holds {kept:?}");
    // What no topic rule makes is a function error.
    let ending = host.invoke("ingest", json!({ "nonsense": true }).to_string())?;
    ensure!(matches!(ending, Ending::Failure(_)), "{ending:?}");
    host.kill("ingest");
    let ending = host.invoke("ingest", event(&block("gw-1", 21)?))?;
    ensure!(matches!(ending, Ending::Answer(_)), "after a kill: {ending:?}");
    Ok(())
}

#[test]
fn a_setting_that_is_missing_or_wrong_is_named_at_the_start() -> Result<()> {
    for (name, value, told) in [
        ("FIELDLINE_IOT_ENDPOINT", "iot.example", "FIELDLINE_IOT_ENDPOINT is \\\"iot.example\\\""),
        ("FIELDLINE_LEDGER_TABLE", "", "FIELDLINE_LEDGER_TABLE is not set"),
    ] {
        let good = [
            ("FIELDLINE_BLOCKS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:blocks.fifo"),
            ("FIELDLINE_LEDGER_TABLE", "ledger"),
            ("FIELDLINE_QUARANTINE_BUCKET", "quarantine"),
            ("FIELDLINE_IOT_ENDPOINT", "http://127.0.0.1:9"),
        ];
        let output = std::process::Command::new(programs::function("ingest")?)
            .envs(good)
            .env(name, value)
            .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains(told), "{name}: {} {said}", output.status);
    }
    Ok(())
}

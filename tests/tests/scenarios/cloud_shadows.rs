//! Device shadows in AWS IoT's data plane, and the function that keeps them, against moto.
//!
//! Where moto 5.2.5 differs from AWS IoT nothing is asked of it: it refuses shadows of things that are not
//! registered, keeps empty sections, and knows no limit of size.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fieldline_aws::{Aws, IotShadows};
use fieldline_model::{
    Books, Class, GatewayId, Quality, ReadingRef, ShadowId, ShadowName, StreamId, ThingName, Timestamp,
    ValueRef,
};
use fieldline_tests::cloud::{Ending, FunctionSpec, Host, Services};
use fieldline_tests::emulator::Emulator;
use fieldline_tests::publisher::runtime;
use fieldline_tests::{machine, moto, programs};
use fieldline_wire::{Block, BlockBuilder};
use serde_json::{Value, json};
use shadow::{Document, Newest, Outcome, Things, Written, telemetry};

const DAY_MS: i64 = 1_795_341_600_000;

async fn shadows(moto: &Emulator) -> IotShadows {
    let endpoint = format!("http://{}", moto.address());
    IotShadows::new(&Aws::emulator(&endpoint, Duration::from_secs(10)).await, &endpoint)
}

fn id(thing: &str, name: &str) -> Result<ShadowId> {
    Ok(ShadowId { thing: ThingName::new(thing)?, name: Some(ShadowName::new(name)?) })
}

fn at(millis: i64) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(DAY_MS + millis)?)
}

/// Readings of `press-4`: metric, milliseconds, value.
fn block(readings: &[(&str, i64, f64)]) -> Result<Block> {
    let stream = StreamId { gateway: GatewayId::new("gw-1")?, epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, 1);
    for (metric, millis, value) in readings {
        let value = ValueRef::Float(*value);
        builder.push(ReadingRef {
            device: "press-4",
            metric,
            time: at(*millis)?,
            value,
            quality: Quality::Good,
        });
    }
    builder.finish().context("readings make a block")
}

async fn reported(things: &dyn Things, thing: &str, name: &str) -> Result<Value> {
    let found = things.get(&id(thing, name)?).await.map_err(anyhow::Error::from_boxed)?;
    Ok(json!(found.context("there is a shadow")?.reported))
}

#[test]
fn shadows_merge_lose_leaves_by_null_and_refuse_an_old_version() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    moto.create_thing("press-4")?;
    runtime()?.block_on(async {
        let shadows = shadows(&moto).await;
        let things: &dyn Things = &shadows;
        let boxed = anyhow::Error::from_boxed;
        let (named, other) = (id("press-4", "telemetry")?, id("press-4", "config")?);
        ensure!(things.get(&named).await.map_err(boxed)?.is_none(), "there is no shadow yet");
        let first = json!({ "state": { "reported": { "a.b{c=d}": { "value": 1, "at": 5 }, "gone": 2 } } });
        ensure!(things.update(&named, &first).await.map_err(boxed)? == Outcome::Done);
        let second =
            json!({ "state": { "reported": { "a.b{c=d}": { "at": 6 }, "gone": null } }, "version": 1 });
        ensure!(things.update(&named, &second).await.map_err(boxed)? == Outcome::Done);
        ensure!(
            things.update(&named, &second).await.map_err(boxed)? == Outcome::Conflict,
            "it has version 2"
        );
        let found = things.get(&named).await.map_err(boxed)?.context("there is one")?;
        let expected = json!({ "a.b{c=d}": { "value": 1, "at": 6 } });
        ensure!(json!(found.reported) == expected && found.version == 2, "{found:?}");
        // Another shadow of the thing has nothing to do with it; what is desired shows as its delta.
        let desired = json!({ "state": { "desired": { "speed": 3 }, "reported": { "speed": 2 } } });
        ensure!(things.update(&other, &desired).await.map_err(boxed)? == Outcome::Done);
        let raw = shadows.get(&other).await?.context("there is one")?;
        let raw: Value = serde_json::from_slice(&raw)?;
        ensure!(raw["state"]["delta"] == json!({ "speed": 3 }), "{raw}");
        ensure!(Document::of(raw).version == 1);
        // What is no answer of shadows is an error, and names the service.
        let nobody = things.update(&id("nobody", "telemetry")?, &first).await;
        ensure!(nobody.is_err_and(|error| error.to_string().contains("AWS IoT")));
        Ok(())
    })
}

#[test]
fn the_newest_readings_come_to_a_shadow_in_aws_iot() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    moto.create_thing("press-4")?;
    runtime()?.block_on(async {
        let things = shadows(&moto).await;
        let show = async |readings: &[(&str, i64, f64)]| -> Result<Written> {
            let mut newest = Newest::default();
            newest.add(&block(readings)?, at(0)?);
            let (device, metrics) = newest.devices.iter().next().context("one device")?;
            Ok(telemetry(device, metrics, &things).await?)
        };
        let updated = Written::Updated { dropped: 0 };
        ensure!(show(&[("t", 1, 21.5), ("u", 1, 1.0)]).await? == updated);
        ensure!(show(&[("t", 1, 21.5), ("u", 1, 1.0)]).await? == Written::Unchanged, "it came again");
        ensure!(show(&[("t", -5, 99.0)]).await? == Written::Unchanged, "it is late");
        ensure!(show(&[("t", 2, 22.25)]).await? == updated);
        let expected = json!({
            "t": { "value": 22.25, "at": DAY_MS + 2 }, "u": { "value": 1.0, "at": DAY_MS + 1 },
        });
        let found = reported(&things, "press-4", "telemetry").await?;
        ensure!(found == expected, "{found}");
        Ok(())
    })
}

fn message(id: &str, body: &str) -> Value {
    let received = json!({ "stringValue": DAY_MS.to_string(), "dataType": "Number" });
    json!({
        "messageId": id, "receiptHandle": id, "body": body, "attributes": {},
        "messageAttributes": { "received": received }, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
    })
}

#[test]
fn the_function_shows_a_batch_and_names_what_has_to_come_again() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(emulators) = Services::Moto.start(folder.path())? else { return Ok(()) };
    for thing in ["press-4", "gw-1"] {
        emulators.most().create_thing(thing)?;
    }
    let mut environment = emulators.variables(Ok)?;
    let endpoint = format!("http://{}", emulators.most().address());
    environment.push(("FIELDLINE_IOT_ENDPOINT".to_owned(), endpoint));
    let host = Host::start()?;
    host.deploy(FunctionSpec {
        name: "shadow".to_owned(),
        program: programs::function("shadow")?.to_owned(),
        environment,
        timeout: Duration::from_secs(30),
        log: folder.path().join("shadow.log"),
    });
    let books = json!({
        "books": BASE64.encode(serde_json::to_vec(&Books::default())?), "gateway": "gw-1", "received": DAY_MS,
    });
    let lifecycle = |client: &str| {
        json!({
            "clientId": client, "timestamp": DAY_MS, "eventType": "connected", "versionNumber": 3,
            "principalIdentifier": "ab".repeat(32), "sessionIdentifier": "s", "ipAddress": "127.0.0.1",
        })
    };
    let event = json!({ "Records": [
        message("1", &BASE64.encode(block(&[("t", 2, 2.0)])?.encode())),
        message("2", &BASE64.encode(block(&[("t", 1, 1.0)])?.encode())),
        message("3", &books.to_string()),
        message("4", &lifecycle("gw-1").to_string()),
        // moto refuses it, as AWS IoT refuses when it is throttled.
        message("5", &lifecycle("nobody").to_string()),
    ]});
    let Ending::Answer(answer) = host.invoke("shadow", event.to_string())? else {
        anyhow::bail!("shadow has failed")
    };
    let answer: Value = serde_json::from_slice(&answer)?;
    ensure!(answer == json!({ "batchItemFailures": [{ "itemIdentifier": "5" }] }), "{answer}");
    runtime()?.block_on(async {
        let things = shadows(emulators.most()).await;
        let expected = json!({ "t": { "value": 2.0, "at": DAY_MS + 2 } });
        ensure!(reported(&things, "press-4", "telemetry").await? == expected);
        ensure!(reported(&things, "gw-1", "health").await?["unaccounted"] == 0);
        let expected = json!({ "connected": true, "last_seen": DAY_MS, "session": 3 });
        ensure!(reported(&things, "gw-1", "presence").await? == expected);
        Ok(())
    })
}

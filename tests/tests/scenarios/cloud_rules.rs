//! Rules on AWS, against moto: the function's binary, and runners on the real adapters that compete for a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use fieldline_aws::{AlarmHistory, AlarmSender, Aws, Deliveries, IotMessages, IotShadows, RuleTable};
use fieldline_model::{
    Class, GatewayId, Quality, ReadingRef, ShadowId, StreamId, ThingName, Timestamp, ValueRef,
};
use fieldline_rules::{Documents, Host as RuleHost, Limits};
use fieldline_tests::cloud::{Host, Queue, Services, rules as deployed};
use fieldline_tests::publisher::runtime;
use fieldline_tests::{machine, moto};
use fieldline_wire::{Block, BlockBuilder};
use rules::aws::{CloudOutlet, DynamoState, Outlets};
use rules::{CommitError, Runner};
use serde_json::{Value, json};

/// So many that their alarms are more changes than one transaction of DynamoDB takes.
const DEVICES: usize = 60;

const RULES: &str = r#"
[[rules]]
name = "hot"
when = "t > 80.0"
severity = "critical"
then = [{ notify = { target = "ops" } }]

[[rules]]
name = "lasting"
devices = ["press-0"]
when = "t > 80.0"
for = "30s"
then = [{ desired = { state = { fan = true } } }, { command = { command = "stop" } }]
"#;

/// A reading of each of these devices.
fn block(epoch: u64, first: u64, devices: &[usize], time: Timestamp, value: f64) -> Result<Block> {
    let stream = StreamId { gateway: GatewayId::new("gw-1")?, epoch };
    let mut builder = BlockBuilder::new(stream, Class::Live, first);
    for device in devices {
        let (device, value) = (format!("press-{device}"), ValueRef::Float(value));
        builder.push(ReadingRef { device: &device, metric: "t", time, value, quality: Quality::Good });
    }
    builder.finish().context("readings make a block")
}

/// All messages that are there, by id and type, and how often each has come.
fn heard(queue: &Queue) -> Result<BTreeMap<(String, String), usize>> {
    let mut heard = BTreeMap::new();
    loop {
        let messages = queue.receive()?;
        if messages.is_empty() {
            return Ok(heard);
        }
        for message in messages {
            let event: Value = serde_json::from_str(message["Body"].as_str().context("a body")?)?;
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            ensure!(event["specversion"] == "1.0" && text("source") == "/fieldline/gw-1", "{event}");
            let attribute = &message["MessageAttributes"]["severity"]["StringValue"];
            ensure!(attribute == "critical" || attribute == "warning", "{message}");
            *heard.entry((text("id"), text("type"))).or_default() += 1;
            queue.delete(message["ReceiptHandle"].as_str().context("a receipt")?)?;
        }
    }
}

fn counted(heard: &BTreeMap<(String, String), usize>, kind: &str) -> usize {
    heard.iter().filter(|((_, told), _)| told == kind).map(|(_, times)| times).sum()
}

#[test]
fn the_function_tells_each_alarm_once_over_kills_and_redeliveries() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(emulators) = Services::Moto.start(folder.path())? else { return Ok(()) };
    let emulator = emulators.most();
    let (topic, queue) = deployed::prepare(emulator, RULES)?;
    emulator.create_thing("press-0")?;
    let host = Host::start()?;
    deployed::deploy(&host, folder.path(), emulator, &topic)?;

    // A minute and a half old: what lasts for 30 s is due, by the clock alone.
    let then = Timestamp::from_system(SystemTime::now() - Duration::from_secs(90));
    let devices: Vec<usize> = (0..DEVICES).collect();
    let excursion = block(7, 1, &devices, then, 90.0)?;
    let minute = json!({ "source": "aws.events", "detail-type": "Scheduled Event", "detail": {} });
    ensure!(deployed::invoke(&host, &deployed::batch(&[&excursion, &excursion]))? == json!([]));
    let first = heard(&queue)?;
    ensure!(counted(&first, "io.fieldline.alarm.raised") >= DEVICES, "{first:?}");
    ensure!(counted(&first, "io.fieldline.notification") == DEVICES, "{first:?}");
    ensure!(first.values().all(|times| *times == 1), "{first:?}");

    // Whoever is killed has committed or not; the queue delivers again, and minutes pass.
    for _ in 0..3 {
        host.kill("rules");
        ensure!(deployed::invoke(&host, &deployed::batch(&[&excursion]))? == json!([]));
        ensure!(deployed::invoke(&host, &minute)? == json!([]));
    }
    let mut all = first;
    all.extend(heard(&queue)?);
    ensure!(counted(&all, "io.fieldline.alarm.raised") <= DEVICES + 1, "nothing twice: {all:?}");
    ensure!(counted(&all, "io.fieldline.notification") == DEVICES, "nothing twice: {all:?}");

    // What ends is told, too, and nothing of it was lost over the kills.
    let now = Timestamp::from_system(SystemTime::now());
    let calm = block(7, 1 + DEVICES as u64, &devices, now, 20.0)?;
    ensure!(deployed::invoke(&host, &deployed::batch(&[&calm]))? == json!([]));
    all.extend(heard(&queue)?);
    ensure!(counted(&all, "io.fieldline.alarm.raised") == DEVICES + 1, "and the one that lasts: {all:?}");
    ensure!(counted(&all, "io.fieldline.alarm.returned") == DEVICES + 1, "{all:?}");
    ensure!(counted(&all, "io.fieldline.notification") == 2 * DEVICES, "{all:?}");
    let desired = runtime()?.block_on(async {
        let endpoint = format!("http://{}", emulator.address());
        let shadows = IotShadows::new(&Aws::emulator(&endpoint, Duration::from_secs(10)).await, &endpoint);
        let shadow = shadows.get(&ShadowId { thing: ThingName::new("press-0")?, name: None }).await?;
        anyhow::Ok(serde_json::from_slice::<Value>(&shadow.context("a shadow")?)?)
    })?;
    ensure!(desired["state"]["desired"] == json!({ "fan": true }), "{desired}");
    Ok(())
}

/// A process that holds the gateway, as far as rules are concerned.
async fn open(aws: &Aws, outlets: &Arc<Outlets>, now: Timestamp) -> Result<Runner> {
    let gateway = GatewayId::new("gw-1")?;
    let state = Arc::new(DynamoState::new(RuleTable::new(aws, deployed::TABLE, gateway.clone())));
    let outlet = Arc::new(CloudOutlet::new(Arc::clone(outlets), gateway));
    let mut runner = Runner::open(RuleHost::Server, Limits::default(), state, outlet, now).await?;
    let loaded = runner.load(now, &Documents::from_toml(RULES)?).await?;
    ensure!(loaded.refused.is_empty(), "{loaded:?}");
    Ok(runner)
}

#[test]
fn of_two_runners_of_a_gateway_one_is_refused_and_nothing_is_doubled() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    let (topic, queue) = deployed::prepare(&moto, RULES)?;
    moto.create_thing("press-0")?;
    runtime()?.block_on(async {
        let endpoint = format!("http://{}", moto.address());
        let aws = Aws::emulator(&endpoint, Duration::from_secs(10)).await;
        let clock = || Timestamp::from_system(SystemTime::now());
        let outlets = Arc::new(Outlets {
            deliveries: Deliveries::new(&aws, deployed::TABLE),
            history: AlarmHistory::new(&aws, deployed::TABLE, Duration::from_secs(86_400)),
            sender: AlarmSender::new(&aws, &topic),
            messages: IotMessages::new(&aws, &endpoint),
            shadows: IotShadows::new(&aws, &endpoint),
            clock,
        });
        let now = clock();
        let (mut one, mut other) = (open(&aws, &outlets, now).await?, open(&aws, &outlets, now).await?);
        let mut conflicts = 0;
        for round in 1..=5 {
            // Each has a stream of its own, and one device in common with nobody.
            let first = block(1, round, &[100 + round as usize], now, 90.0)?;
            let second = block(2, round, &[200 + round as usize], now, 90.0)?;
            one.blocks(now, [&first].into_iter()).await?;
            let refused = other.blocks(now, [&second].into_iter()).await;
            ensure!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
            conflicts += 1;
            // It has the outbox of the first one, who has delivered all of it and not noted that.
            other = open(&aws, &outlets, now).await?;
            other.blocks(now, [&first, &second].into_iter()).await?;
            other.tick(now).await?;
            ensure!(other.outbox() == 0, "{} effects wait", other.outbox());
            let refused = one.tick(now).await;
            ensure!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
            one = open(&aws, &outlets, now).await?;
        }
        let due = RuleTable::due(&aws, deployed::TABLE, now).await?;
        ensure!(due.is_empty(), "everything is delivered and noted: {due:?}");
        ensure!(conflicts == 5);
        anyhow::Ok(())
    })?;
    let heard = heard(&queue)?;
    ensure!(heard.values().all(|times| *times == 1), "{heard:?}");
    let ids: BTreeSet<&String> = heard.keys().map(|(id, _)| id).collect();
    ensure!(ids.len() == heard.len() && counted(&heard, "io.fieldline.alarm.raised") == 10, "{heard:?}");
    ensure!(counted(&heard, "io.fieldline.notification") == 10, "{heard:?}");
    Ok(())
}

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fieldline_model::{Class, Quality, ReadingRef, StreamId, ValueRef};
use fieldline_rules::{Change, Effect, EffectKind};
use fieldline_wire::BlockBuilder;
use serde_json::json;

use super::*;
use crate::DeliveryError;

const RULES: &str = "
[[rules]]
name = \"hot\"
when = \"t > 80.0\"
for = \"30s\"
then = [{ notify = { target = \"ops\" } }]
";

/// What one gateway's state is, and what becomes of commits.
#[derive(Debug, Default)]
struct Partition {
    kept: BTreeMap<String, Vec<u8>>,
    version: u64,
    wake: Option<Timestamp>,
    conflicts: u32,
    fails: bool,
}

/// The world outside, which outlives functions.
#[derive(Debug, Default)]
struct World {
    partitions: Mutex<BTreeMap<GatewayId, Partition>>,
    files: Mutex<BTreeMap<String, String>>,
    accepted: Mutex<BTreeMap<String, String>>,
    heard: Mutex<Vec<String>>,
    loads: AtomicU64,
}

#[derive(Debug)]
struct State {
    world: Arc<World>,
    gateway: GatewayId,
    version: AtomicU64,
    wake: Mutex<Option<Timestamp>>,
}

#[async_trait]
impl StateStore for State {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
        let mut partitions = self.world.partitions.lock().unwrap();
        let partition = partitions.entry(self.gateway.clone()).or_default();
        self.version.store(partition.version, Ordering::Relaxed);
        self.world.loads.fetch_add(1, Ordering::Relaxed);
        Ok(partition.kept.clone().into_iter().collect())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut partitions = self.world.partitions.lock().unwrap();
        let partition = partitions.entry(self.gateway.clone()).or_default();
        if partition.fails {
            return Err(CommitError::Unavailable("the table is gone".into()));
        }
        if partition.conflicts > 0 || partition.version != self.version.load(Ordering::Relaxed) {
            partition.conflicts = partition.conflicts.saturating_sub(1);
            return Err(CommitError::Conflict);
        }
        for change in changes {
            match change.value {
                Some(value) => partition.kept.insert(change.key, value),
                None => partition.kept.remove(&change.key),
            };
        }
        partition.version += 1;
        partition.wake = *self.wake.lock().unwrap();
        self.version.store(partition.version, Ordering::Relaxed);
        Ok(())
    }

    fn wake(&self, at: Option<Timestamp>) {
        *self.wake.lock().unwrap() = at;
    }
}

#[async_trait]
impl GatewayState for State {
    async fn is_current(&self) -> Result<bool, PortError> {
        let partitions = self.world.partitions.lock().unwrap();
        Ok(partitions[&self.gateway].version == self.version.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Ear(Arc<World>);

#[async_trait]
impl Outlet for Ear {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let text = match &effect.kind {
            EffectKind::Alarm(event) => format!("{:?} {}", event.transition, effect.device),
            EffectKind::Notify(told) => format!("told {:?} {}", told.event.transition, effect.device),
            other => format!("{other:?}"),
        };
        self.0.heard.lock().unwrap().push(text);
        Ok(())
    }
}

#[derive(Debug)]
struct Memory(Arc<World>);

#[async_trait]
impl Account for Memory {
    fn state(&self, gateway: &GatewayId) -> Arc<dyn GatewayState> {
        let (world, gateway) = (Arc::clone(&self.0), gateway.clone());
        Arc::new(State { world, gateway, version: AtomicU64::new(0), wake: Mutex::default() })
    }
    fn outlet(&self, _gateway: &GatewayId) -> Arc<dyn Outlet> {
        Arc::new(Ear(Arc::clone(&self.0)))
    }
    async fn due(&self, now: Timestamp) -> Result<Vec<GatewayId>, PortError> {
        let partitions = self.0.partitions.lock().unwrap();
        let due = partitions.iter().filter(|(_, it)| it.wake.is_some_and(|wake| wake <= now));
        Ok(due.map(|(gateway, _)| gateway.clone()).collect())
    }
    async fn files(&self) -> Result<Vec<RuleFile>, PortError> {
        let files = self.0.files.lock().unwrap();
        Ok(files.iter().map(|(name, text)| RuleFile { name: name.clone(), version: text.clone() }).collect())
    }
    async fn text(&self, name: &str) -> Result<String, PortError> {
        self.0.files.lock().unwrap().get(name).cloned().ok_or_else(|| "gone".into())
    }
    async fn accepted(&self, name: &str) -> Result<Option<String>, PortError> {
        Ok(self.0.accepted.lock().unwrap().get(name).cloned())
    }
    async fn accept(&self, name: &str, text: &str) -> Result<(), PortError> {
        self.0.accepted.lock().unwrap().insert(name.to_owned(), text.to_owned());
        Ok(())
    }
}

const START_MS: i64 = 1_795_341_600_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(START_MS + second * 1_000).unwrap()
}

fn world() -> Arc<World> {
    let world = World::default();
    world.files.lock().unwrap().insert("plant.toml".to_owned(), RULES.to_owned());
    Arc::new(world)
}

fn cloud(world: &Arc<World>) -> Cloud {
    Cloud::new(Arc::new(Memory(Arc::clone(world))), || at(0))
}

/// A message with a block: readings of `t` at seconds.
fn message(gateway: &str, epoch: u64, first: u64, readings: &[(i64, f64)]) -> String {
    let stream = StreamId { gateway: GatewayId::new(gateway).unwrap(), epoch };
    let mut builder = BlockBuilder::new(stream, Class::Live, first);
    for (second, value) in readings {
        let (device, value) = (format!("{gateway}-press"), ValueRef::Float(*value));
        let (metric, quality) = ("t", Quality::Good);
        builder.push(ReadingRef { device: &device, metric, time: at(*second), value, quality });
    }
    BASE64.encode(builder.finish().unwrap().encode())
}

fn batch(bodies: &[String]) -> Event {
    let record = |(number, body): (usize, &String)| json!({ "messageId": format!("m{number}"), "body": body, "attributes": {}, "messageAttributes": {} });
    let records: Vec<_> = bodies.iter().enumerate().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn minute() -> Event {
    // As EventBridge sends it.
    serde_json::from_value(json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": "2026-11-22T10:00:00Z",
        "region": "us-east-1", "resources": [], "detail": {},
    }))
    .unwrap()
}

/// Handles an event at a second; the messages that come again.
fn handle(cloud: &mut Cloud, clock: fn() -> Timestamp, event: Event) -> Vec<String> {
    handle_within(cloud, clock, event, Duration::from_secs(60))
}

fn handle_within(cloud: &mut Cloud, clock: fn() -> Timestamp, event: Event, left: Duration) -> Vec<String> {
    cloud.clock = clock;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let deadline = Instant::now() + left;
    let answer = runtime.block_on(cloud.handle(event, deadline)).unwrap();
    answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

fn heard(world: &World) -> Vec<String> {
    let mut heard = world.heard.lock().unwrap().clone();
    heard.sort();
    heard
}

#[test]
fn blocks_and_minutes_give_each_alarm_once_whatever_comes_twice() {
    let world = world();
    let mut cloud = cloud(&world);
    let (first, second) = (message("gw-1", 7, 1, &[(0, 90.0)]), message("gw-1", 7, 2, &[(10, 91.0)]));
    assert!(handle(&mut cloud, || at(10), batch(&[first.clone(), second.clone(), first.clone()])).is_empty());
    assert!(heard(&world).is_empty(), "it has not lasted yet");
    assert!(handle(&mut cloud, || at(11), minute()).is_empty());
    assert!(heard(&world).is_empty(), "nothing is due");
    assert_eq!(world.loads.load(Ordering::Relaxed), 1, "the runner was warm");
    assert!(handle(&mut cloud, || at(90), minute()).is_empty());
    let raised = ["Raised gw-1-press", "told Raised gw-1-press"];
    assert_eq!(heard(&world), raised);
    // The queue delivers again, to another process.
    let mut other = super::tests::cloud(&world);
    assert!(handle(&mut other, || at(95), batch(&[first, second])).is_empty());
    assert!(handle(&mut other, || at(150), minute()).is_empty());
    assert_eq!(heard(&world), raised);
}

#[test]
fn a_gateway_that_fails_comes_again_and_takes_no_other_with_it() {
    let world = world();
    let mut cloud = cloud(&world);
    let bodies = [
        message("gw-1", 7, 1, &[(0, 90.0), (40, 90.0)]),
        "no base64!".to_owned(),
        message("gw-2", 7, 1, &[(0, 90.0), (40, 90.0)]),
        message("gw-1", 8, 1, &[(41, 90.0)]),
    ];
    world.partitions.lock().unwrap().entry(GatewayId::new("gw-1").unwrap()).or_default().fails = true;
    assert_eq!(handle(&mut cloud, || at(41), batch(&bodies)), ["m0", "m3"]);
    assert_eq!(heard(&world), ["Raised gw-2-press", "told Raised gw-2-press"]);
    world.partitions.lock().unwrap().get_mut(&GatewayId::new("gw-1").unwrap()).unwrap().fails = false;
    assert!(handle(&mut cloud, || at(42), batch(&bodies)).is_empty());
    assert_eq!(heard(&world).len(), 4);
}

#[test]
fn who_is_overtaken_reads_the_state_again() {
    let world = world();
    let (mut one, mut other) = (cloud(&world), cloud(&world));
    let blocks: Vec<String> = (0..6).map(|n| message("gw-1", 7, n + 1, &[(10 * n as i64, 90.0)])).collect();
    for pair in blocks.chunks(2) {
        // Both are warm, and each has been overtaken by the other.
        assert!(handle(&mut one, || at(50), batch(&pair[..1])).is_empty());
        assert!(handle(&mut other, || at(50), batch(&pair[1..])).is_empty());
    }
    assert_eq!(heard(&world), ["Raised gw-1-press", "told Raised gw-1-press"]);
    assert!(world.loads.load(Ordering::Relaxed) >= 4);
    // Between the look at the head and the commit, too; but not for ever.
    let conflicts = |count| {
        world.partitions.lock().unwrap().get_mut(&GatewayId::new("gw-1").unwrap()).unwrap().conflicts = count;
    };
    conflicts(2);
    let back = message("gw-1", 7, 7, &[(60, 20.0)]);
    assert!(handle(&mut one, || at(60), batch(std::slice::from_ref(&back))).is_empty());
    assert_eq!(heard(&world).len(), 4, "returned, told");
    conflicts(1_000);
    let again = message("gw-1", 7, 8, &[(61, 90.0)]);
    assert_eq!(handle(&mut one, || at(61), batch(&[back, again])), ["m0", "m1"]);
}

#[test]
fn a_broken_file_leaves_in_force_what_it_said_before() {
    let world = world();
    let hot = |first| message("gw-1", 7, first, &[(first as i64, 90.0), (40 + first as i64, 90.0)]);
    assert!(handle(&mut cloud(&world), || at(42), batch(&[hot(1)])).is_empty());
    assert_eq!(heard(&world).len(), 2);
    for broken in ["[[rules]]\nname = 3", "[[rules]]\nname = \"hot\"\nwhen = \"nonsense(\""] {
        world.files.lock().unwrap().insert("plant.toml".to_owned(), broken.to_owned());
        // A process that never saw the good one.
        let mut cloud = cloud(&world);
        let (cool, first) = (message("gw-1", 7, 3, &[(60, 20.0)]), hot(100));
        assert!(handle(&mut cloud, || at(142), batch(&[cool, first])).is_empty());
    }
    assert_eq!(heard(&world).len(), 6, "returned and raised again");
    // Without any rules the function does not pretend to evaluate.
    let empty = Arc::<World>::default();
    assert!(handle(&mut cloud(&empty), || at(0), batch(&[hot(1)])).is_empty(), "no files are no rules");
}

#[test]
fn what_there_is_no_time_to_deliver_waits_for_the_next_minute() {
    let world = world();
    let mut cloud = cloud(&world);
    let block = message("gw-1", 7, 1, &[(0, 90.0), (40, 90.0)]);
    let left = RESERVE_FOR_COMMITS - Duration::from_secs(1);
    assert!(handle_within(&mut cloud, || at(41), batch(&[block]), left).is_empty(), "it is evaluated");
    assert!(heard(&world).is_empty());
    assert!(handle(&mut super::tests::cloud(&world), || at(60), minute()).is_empty());
    assert_eq!(heard(&world), ["Raised gw-1-press", "told Raised gw-1-press"]);
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fieldline_model::{Class, GatewayId, Quality, ReadingRef, StreamId, Timestamp, ValueRef};
use fieldline_rules::{Change, Documents, Effect, EffectKind, Host, Limits, Mark, Transition};
use fieldline_wire::{Block, BlockBuilder};
use proptest::prelude::*;

use crate::{CommitError, DeliveryError, Outlet, Runner, StateStore};

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// The store fails, and nothing is durable.
    Lost,
    /// All is durable, and nobody hears of it.
    Unheard,
}

/// A disk and the world outside, which outlive the runner.
#[derive(Debug, Default)]
struct World {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    fate: Mutex<Option<Fate>>,
    refuses: Mutex<bool>,
    heard: Mutex<Vec<Effect>>,
}

#[async_trait]
impl StateStore for World {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, crate::PortError> {
        Ok(self.kept.lock().unwrap().clone().into_iter().collect())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let fate = self.fate.lock().unwrap().take().unwrap_or(Fate::Fine);
        if fate != Fate::Lost {
            let mut kept = self.kept.lock().unwrap();
            for change in changes {
                match change.value {
                    Some(value) => kept.insert(change.key, value),
                    None => kept.remove(&change.key),
                };
            }
        }
        if fate == Fate::Fine { Ok(()) } else { Err(CommitError::Unavailable("the power is gone".into())) }
    }
}

#[async_trait]
impl Outlet for World {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        if *self.refuses.lock().unwrap() {
            return Err(DeliveryError::Later("not now".into()));
        }
        self.heard.lock().unwrap().push(effect.clone());
        Ok(())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos((1_700_000_000 + second) * 1_000_000_000)
}

fn block(first_seq: u64, readings: &[(i64, f64)]) -> Block {
    let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, first_seq);
    for (second, value) in readings {
        builder.push(ReadingRef {
            device: "d",
            metric: "t",
            time: at(*second),
            value: ValueRef::Float(*value),
            quality: Quality::Good,
        });
    }
    builder.finish().unwrap()
}

async fn open(world: &Arc<World>) -> Runner {
    let rules = r#"{"rules": [{"name": "hot", "when": "t > 80.0", "then": [{"notify": {"target": "ops"}}]},
        {"name": "full", "when": "count(t, 20) >= 20"}]}"#;
    let documents: Documents = serde_json::from_str(rules).unwrap();
    let (state, outlet) = (Arc::<World>::clone(world), Arc::<World>::clone(world));
    let mut runner = Runner::open(Host::Server, Limits::default(), state, outlet, at(0)).await.unwrap();
    runner.load(at(0), &documents).await.unwrap();
    runner.tick(at(0)).await.unwrap();
    runner
}

const GROUP: &str = r#"{"rules": [{"name": "hot", "groups": ["cold-store"], "when": "count(t, 2) >= 2 && t > 80.0",
    "then": [{"notify": {"target": "ops"}}]}]}"#;

#[test]
fn a_rule_for_a_group_tells_once_whatever_happens_to_the_runner() {
    run(async {
        let world = Arc::<World>::default();
        let documents: Documents = serde_json::from_str(GROUP).unwrap();
        let groups = ["cold-store".to_owned()];
        let open = |world: &Arc<World>| {
            let (state, outlet) = (Arc::<World>::clone(world), Arc::<World>::clone(world));
            let (documents, groups) = (documents.clone(), groups.clone());
            async move {
                let opened = Runner::open(Host::Server, Limits::default(), state, outlet, at(0)).await;
                let mut runner = opened.unwrap();
                // Before the rules, which end what they do not know the devices of.
                runner.set_groups(at(0), "d", &groups);
                runner.load(at(0), &documents).await.unwrap();
                runner
            }
        };
        let mut runner = open(&world).await;
        runner.blocks(at(2), std::iter::once(&block(1, &[(1, 90.0), (2, 90.0)]))).await.unwrap();
        assert_eq!(heard(&world).len(), 2, "raised, and told");
        *world.fate.lock().unwrap() = Some(Fate::Lost);
        runner.blocks(at(3), std::iter::once(&block(3, &[(3, 91.0)]))).await.unwrap_err();
        let mut runner = open(&world).await;
        runner.blocks(at(3), std::iter::once(&block(3, &[(3, 91.0)]))).await.unwrap();
        assert_eq!((heard(&world).len(), runner.alarms().len()), (2, 1));
        // Out of the group: that ends the alarm, durably, and at once.
        runner.set_groups(at(4), "d", &[]);
        assert_eq!(runner.wake_at(), Some(Timestamp::MIN));
        runner.tick(at(4)).await.unwrap();
        assert_eq!(heard(&world).len(), 3);
    });
}

/// Takes everything and keeps nothing but the count.
#[derive(Debug, Default)]
struct Sink(Mutex<[usize; 2]>);

#[async_trait]
impl StateStore for Sink {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, crate::PortError> {
        Ok(Vec::new())
    }

    async fn commit(&self, _changes: Vec<Change>) -> Result<(), CommitError> {
        Ok(())
    }
}

#[async_trait]
impl Outlet for Sink {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let message = usize::from(matches!(effect.kind, EffectKind::Notify(_)));
        self.0.lock().unwrap()[message] += 1;
        Ok(())
    }
}

/// All devices of a site in one commit, each with an alarm, a message and a reading that is calculated.
#[test]
fn a_hundred_thousand_devices_that_raise_at_once_take_bounded_time_and_lose_no_line() {
    const DEVICES: usize = 100_000;
    let rules = r#"{"rules": [{"name": "hot", "when": "t > 80.0", "then": [{"notify": {"target": "ops"}},
        {"derive": {"metric": "excess", "value": "t - 80.0"}}]}]}"#;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    let reading = |device| ReadingRef {
        device,
        metric: "t",
        time: at(1),
        value: ValueRef::Float(90.0),
        quality: Quality::Good,
    };
    run(async {
        let sink = Arc::<Sink>::default();
        let (state, outlet) = (Arc::<Sink>::clone(&sink), Arc::<Sink>::clone(&sink));
        let mut runner = Runner::open(Host::Server, Limits::default(), state, outlet, at(0)).await.unwrap();
        runner.load(at(0), &serde_json::from_str(rules).unwrap()).await.unwrap();
        let readings = names.iter().map(|name| (Class::Live, reading(name)));
        let began = std::time::Instant::now();
        runner.readings(at(1), readings).await.unwrap();
        // A search through all for each that has to go would take hours.
        assert!(began.elapsed() < std::time::Duration::from_secs(120), "{:?}", began.elapsed());
        let [others, messages] = *sink.0.lock().unwrap();
        assert_eq!((others, messages), (2 * DEVICES, crate::MESSAGES_MAX));
        assert_eq!(runner.undelivered().dropped, (DEVICES - crate::MESSAGES_MAX) as u64);
        assert_eq!(runner.outbox(), 0);
    });
}

#[test]
fn calculated_readings_evict_no_message_that_waits() {
    run(async {
        let world = Arc::<World>::default();
        let rules = r#"{"rules": [{"name": "hot", "when": "t > 80.0", "then": [{"notify": {"target": "ops"}}]},
            {"name": "more", "when": "t > 1000.0", "then": [{"derive": {"metric": "m", "value": "t + 1.0"}}]}]}"#;
        let (state, outlet) = (Arc::<World>::clone(&world), Arc::<World>::clone(&world));
        let mut runner = Runner::open(Host::Server, Limits::default(), state, outlet, at(0)).await.unwrap();
        runner.load(at(0), &serde_json::from_str(rules).unwrap()).await.unwrap();
        *world.refuses.lock().unwrap() = true;
        let readings: Vec<(i64, f64)> =
            (0..20_000).map(|second| (second, if second == 0 { 90.0 } else { 85.0 })).collect();
        runner.blocks(at(20_000), std::iter::once(&block(1, &readings[..1]))).await.unwrap();
        let mut next = 2;
        for chunk in readings[1..].chunks(5_000) {
            runner.blocks(at(20_000), std::iter::once(&block(next, chunk))).await.unwrap();
            next += chunk.len() as u64;
        }
        // Raised, overdue and told, and one for each reading.
        assert_eq!((runner.outbox(), runner.undelivered().dropped), (20_003, 0));
    });
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_block_that_comes_again_changes_nothing() {
    run(async {
        let world = Arc::<World>::default();
        let mut runner = open(&world).await;
        let excursion = block(1, &[(1, 20.0), (2, 90.0), (3, 20.0)]);
        for _ in 0..3 {
            runner.blocks(at(4), std::iter::once(&excursion)).await.unwrap();
        }
        runner = open(&world).await;
        runner.blocks(at(5), std::iter::once(&excursion)).await.unwrap();
        assert_eq!(world.heard.lock().unwrap().len(), 4, "raised, told, returned, told");
        assert_eq!(runner.alarms().len(), 1);
    });
}

#[test]
fn a_block_that_is_cut_anew_is_evaluated_as_far_as_it_is_new() {
    run(async {
        let world = Arc::<World>::default();
        let mut runner = open(&world).await;
        // More excursions than an instance remembers, and than a series knows again.
        let readings: Vec<(i64, f64)> =
            (0..80).map(|second| (second, if second % 4 == 0 { 90.0 } else { 20.0 })).collect();
        runner.blocks(at(60), std::iter::once(&block(1, &readings[..60]))).await.unwrap();
        let before = heard(&world);
        runner.blocks(at(61), std::iter::once(&block(2, &readings[1..60]))).await.unwrap();
        assert_eq!(heard(&world), before);
        runner.blocks(at(80), std::iter::once(&block(1, &readings))).await.unwrap();
        let alarms = runner.alarms();
        assert_eq!(alarms.iter().filter(|alarm| alarm.mark == Mark::Historical).count(), 0, "{alarms:?}");
        assert_eq!(alarms.len(), 21, "each excursion, and the full window");
    });
}

#[test]
fn new_are_the_readings_of_sequence_numbers_and_whole_moments() {
    let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
    let within = |readings: &[(&str, &str, i64)], from: u64| {
        let mut builder = BlockBuilder::new(stream.clone(), Class::Live, 11);
        for (device, metric, second) in readings {
            let (time, value) = (at(*second), ValueRef::Float(0.0));
            builder.push(ReadingRef { device, metric, time, value, quality: Quality::Good });
        }
        let block = builder.finish().unwrap();
        let sought = fieldline_model::SeqRange::new(from, 10 + readings.len() as u64);
        let found = crate::order::within(&block, &[sought]);
        found.iter().map(|reading| reading.time.nanos() / 1_000_000_000 - 1_700_000_000).collect::<Vec<_>>()
    };
    assert_eq!(within(&[("d", "a", 1), ("d", "a", 2), ("d", "a", 3)], 12), [2, 3]);
    assert_eq!(within(&[("d", "a", 1), ("d", "b", 2), ("d", "a", 2)], 13), [2, 2]);
    // With an order of its own.
    assert_eq!(within(&[("d", "a", 3), ("d", "a", 1), ("d", "a", 2)], 12), [1, 2]);
    // Whose came first is not known.
    assert_eq!(within(&[("d", "a", 10), ("e", "a", 5), ("d", "a", 11), ("e", "a", 6)], 13).len(), 4);
}

#[test]
fn what_cannot_be_delivered_waits_and_is_delivered_after_a_restart() {
    run(async {
        let world = Arc::<World>::default();
        let mut runner = open(&world).await;
        *world.refuses.lock().unwrap() = true;
        runner.blocks(at(2), std::iter::once(&block(1, &[(1, 90.0)]))).await.unwrap();
        assert_eq!((runner.outbox(), runner.wake_at()), (2, Some(at(3))));
        runner.tick(at(3)).await.unwrap();
        assert_eq!(runner.wake_at(), Some(at(5)), "the pause doubles");
        *world.refuses.lock().unwrap() = false;
        let mut runner = open(&world).await;
        assert_eq!((runner.outbox(), world.heard.lock().unwrap().len()), (0, 2));
        // That they are delivered is written with the next commit, which is due at once.
        assert_eq!(runner.wake_at(), Some(Timestamp::MIN));
        runner.tick(at(4)).await.unwrap();
        assert!(world.kept.lock().unwrap().keys().all(|key| !key.starts_with("outbox/")));
    });
}

#[test]
fn readings_of_a_block_go_by_their_times_and_those_of_a_moment_by_name() {
    let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, 1);
    for (metric, second) in [("a", 1), ("b", 1), ("a", 2), ("c", 2), ("b", 3), ("a", 3)] {
        let (time, value) = (at(second), ValueRef::Float(0.0));
        builder.push(ReadingRef { device: "d", metric, time, value, quality: Quality::Good });
    }
    let block = builder.finish().unwrap();
    let readings = block.readings().map(|reading| (block.class, reading));
    let order: Vec<(&str, i64)> = crate::order::by_moment(readings)
        .map(|(_, reading)| (reading.metric, reading.time.nanos() / 1_000_000_000 - 1_700_000_000))
        .collect();
    assert_eq!(order, [("a", 1), ("b", 1), ("a", 2), ("c", 2), ("a", 3), ("b", 3)]);
}

/// The names and texts of all that must have been heard.
fn heard(world: &World) -> BTreeSet<(String, String)> {
    let heard = world.heard.lock().unwrap();
    heard
        .iter()
        .map(|effect| {
            let text = match &effect.kind {
                EffectKind::Alarm(event) => serde_json::to_string(event).unwrap(),
                EffectKind::Notify(told) => format!("told {:?}", told.event.transition == Transition::Raised),
                other => format!("{other:?}"),
            };
            (effect.id.0.clone(), text)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A gateway that sends a block until it is acknowledged, a store and targets that fail, a runner that is
    /// killed: what is heard is what would have been heard without all that.
    #[test]
    fn nothing_is_lost_and_nothing_comes_under_two_names(
        blocks in prop::collection::vec((prop::collection::vec(prop_oneof![Just(20.0), Just(90.0)], 1..6), 0_u8..8), 1..30)
    ) {
        let play = |troubled: bool| run(async {
            let world = Arc::<World>::default();
            let mut runner = open(&world).await;
            let (mut seq, mut second) = (1, 0);
            for (values, fate) in &blocks {
                let readings: Vec<(i64, f64)> =
                    values.iter().enumerate().map(|(n, value)| (second + n as i64, *value)).collect();
                let block = block(seq, &readings);
                seq += values.len() as u64;
                second += values.len() as i64;
                if troubled {
                    *world.refuses.lock().unwrap() = *fate == 1;
                    *world.fate.lock().unwrap() = match fate {
                        2 => Some(Fate::Lost),
                        3 => Some(Fate::Unheard),
                        _ => None,
                    };
                    if *fate == 4 {
                        runner = open(&world).await;
                    }
                }
                while runner.blocks(at(second), std::iter::once(&block)).await.is_err() {
                    runner = open(&world).await;
                }
                if troubled && *fate == 5 {
                    runner.blocks(at(second), std::iter::once(&block)).await.unwrap();
                }
            }
            *world.refuses.lock().unwrap() = false;
            runner.tick(at(second + 10_000)).await.unwrap();
            (heard(&world), runner.outbox())
        });
        let (calm, _) = play(false);
        let (troubled, waiting) = play(true);
        prop_assert_eq!(waiting, 0);
        prop_assert_eq!(calm, troubled);
    }
}

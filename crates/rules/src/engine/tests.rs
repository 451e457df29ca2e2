use fieldline_model::{Class, Quality, ReadingRef, Timestamp, ValueRef};
use serde_json::{Value, json};

use super::*;
use crate::{AlarmState, EffectKind, Mark, Operation, Transition};

mod aside;
mod bounds;
mod errors;
mod groups;
mod schedule;
mod time;

const SECOND: i64 = 1_000_000_000;
/// An event time that no clock of a test is near by accident.
const START: i64 = 1_700_000_000;

/// A host: the engine, its clock, what it keeps, and what came out.
struct Bench {
    engine: Engine,
    documents: Documents,
    kept: BTreeMap<String, Vec<u8>>,
    effects: Vec<Effect>,
}

use std::collections::BTreeMap;

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos((START + second) * SECOND)
}

fn documents(rules: Value) -> Documents {
    serde_json::from_value(json!({ "rules": rules })).unwrap()
}

impl Bench {
    fn new(rules: Value) -> Self {
        let mut bench = Self {
            engine: Engine::new(Host::Server, Limits::default()),
            documents: documents(rules),
            kept: BTreeMap::new(),
            effects: Vec::new(),
        };
        bench.load();
        bench
    }

    fn load(&mut self) {
        let loaded = self.engine.load(at(0), &self.documents, &mut self.effects);
        assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
        self.commit();
    }

    fn commit(&mut self) {
        for change in self.engine.take_changes() {
            match change.value {
                Some(value) => self.kept.insert(change.key, value),
                None => self.kept.remove(&change.key),
            };
        }
    }

    fn restart(&mut self) {
        self.commit();
        self.engine = Engine::new(Host::Server, Limits::default());
        for (key, value) in &self.kept {
            self.engine.restore(key, value).unwrap();
        }
        self.load();
    }

    /// A reading of `d` that arrives when it was measured.
    fn live(&mut self, second: i64, metric: &str, value: f64) {
        self.late(second, second, metric, value);
    }

    fn late(&mut self, now: i64, second: i64, metric: &str, value: f64) {
        self.of("d", at(now), (at(second), metric, value));
    }

    /// A reading of any device.
    fn of(&mut self, device: &str, now: Timestamp, (time, metric, value): (Timestamp, &str, f64)) {
        let value = ValueRef::Float(value);
        let reading = ReadingRef { device, metric, time, value, quality: Quality::Good };
        self.engine.observe(now, Class::Live, reading, &mut self.effects);
        self.commit();
    }

    fn tick(&mut self, now: i64) {
        self.engine.tick(at(now), &mut self.effects);
        self.commit();
    }

    /// Transition, second, and mark of the lines of history since the last call; other effects are left.
    fn history(&mut self) -> Vec<(Transition, i64, Mark)> {
        let mut lines = Vec::new();
        self.effects.retain(|effect| match &effect.kind {
            EffectKind::Alarm(event) => {
                lines.push((event.transition, event.at.nanos() / SECOND - START, event.alarm.mark));
                false
            }
            _ => true,
        });
        lines
    }

    /// Mark, state and text of the messages since the last call.
    fn messages(&mut self) -> Vec<(Mark, bool, String)> {
        let taken = std::mem::take(&mut self.effects);
        taken
            .into_iter()
            .filter_map(|effect| match effect.kind {
                EffectKind::Notify(notification) => {
                    let raised = notification.event.transition == Transition::Raised;
                    Some((notification.mark, raised, notification.message))
                }
                _ => None,
            })
            .collect()
    }
}

const LIVE: Mark = Mark::Live;
const HISTORICAL: Mark = Mark::Historical;
use Transition::{Raised, Returned};

fn hot(more: Value) -> Value {
    let mut rule = json!({
        "name": "hot", "when": "t > 80.0",
        "then": [{ "notify": { "target": "ops", "message": "{{device}} {{t}}" } }],
    });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([rule])
}

#[test]
fn one_evaluation_of_many_is_measured_and_counts_for_all() {
    fn stopwatch() -> u64 {
        static NANOS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        NANOS.fetch_add(10, std::sync::atomic::Ordering::Relaxed)
    }
    let documents = Documents::from_toml("[[rules]]\nname = 'hot'\nwhen = 'temperature > 80.0'").unwrap();
    let mut engine = Engine::new(Host::Server, Limits::default());
    engine.measure(stopwatch);
    engine.load(Timestamp::EPOCH, &documents, &mut Vec::new());
    for second in 0..128 {
        let time = Timestamp::from_nanos(second * 1_000_000_000);
        let value = ValueRef::Float(second as f64);
        let reading =
            ReadingRef { device: "press-4", metric: "temperature", time, value, quality: Quality::Good };
        engine.observe(time, Class::Live, reading, &mut Vec::new());
    }
    let [hot] = engine.rules().try_into().unwrap();
    assert_eq!((hot.evaluations, hot.nanos), (128, 2 * 64 * 10));
}

#[test]
fn an_excursion_is_an_alarm_and_two_messages() {
    let mut bench = Bench::new(hot(json!({})));
    for (second, value) in [(0, 20.0), (1, 81.5), (2, 90.0), (3, 70.0), (4, 71.0)] {
        bench.live(second, "t", value);
    }
    assert_eq!(bench.history(), [(Raised, 1, LIVE), (Returned, 3, LIVE)]);
    let messages = bench.messages();
    assert_eq!(messages, [(LIVE, true, "d 81.5".to_owned()), (LIVE, false, "d 70".to_owned())]);
    let alarms = bench.engine.alarms();
    assert_eq!((alarms.len(), alarms[0].state), (1, AlarmState::ReturnedUnacknowledged));
    assert_eq!(alarms[0].values, [("t".to_owned(), "81.5".to_owned())]);
}

#[test]
fn it_is_raised_when_it_has_held_long_enough_with_or_without_a_reading() {
    let mut bench = Bench::new(hot(json!({ "for": "10s" })));
    bench.live(0, "t", 90.0);
    bench.live(25, "t", 91.0);
    assert_eq!(bench.history(), [(Raised, 10, LIVE)]);
    bench.live(30, "t", 20.0);
    bench.live(40, "t", 90.0);
    assert_eq!(bench.engine.wake_at(), Some(at(50)));
    bench.tick(49);
    assert_eq!(bench.history(), [(Returned, 30, LIVE)]);
    bench.tick(50);
    assert_eq!(bench.history(), [(Raised, 50, LIVE)]);
    assert_eq!(bench.engine.wake_at(), None);
}

#[test]
fn silence_is_found_by_the_clock_and_ends_with_a_reading() {
    let mut bench = Bench::new(json!([{ "name": "silent", "when": "missing(t, '10s')" }]));
    bench.live(0, "t", 1.0);
    bench.live(5, "t", 1.0);
    bench.tick(14);
    assert_eq!(bench.history(), []);
    bench.tick(15);
    assert_eq!(bench.history(), [(Raised, 15, LIVE)]);
    bench.tick(100);
    bench.live(100, "t", 1.0);
    assert_eq!(bench.history(), [(Returned, 100, LIVE)]);
    // A gap that nobody looked at in time is found all the same.
    bench.live(200, "t", 1.0);
    assert_eq!(bench.history(), [(Raised, 110, LIVE), (Returned, 200, LIVE)]);
}

#[test]
fn silence_lasts_as_long_when_the_clock_is_set() {
    for hours in [6, -6] {
        let mut bench = Bench::new(json!([{ "name": "silent", "when": "missing(t, '10s')" }]));
        bench.live(0, "t", 1.0);
        bench.tick(4);
        bench.engine.clock_was_set(hours * 3_600 * SECOND);
        bench.tick(9 + hours * 3_600);
        assert_eq!(bench.history(), [], "{hours} h");
        bench.restart();
        bench.tick(10 + hours * 3_600);
        let found: Vec<_> = bench.history().into_iter().map(|(what, second, _)| (what, second)).collect();
        assert_eq!(found[0], (Raised, 10), "{hours} h");
    }
}

#[test]
fn what_comes_again_changes_nothing() {
    let mut bench = Bench::new(hot(json!({})));
    for (second, value) in [(0, 20.0), (1, 90.0), (2, 70.0), (1, 90.0), (0, 20.0), (2, 70.0)] {
        bench.live(second, "t", value);
        bench.live(second, "t", value);
    }
    assert_eq!(bench.history(), [(Raised, 1, LIVE), (Returned, 2, LIVE)]);
}

#[test]
fn a_backlog_pages_nobody_for_what_is_over_and_once_for_what_lasts() {
    let two_hours = 7_200;
    // In its order: past first.
    let mut bench = Bench::new(hot(json!({})));
    for minute in 0..120 {
        let value = if (10..20).contains(&minute) || minute >= 100 { 90.0 } else { 20.0 };
        bench.late(two_hours + minute / 10, minute * 60, "t", value);
    }
    assert_eq!(
        bench.history(),
        [
            (Raised, 600, HISTORICAL),
            (Returned, 1200, HISTORICAL),
            (Raised, 6000, HISTORICAL),
            (Transition::Overdue, 6960, Mark::Late)
        ]
    );
    assert_eq!(bench.messages(), [(Mark::Late, true, "d 90".to_owned())]);
    bench.late(two_hours + 60, two_hours + 60, "t", 20.0);
    assert_eq!(bench.messages().len(), 1, "its end is told, since its beginning was");

    // The present first.
    let mut bench = Bench::new(hot(json!({})));
    bench.live(two_hours, "t", 90.0);
    assert_eq!(bench.messages().len(), 1);
    for minute in 0..119 {
        let value = if (10..20).contains(&minute) || minute >= 100 { 90.0 } else { 20.0 };
        bench.late(two_hours + 1 + minute / 10, minute * 60, "t", value);
    }
    assert_eq!(bench.messages(), []);
    bench.live(two_hours + 20, "t", 91.0);
    bench.tick(two_hours + 100);
    assert_eq!(bench.messages(), []);
}

#[test]
fn a_backlog_whose_alarm_lasts_is_told_when_the_device_is_silent() {
    let mut bench = Bench::new(hot(json!({})));
    for minute in 0..30 {
        bench.late(7_200, minute * 60, "t", 90.0);
    }
    assert_eq!(bench.messages(), []);
    let wake = bench.engine.wake_at().unwrap();
    bench.engine.tick(wake, &mut bench.effects);
    assert_eq!(bench.messages(), [(Mark::Late, true, "d 90".to_owned())]);
    bench.tick(9_000);
    assert_eq!(bench.messages(), []);
}

#[test]
fn late_by_less_than_is_allowed_is_present() {
    let mut bench = Bench::new(hot(json!({ "when": "max(t, '60s') > 80.0", "lateness": "30s" })));
    bench.live(0, "t", 20.0);
    bench.live(40, "t", 20.0);
    bench.late(41, 20, "t", 90.0);
    assert_eq!(bench.history(), [(Raised, 40, LIVE)]);
}

#[test]
fn operators_acknowledge_shelve_and_comment() {
    let mut bench = Bench::new(hot(json!({ "renotify": "60s" })));
    bench.live(0, "t", 90.0);
    let id = bench.engine.alarms()[0].id.clone();
    bench.history();
    assert_eq!(bench.messages().len(), 1);
    bench.tick(60);
    assert_eq!(bench.messages().len(), 1, "told again");
    let operate = |bench: &mut Bench, now: i64, operation| {
        bench.engine.operate(at(now), &id, "ann", &operation, &mut bench.effects)
    };
    let shelve = Operation::Shelve { until: at(300), reason: "known".into() };
    operate(&mut bench, 70, shelve).unwrap();
    bench.tick(200);
    assert_eq!(bench.messages(), [], "on the shelf nobody is told");
    bench.tick(301);
    let lines: Vec<Transition> = bench.history().into_iter().map(|line| line.0).collect();
    assert_eq!(lines, [Transition::Unshelved]);
    assert_eq!(bench.messages().len(), 1, "told again when it is in sight again");
    let acknowledge = || Operation::Acknowledge { comment: Some("on my way".into()) };
    let alarm = operate(&mut bench, 310, acknowledge()).unwrap();
    assert_eq!(alarm.state, AlarmState::ActiveAcknowledged);
    assert!(matches!(operate(&mut bench, 311, acknowledge()), Err(OperateError::State(_))));
    bench.tick(1_000);
    assert_eq!(bench.messages(), [], "what is acknowledged is not told again");
    bench.live(1_001, "t", 20.0);
    assert_eq!(bench.engine.alarms(), []);
    assert!(matches!(operate(&mut bench, 1_002, acknowledge()), Err(OperateError::Unknown(_))));
}

#[test]
fn a_rule_that_fails_is_disabled_alone() {
    let mut bench = Bench::new(json!([
        { "name": "bad", "when": "t / z > 1.0" },
        { "name": "good", "when": "t > 80.0" },
    ]));
    bench.live(0, "z", 0.0);
    for second in 1..30 {
        bench.live(second, "t", 20.0);
    }
    bench.live(30, "t", 90.0);
    assert_eq!(bench.history(), [(Raised, 30, LIVE)]);
    let states = bench.engine.rules();
    let bad = states.iter().find(|state| state.rule.name == "bad").unwrap();
    assert!(bad.disabled.as_ref().unwrap().starts_with("10 errors in a row"), "{bad:?}");
    bench.load();
    assert!(bench.engine.rules().iter().all(|state| state.disabled.is_none()));
}

#[test]
fn reloading_keeps_windows_and_alarms_and_ends_those_of_rules_that_are_gone() {
    let mut bench = Bench::new(json!([
        { "name": "full", "when": "count(t, '1h') >= 5" },
        { "name": "gone", "when": "t > 80.0" },
    ]));
    for second in 0..4 {
        bench.live(second, "t", 90.0);
    }
    assert_eq!(bench.history(), [(Raised, 0, LIVE)]);
    bench.documents.rules.retain(|rule| rule.name == "full");
    bench.documents.rules.extend(documents(json!([{ "name": "new", "when": "max(t, '1h') > 80.0" }])).rules);
    bench.load();
    assert_eq!(bench.history(), [(Returned, 3, LIVE)]);
    bench.live(4, "t", 20.0);
    assert_eq!(bench.history(), [(Raised, 4, LIVE), (Raised, 4, LIVE)]);
}

#[test]
fn one_alarm_holds_another_back() {
    let mut bench = Bench::new(json!([
        { "name": "a-down", "when": "power < 1.0" },
        { "name": "b-cold", "when": "t < 10.0", "unless_firing": ["a-down"] },
    ]));
    bench.live(0, "power", 0.0);
    bench.live(1, "t", 5.0);
    assert_eq!(bench.history(), [(Raised, 0, LIVE)]);
    bench.live(2, "power", 5.0);
    bench.live(3, "t", 5.5);
    assert_eq!(bench.history(), [(Returned, 2, LIVE), (Raised, 2, LIVE)]);
}

#[test]
fn other_devices_are_named() {
    let mut bench = Bench::new(json!([
        { "name": "both", "devices": ["d"], "when": "t > 80.0 && device('e').running" },
    ]));
    bench.live(0, "t", 90.0);
    let running = |second: i64, value: bool| ReadingRef {
        device: "e",
        metric: "running",
        time: at(second),
        value: ValueRef::Boolean(value),
        quality: Quality::Good,
    };
    bench.engine.observe(at(1), Class::Live, running(1, true), &mut bench.effects);
    assert_eq!(bench.history(), [(Raised, 1, LIVE)]);
    bench.restart();
    bench.engine.observe(at(2), Class::Live, running(2, false), &mut bench.effects);
    assert_eq!(bench.history(), [(Returned, 2, LIVE)]);
}

#[test]
fn a_million_devices_take_the_room_of_a_hundred() {
    let limits = Limits { devices_max: 100, ..Limits::default() };
    let mut engine = Engine::new(Host::Server, limits);
    engine.load(at(0), &documents(json!([{ "name": "hot", "when": "t > 80.0" }])), &mut Vec::new());
    let mut effects = Vec::new();
    for n in 0..1_000_000_i64 {
        let device = format!("d{n}");
        let value = ValueRef::Float(if n == 7 { 90.0 } else { 20.0 });
        let reading = ReadingRef { device: &device, metric: "t", time: at(n), value, quality: Quality::Good };
        engine.observe(at(n), Class::Live, reading, &mut effects);
    }
    assert_eq!(engine.rules()[0].instances, 100);
    assert_eq!(engine.alarms().len(), 1, "a device with an alarm is not forgotten");
}

#[test]
fn a_state_that_is_none_is_refused() {
    let mut bench = Bench::new(hot(json!({ "when": "max(t, '60s') > 80.0" })));
    bench.live(0, "t", 90.0);
    for (key, value) in &bench.kept {
        for length in 0..value.len() {
            let mut engine = Engine::new(Host::Server, Limits::default());
            let cut = engine.restore(key, &value[..length]).is_err();
            // Samples are read when the rules that ask for them are known.
            assert!(cut || key.starts_with("window/"), "{key} cut at {length}");
            engine.load(at(0), &bench.documents, &mut Vec::new());
        }
    }
    for key in
        ["", "device", "device/a b", "series/d", "window/d/t/x/1", "window/d/t/l/x", "other/d", "alarm/x"]
    {
        assert!(Engine::new(Host::Server, Limits::default()).restore(key, &[1, 2, 3]).is_err(), "{key}");
    }
}

mod model {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> Value {
        json!([
            { "name": "at-once", "when": "t > 80.0", "then": [{ "notify": { "target": "ops" } }] },
            { "name": "held", "when": "t > 70.0", "clear": "t < 60.0", "for": "20s", "keep_firing_for": "15s" },
            { "name": "window", "when": "avg(t, '60s') > 75.0", "lateness": "20s" },
            { "name": "two", "when": "t > 80.0 && u < 30.0" },
            { "name": "silent", "when": "missing(u, '45s')" },
            { "name": "night", "when": "t > 80.0",
              "schedule": { "zone": "UTC", "from": "22:30", "to": "22:50" } },
            { "name": "night-held", "when": "u < 40.0 && count(t, '60s') < 3", "for": "30s",
              "schedule": { "zone": "UTC", "from": "22:40", "to": "22:55" } },
            { "name": "behind", "when": "u > 40.0", "unless_firing": ["at-once", "night-held"] },
            { "name": "robust", "when": "robust_z(t, '10m') > 0.9 || stuck(u, '2m') > 0.9", "for": "5s" },
        ])
    }

    /// Arrivals: second of the event, metric, value.
    fn trace() -> impl Strategy<Value = Vec<(i64, bool, f64)>> {
        let step = (0_i64..40, any::<bool>(), prop_oneof![0.0..100.0_f64, Just(85.0), Just(20.0)], 0_u8..10);
        prop::collection::vec(step, 1..120).prop_map(|steps| {
            let mut second = 0;
            let mut trace: Vec<(i64, bool, f64)> = Vec::new();
            for (ahead, metric, value, fate) in steps {
                let repeated = trace.last().copied().filter(|_| fate == 0);
                second += ahead;
                // Some arrive twice, some late, some very late.
                let behind = match fate {
                    1 => 10,
                    2 => 300,
                    _ => 0,
                };
                trace.push(repeated.unwrap_or((second - behind, metric, value)));
            }
            trace
        })
    }

    /// The lines of history as bytes, and the names of everything that came out.
    fn run(trace: &[(i64, bool, f64)], disturb: impl Fn(usize, &mut Bench)) -> (Vec<String>, Vec<String>) {
        let mut bench = Bench::new(rules());
        for (nth, (second, metric, value)) in trace.iter().enumerate() {
            disturb(nth, &mut bench);
            // Nothing waits for the clock: all of it was long ago.
            bench.late(1_000_000, *second, if *metric { "t" } else { "u" }, *value);
        }
        let lines = bench.effects.iter().filter_map(|effect| match &effect.kind {
            EffectKind::Alarm(event) => Some(serde_json::to_string(event).unwrap()),
            _ => None,
        });
        let names = bench.effects.iter().map(|effect| effect.id.0.clone());
        (lines.collect(), names.collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn restarts_reloads_and_repetitions_change_no_byte(
            trace in trace(), fates in prop::collection::vec(0_u8..8, 120)
        ) {
            let (undisturbed, names) = run(&trace, |_, _| {});
            let (disturbed, _) = run(&trace, |nth, bench| match fates[nth] {
                0 => bench.restart(),
                1 => bench.load(),
                _ => {}
            });
            prop_assert_eq!(&undisturbed, &disturbed);
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), names.len(), "every effect has its own name");
        }

        #[test]
        fn an_alarm_returns_once_and_after_it_was_raised(trace in trace()) {
            let mut bench = Bench::new(rules());
            for (second, metric, value) in &trace {
                bench.late(1_000_000, *second, if *metric { "t" } else { "u" }, *value);
            }
            let mut open: BTreeMap<String, i64> = BTreeMap::new();
            for effect in &bench.effects {
                let EffectKind::Alarm(event) = &effect.kind else { continue };
                let id = event.alarm.id.clone();
                match event.transition {
                    Transition::Raised => prop_assert!(open.insert(id, event.at.nanos()).is_none()),
                    _ => {
                        prop_assert_eq!(event.transition, Transition::Returned);
                        let raised = open.remove(&id);
                        prop_assert!(raised.is_some_and(|raised| raised <= event.at.nanos()), "{:?}", event);
                    }
                }
            }
        }
    }
}

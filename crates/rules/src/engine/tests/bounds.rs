//! What the engine may grow to.

use super::*;

/// A reading of each of so many devices; the lines of alarm history.
fn many(engine: &mut Engine, devices: std::ops::Range<i64>, second: impl Fn(i64) -> i64) -> usize {
    let mut lines = 0;
    let mut effects = Vec::new();
    for n in devices {
        let device = format!("d{n}");
        let (time, value) = (at(second(n)), ValueRef::Float(20.0));
        let reading = ReadingRef { device: &device, metric: "t", time, value, quality: Quality::Good };
        engine.observe(time, Class::Live, reading, &mut effects);
        drop(engine.take_changes());
        lines += effects.drain(..).count();
    }
    lines
}

#[test]
fn devices_are_bounded_also_where_their_silence_is_waited_for() {
    let limits = Limits { devices_max: 1_000, ..Limits::default() };
    let mut engine = Engine::new(Host::Server, limits);
    let rules = documents(json!([
        { "name": "silent", "when": "missing(t, '10m')" },
        { "name": "seen", "devices": ["d1", "d2"], "when": "count(t, 10) > 0 && device('d1').t > 0.0" },
    ]));
    engine.load(at(0), &rules, &mut Vec::new());
    let lines = many(&mut engine, 0..200_000, |_| 0);
    assert_eq!(lines, 2);
    let silent = engine.rules().into_iter().find(|state| state.rule.name == "silent").unwrap();
    assert_eq!(silent.instances, 1_000, "those that are waited for stay");
    assert_eq!(engine.crowding().devices, 199_000);
    let mut effects = Vec::new();
    engine.tick(at(600), &mut effects);
    assert_eq!(effects.len(), 1_000, "and their silence is found");
}

#[test]
fn a_device_that_is_forgotten_is_no_member_of_a_rule_any_more() {
    let limits = Limits { devices_max: 100, ..Limits::default() };
    let mut engine = Engine::new(Host::Server, limits);
    let rules = documents(json!([{ "name": "both", "when": "t > 80.0 && device('e').t > 80.0" }]));
    engine.load(at(0), &rules, &mut Vec::new());
    many(&mut engine, 0..5_000, |n| n);
    let [program] = engine.programs.as_slice() else { panic!("one rule") };
    assert!(program.members.len() <= 100, "{}", program.members.len());
}

#[test]
fn what_is_not_watched_for_want_of_room_is_counted() {
    let limits = Limits { instances_max: 10, ..Limits::default() };
    let mut engine = Engine::new(Host::Server, limits);
    engine.load(at(0), &documents(json!([{ "name": "hot", "when": "t > 80.0" }])), &mut Vec::new());
    many(&mut engine, 0..11, |n| n);
    assert_eq!((engine.rules()[0].instances, engine.crowding().instances), (10, 1));
}

#[test]
fn windows_of_all_devices_together_are_bounded() {
    let limits = Limits { samples_max: 1_000, ..Limits::default() };
    let rules = documents(json!([{ "name": "mean", "when": "avg(t, 100) > 80.0 && p95(t, '1h') > 0.0" }]));
    let mut engine = Engine::new(Host::Server, limits.clone());
    engine.load(at(0), &rules, &mut Vec::new());
    let mut kept = BTreeMap::new();
    let mut take = |engine: &mut Engine, device: &str, n: i64| {
        let (time, value) = (at(n), ValueRef::Float(n as f64));
        let reading = ReadingRef { device, metric: "t", time, value, quality: Quality::Good };
        engine.observe(time, Class::Live, reading, &mut Vec::new());
        for change in engine.take_changes() {
            match change.value {
                Some(value) => kept.insert(change.key, value),
                None => kept.remove(&change.key),
            };
        }
    };
    for n in 0..2_000 {
        take(&mut engine, &format!("d{}", n % 20), n);
    }
    assert_eq!((engine.samples(), engine.crowding().samples), (1_000, 1_000));
    take(&mut engine, "new", 2_000);
    assert_eq!(engine.samples(), 1_000, "a window is as small as it may be");
    let mut again = Engine::new(Host::Server, limits);
    for (key, value) in &kept {
        again.restore(key, value).unwrap();
    }
    again.load(at(2_000), &rules, &mut Vec::new());
    assert!(again.samples() > 0 && again.samples() <= 1_000 + 20 * 255, "{}", again.samples());
}

/// The costliest window functions that fit, over windows of a duration with as many samples as there may be.
#[test]
fn functions_that_read_through_too_much_are_an_error_of_their_rule() {
    let mut bench = Bench::new(json!([
        { "name": "one", "when": "robust_z(t, '366d') > 2.0" },
        { "name": "two", "when": "robust_z(t, '366d') > 2.0 || stuck(t, '365d') > 2.0" },
    ]));
    let mut effects = Vec::new();
    // With half of what may be read in the window, two that read all of it are just allowed.
    for n in 0..=50_000_i64 {
        let reading = ReadingRef {
            device: "d",
            metric: if n < 49_990 { "other" } else { "t" },
            time: at(n),
            value: ValueRef::Float(n as f64),
            quality: Quality::Good,
        };
        bench.engine.observe(at(n), Class::Live, reading, &mut effects);
    }
    assert!(bench.engine.rules().iter().all(|state| state.errors == 0));
    let number = bench.engine.index["d"] as usize;
    let device = bench.engine.devices[number].as_mut().unwrap();
    let series = device.live.slots[0].series.as_mut().unwrap();
    for n in 0..60_000_i64 {
        series.observe(at(50_001 + n), n as f64);
    }
    bench.live(200_000, "t", 1.0);
    let states = bench.engine.rules();
    assert_eq!((states[0].errors, states[1].errors), (0, 1), "{states:?}");
}

#[test]
fn twenty_thousand_alarms_that_return_take_no_quadratic_time() {
    let mut bench = Bench::new(hot(json!({})));
    let mut effects = Vec::new();
    for round in 0..2 {
        for n in 0..20_000_i64 {
            let (device, time) = (format!("d{n}"), at(round * 20_000 + n));
            let value = ValueRef::Float(if round == 0 { 90.0 } else { 20.0 });
            let reading = ReadingRef { device: &device, metric: "t", time, value, quality: Quality::Good };
            bench.engine.observe(time, Class::Live, reading, &mut effects);
            effects.clear();
        }
        drop(bench.engine.take_changes());
    }
    let alarms = bench.engine.alarms();
    assert_eq!(alarms.len(), 10_000);
    assert!(alarms.iter().all(|alarm| alarm.returned_at.unwrap() >= at(30_000)), "the oldest have gone");
}

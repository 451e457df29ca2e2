use std::collections::BTreeSet;
use std::path::Path;

use fieldline_journal::sim::{Outcome, SimFs};
use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value};
use fieldline_rules::{Documents, Rule};

use serde_json::json;

use super::*;

const RULES: &str = r#"
[[rules]]
name = "hot"
runs = "edge"
when = "temperature > 80.0"
then = [{ derive = { metric = "excess", value = "temperature - 80.0" } }]

[[rules]]
name = "rising"
runs = "edge"
when = "avg(temperature, 3) > 70.0"
for = "2s"

[[rules]]
name = "far"
runs = "edge"
when = "excess > 15.0"
"#;

fn rules() -> Vec<Rule> {
    Documents::from_toml(RULES).unwrap().rules
}

fn host(disk: &SimFs) -> Host {
    let outlet = Arc::new(LocalOutlet::new(None, None));
    let host = Host {
        fs: Arc::new(disk.clone()),
        folder: PathBuf::from("/rules"),
        outlet,
        desk: Arc::default(),
        store: Mutex::default(),
    };
    host.desk.want(rules());
    host
}

fn batch(value: f64, second: i64) -> Batch {
    batch_of(&[(second, value)])
}

fn batch_of(values: &[(i64, f64)]) -> Batch {
    let mut batch = Batch::default();
    for (second, value) in values {
        let reading = Reading {
            device: DeviceId::new("press-4").unwrap(),
            metric: Metric::new("temperature").unwrap(),
            time: Timestamp::from_nanos(1_795_435_200_000_000_000 + second * 1_000_000_000),
            value: Value::Float(*value),
            quality: Quality::Good,
        };
        batch.order.push(Class::Live);
        batch.lane(Class::Live).push(reading.as_ref());
    }
    batch
}

/// Hot again and again, and not; `times` times over.
fn trace(times: i64) -> Vec<(i64, f64)> {
    let values = [20.0, 75.0, 85.0, 99.0, 84.0, 79.0, 60.0, 30.0, 81.0, 97.0, 50.0, 20.0];
    (0..).zip(values.into_iter().cycle().take(values.len() * times as usize)).collect()
}

/// Evaluates what has not been acknowledged yet, and writes what comes of it as the journal does. Gives how many
/// batches are acknowledged.
fn work(disk: &SimFs, trace: &[(i64, f64)], together: usize, from: usize) -> usize {
    let host = host(disk);
    if host.start().is_err() {
        return from;
    }
    let mut acknowledged = from;
    let count = trace.chunks(together).count();
    // As often again as what waits may need.
    let rest = trace.chunks(together).skip(from).map(batch_of);
    for batch in rest.chain((0..3).map(|_| Batch::default())) {
        let made = match host.round(&batch) {
            Ok(made) => made,
            Err(_) => return acknowledged,
        };
        if write(disk, &made).is_err() {
            return acknowledged;
        }
        acknowledged = (acknowledged + 1).min(count);
    }
    acknowledged
}

fn write(disk: &SimFs, made: &[(Class, Reading)]) -> std::io::Result<()> {
    for (class, reading) in made {
        let name =
            format!("/journal/{class:?} {} {:?} {}", reading.metric, reading.value, reading.time.nanos());
        let name = name.replace("alarm.", "").replace('/', "|");
        let file = disk.create(&Path::new("/journal").join(name.trim_start_matches("|journal|")))?;
        file.append(b"whole")?;
        file.sync_data()?;
    }
    disk.sync_dir(Path::new("/journal"))
}

fn written(disk: &SimFs) -> BTreeSet<String> {
    disk.read_dir(Path::new("/journal")).unwrap().into_iter().collect()
}

fn disk() -> SimFs {
    let disk = SimFs::new();
    disk.create_dir_all(Path::new("/journal")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

#[test]
fn a_crash_at_any_operation_neither_loses_nor_changes_what_rules_make() {
    // The second has more readings in a batch, and more alarms, than the engine itself knows again; most of its
    // operations are files of the journal, three for each, so that some of them stand for all.
    for (times, together, every) in [(1, 1, 1), (10, 60, 13)] {
        let trace = trace(times);
        let batches = trace.chunks(together).count();
        let calm = disk();
        let began = calm.operations();
        assert_eq!(work(&calm, &trace, together, 0), batches);
        let expected = written(&calm);
        let count = |word: &str| expected.iter().filter(|line| line.contains(word)).count();
        assert!(count("Live excess") >= 2, "{expected:#?}");
        let raised = |rule: &str| count(&format!("\\\"rule\\\":\\\"{rule}\\\""));
        assert!(raised("far") >= 2 && raised("rising") >= 2, "{expected:#?}");
        for crash in (began..calm.operations()).step_by(every) {
            for outcome in Outcome::ALL {
                let disk = disk();
                disk.crash_at(crash);
                let acknowledged = work(&disk, &trace, together, 0);
                let disk = disk.reboot(outcome, crash);
                assert_eq!(work(&disk, &trace, together, acknowledged), batches, "{crash} {outcome:?}");
                let found = written(&disk);
                let difference: Vec<_> = found.symmetric_difference(&expected).collect();
                assert!(difference.is_empty(), "{together} together, {crash} {outcome:?}: {difference:#?}");
            }
        }
    }
}

#[test]
fn a_command_that_was_to_be_sent_is_not_sent_hours_later() {
    let disk = disk();
    let effect = |name: &str, kind| Effect {
        id: EffectId(name.to_owned()),
        rule: "hot".to_owned(),
        device: DeviceId::new("press-4").unwrap(),
        at: Timestamp::EPOCH,
        kind,
    };
    let command = EffectKind::Command {
        device: DeviceId::new("relay-1").unwrap(),
        command: "open".to_owned(),
        payload: json!({}),
    };
    let desired =
        EffectKind::Desired { device: DeviceId::new("relay-1").unwrap(), state: Default::default() };
    let value = |effect| Some(serde_json::to_vec(&effect).unwrap());
    let log = StateLog::open(Arc::new(disk), PathBuf::from("/rules")).unwrap();
    let store = LogStore { log: Mutex::new(log), recent: Mutex::default(), staged: Mutex::default() };
    let waiting = vec![
        Change { key: "outbox/0000000000000000".to_owned(), value: value(effect("a", command)) },
        Change { key: "outbox/0000000000000001".to_owned(), value: value(effect("b", desired)) },
    ];
    at_once(store.commit(waiting)).unwrap();
    let after = |ms: i64| Timestamp::from_millis(clock::now().millis() + ms).unwrap();
    assert_eq!(store.stale_commands(after(1_000)).unwrap(), []);
    assert_eq!(store.stale_commands(after(COMMAND_LASTS_MS)).unwrap(), [EffectId("a".to_owned())]);
}

#[test]
fn without_rules_nothing_is_written_and_rules_that_go_leave_nothing_in_force() {
    let disk = disk();
    let host = host(&disk);
    host.desk.want(Vec::new());
    let before = disk.operations();
    host.start().unwrap();
    assert_eq!(host.round(&batch(99.0, 0)).unwrap(), Vec::new());
    assert!(host.wake().is_none() && host.desk.shown().is_none());
    assert!(disk.read_dir(Path::new("/rules")).is_err(), "{before}");

    host.desk.want(rules());
    assert!(host.wake().is_some(), "rules that are new are put in force at once");
    assert!(!host.round(&batch(99.0, 1)).unwrap().is_empty());
    assert_eq!(host.desk.shown().unwrap().active, 2, "hot, and far by what hot derives");
    host.desk.want(Vec::new());
    host.round(&batch(99.0, 2)).unwrap();
    assert_eq!(host.desk.shown().unwrap().rules, Vec::new());
}

/// A status that was asked for the first time while rules were evaluated said that there were none.
#[test]
fn rules_are_told_while_they_are_evaluated() {
    let disk = disk();
    let host = host(&disk);
    host.desk.want(rules());
    host.start().unwrap();
    let ask = || {
        let (desk, (told, answer)) = (Arc::clone(&host.desk), std::sync::mpsc::channel());
        std::thread::spawn(move || told.send(desk.shown()));
        answer
    };
    let evaluated = lock(&host.desk.runner);
    let first = ask();
    // Nothing is said yet: what was wrong was said at once.
    assert!(first.recv_timeout(std::time::Duration::from_millis(50)).is_err());
    drop(evaluated);
    assert_eq!(first.recv().unwrap().unwrap().rules.len(), rules().len());
    let _evaluated = lock(&host.desk.runner);
    assert_eq!(ask().recv().unwrap().unwrap().rules.len(), rules().len(), "nobody waits again");
}

#[test]
fn state_that_is_none_is_set_aside_and_told() {
    let disk = disk();
    {
        let mut log = StateLog::open(Arc::new(disk.clone()), PathBuf::from("/rules")).unwrap();
        let value = Some(b"nonsense".to_vec());
        log.commit(&[Change { key: "outbox/zz".to_owned(), value }]).unwrap();
    }
    let host = host(&disk);
    host.start().unwrap();
    assert!(!host.round(&batch(99.0, 0)).unwrap().is_empty());
    let shown = host.desk.shown().unwrap();
    assert!(shown.trouble.unwrap().contains("set aside"), "{:?}", shown.rules);
    assert!(disk.read_dir(Path::new("/rules")).unwrap().contains(&"state.unusable".to_owned()));
}

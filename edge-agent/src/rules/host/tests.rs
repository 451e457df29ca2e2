use std::collections::BTreeSet;
use std::path::Path;

use fieldline_journal::sim::{Outcome, SimFs};
use fieldline_model::{DeviceId, Metric, Quality, Timestamp, Value};
use fieldline_rules::{Documents, Rule};

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
    let host =
        Host { fs: Arc::new(disk.clone()), folder: PathBuf::from("/rules"), outlet, desk: Arc::default() };
    host.desk.want(rules());
    host
}

fn batch(value: f64, second: i64) -> Batch {
    let mut batch = Batch::default();
    let reading = Reading {
        device: DeviceId::new("press-4").unwrap(),
        metric: Metric::new("temperature").unwrap(),
        time: Timestamp::from_nanos(1_795_435_200_000_000_000 + second * 1_000_000_000),
        value: Value::Float(value),
        quality: Quality::Good,
    };
    batch.order.push(Class::Live);
    batch.lane(Class::Live).push(reading.as_ref());
    batch
}

const TRACE: [f64; 12] = [20.0, 75.0, 85.0, 99.0, 84.0, 79.0, 60.0, 30.0, 81.0, 97.0, 50.0, 20.0];

/// Evaluates what has not been acknowledged yet, and writes what comes of it as the journal does. Gives how much
/// is acknowledged.
fn work(disk: &SimFs, from: usize) -> usize {
    let host = host(disk);
    if host.start().is_err() {
        return from;
    }
    let mut acknowledged = from;
    // As often again as a rule's reading may wake rules.
    let rest = TRACE.iter().enumerate().skip(from).map(|(second, value)| batch(*value, second as i64));
    for batch in rest.chain((0..3).map(|_| Batch::default())) {
        let made = match host.round(&batch) {
            Ok(made) => made,
            Err(_) => return acknowledged,
        };
        if write(disk, &made).is_err() {
            return acknowledged;
        }
        acknowledged = (acknowledged + 1).min(TRACE.len());
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
    let calm = disk();
    let began = calm.operations();
    assert_eq!(work(&calm, 0), TRACE.len());
    let expected = written(&calm);
    let count = |word: &str| expected.iter().filter(|line| line.contains(word)).count();
    // Two times hot and back, rising once and back, far above two times and back, and what was derived.
    assert!(count("Live excess") >= 2, "{expected:#?}");
    assert!(
        count("\\\"rule\\\":\\\"far\\\"") >= 2 && count("\\\"rule\\\":\\\"rising\\\"") >= 2,
        "{expected:#?}"
    );
    for crash in began..calm.operations() {
        for outcome in Outcome::ALL {
            let disk = disk();
            disk.crash_at(crash);
            let acknowledged = work(&disk, 0);
            let disk = disk.reboot(outcome, crash);
            assert_eq!(work(&disk, acknowledged), TRACE.len(), "{crash} {outcome:?}");
            assert_eq!(written(&disk), expected, "{crash} {outcome:?}");
        }
    }
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

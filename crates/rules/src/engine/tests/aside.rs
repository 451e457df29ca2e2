//! Alarms that operators have put aside: shelved, and out of service.

use super::*;

fn operate(bench: &mut Bench, now: i64, id: &str, operation: &Operation) -> Result<Alarm, OperateError> {
    let done = bench.engine.operate(at(now), id, "ann", operation, &mut bench.effects);
    bench.commit();
    done
}

fn shelve(until: i64) -> Operation {
    Operation::Shelve { until: at(until), reason: "chatters".into() }
}

fn transitions(bench: &mut Bench) -> Vec<Transition> {
    bench.history().into_iter().map(|line| line.0).collect()
}

#[test]
fn what_chatters_on_the_shelf_tells_nobody_until_its_time_is_over() {
    let mut bench = Bench::new(hot(json!({})));
    bench.live(0, "t", 90.0);
    let id = bench.engine.alarms()[0].id.clone();
    operate(&mut bench, 1, &id, &shelve(28_800)).unwrap();
    bench.messages();
    for minute in 1..60 {
        bench.live(minute * 60, "t", 20.0);
        let id = bench.engine.alarms()[0].id.clone();
        operate(&mut bench, minute * 60, &id, &Operation::Acknowledge { comment: None }).unwrap();
        bench.live(minute * 60 + 30, "t", 90.0);
        bench.restart();
    }
    assert_eq!(bench.messages(), []);
    assert!(bench.engine.alarms()[0].shelved.is_some());
    bench.tick(28_799);
    assert_eq!(bench.messages(), []);
    bench.tick(28_800);
    assert_eq!(transitions(&mut bench), [Transition::Unshelved]);
    bench.tick(28_820);
    assert_eq!(bench.messages().len(), 1, "it is in sight again, and nobody knew of it");
    bench.live(28_830, "t", 20.0);
    bench.live(28_831, "t", 90.0);
    assert_eq!(bench.messages().len(), 2);
    assert!(!bench.kept.keys().any(|key| key.starts_with("aside/")));
}

#[test]
fn what_is_out_of_service_stays_so_until_somebody_says_otherwise() {
    let mut bench = Bench::new(hot(json!({ "renotify": "60s" })));
    bench.live(0, "t", 90.0);
    bench.messages();
    let id = bench.engine.alarms()[0].id.clone();
    let suppress = Operation::Suppress { reason: "being rebuilt".into() };
    let alarm = operate(&mut bench, 1, &id, &suppress).unwrap();
    assert!(alarm.suppressed);
    assert!(matches!(operate(&mut bench, 2, &id, &suppress), Err(OperateError::State(_))));
    bench.tick(100_000);
    bench.live(100_000, "t", 20.0);
    bench.live(100_001, "t", 90.0);
    bench.restart();
    bench.live(100_002, "t", 20.0);
    assert_eq!(bench.history().last().map(|line| line.0), Some(Returned));
    assert_eq!(bench.messages(), []);
    assert!(bench.engine.alarms().iter().all(|alarm| alarm.suppressed));
    // Both alarms of the rule and the device are in service again.
    operate(&mut bench, 100_003, &id, &Operation::Unsuppress).unwrap();
    assert!(bench.engine.alarms().iter().all(|alarm| !alarm.suppressed));
    bench.live(100_004, "t", 90.0);
    assert_eq!(bench.messages().len(), 1);
}

#[test]
fn without_an_alarm_rule_and_device_are_named() {
    let mut bench = Bench::new(hot(json!({})));
    bench.live(0, "t", 20.0);
    assert!(matches!(operate(&mut bench, 1, "hot/e", &shelve(60)), Err(OperateError::Unknown(_))));
    assert!(matches!(operate(&mut bench, 1, "hot", &shelve(60)), Err(OperateError::Unknown(_))));
    operate(&mut bench, 1, "hot/d", &shelve(60)).unwrap();
    assert_eq!(bench.engine.aside().len(), 1);
    assert_eq!(transitions(&mut bench), [Transition::Shelved]);
    bench.live(2, "t", 90.0);
    assert_eq!(bench.messages(), []);
    operate(&mut bench, 3, "hot/d", &Operation::Unshelve).unwrap();
    assert!(bench.engine.aside().is_empty());
    assert!(bench.engine.alarms()[0].shelved.is_none());
    bench.tick(20);
    assert_eq!(bench.messages().len(), 1);
    assert!(matches!(operate(&mut bench, 4, "hot/d", &Operation::Unshelve), Err(OperateError::State(_))));
}

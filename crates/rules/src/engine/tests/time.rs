//! Readings out of order, ahead of the clock, and of a backlog.

use super::*;

/// Milliseconds after the start.
fn ms(millis: i64) -> Timestamp {
    Timestamp::from_nanos(START * SECOND + millis * 1_000_000)
}

#[test]
fn history_is_over_although_its_device_goes_on_talking() {
    // What closes the history is that nothing more comes late, not that nothing comes at all.
    let mut bench = Bench::new(hot(json!({})));
    bench.live(1_000, "t", 20.0);
    bench.late(1_001, 10, "t", 90.0);
    assert_eq!(bench.history(), [(Raised, 10, HISTORICAL)]);
    for second in 1_002..1_075 {
        bench.live(second, "t", 20.0);
        bench.tick(second);
    }
    assert_eq!(bench.history(), [(Returned, 10, HISTORICAL)]);
    assert!(!bench.kept.keys().any(|key| key.contains("/h/")), "nothing of the history is kept");
}

#[test]
fn history_stays_open_while_readings_come_late_in_any_order_and_over_restarts() {
    let mut bench = Bench::new(hot(json!({})));
    bench.live(1_000, "t", 20.0);
    bench.late(1_001, 10, "t", 90.0);
    bench.late(1_050, 5, "t", 20.0);
    bench.restart();
    bench.tick(1_105);
    assert_eq!(bench.history(), [(Raised, 10, HISTORICAL)]);
    bench.tick(1_110);
    assert_eq!(bench.history(), [(Returned, 10, HISTORICAL)]);
}

#[test]
fn one_reading_hours_ahead_of_the_clock_makes_none_after_it_late() {
    let mut bench = Bench::new(hot(json!({ "when": "t > 80.0 && max(t, '60s') > 80.0" })));
    bench.live(0, "t", 20.0);
    bench.late(1, 23 * 3_600, "t", 21.0);
    bench.live(2, "t", 90.0);
    assert_eq!(bench.history(), [(Raised, 2, LIVE)]);
    assert_eq!(bench.messages().len(), 1);
    bench.live(3, "t", 20.0);
    assert_eq!(bench.history(), [(Returned, 3, LIVE)]);
    // It is evaluated itself, as of now.
    bench.late(4, 23 * 3_600, "t", 95.0);
    bench.late(4, 23 * 3_600, "t", 95.0);
    assert_eq!(bench.history(), [(Raised, 4, LIVE)]);
}

#[test]
fn a_host_whose_clock_has_not_been_set_judges_no_reading() {
    // A gateway without a battery begins in 1970; its devices know better.
    let mut bench = Bench::new(hot(json!({})));
    let booted = |second: i64| Timestamp::from_nanos(second * SECOND);
    bench.of("d", booted(10), (at(0), "t", 20.0));
    bench.of("d", booted(11), (at(1), "t", 90.0));
    bench.of("d", booted(12), (at(2), "t", 20.0));
    let times: Vec<(Transition, i64)> =
        bench.history().into_iter().map(|(transition, second, _)| (transition, second)).collect();
    assert_eq!(times, [(Raised, 1), (Returned, 2)]);
}

#[test]
fn a_device_whose_clock_is_ahead_raises_as_others_do() {
    let mut bench = Bench::new(hot(json!({ "for": "5s" })));
    let ahead = 7_200;
    for (now, value) in [(0, 20.0), (1, 90.0), (4, 90.0), (7, 90.0), (8, 20.0)] {
        bench.late(now, now + ahead, "t", value);
    }
    assert_eq!(bench.history(), [(Raised, 6, LIVE), (Returned, 8, LIVE)]);
    // A little ahead is as it says.
    bench.late(10, 70, "t", 90.0);
    bench.late(76, 76, "t", 90.0);
    assert_eq!(bench.history(), [(Raised, 75, LIVE)]);
}

#[test]
fn a_metric_a_moment_behind_another_one_is_no_history() {
    let mut bench = Bench::new(hot(json!({})));
    bench.of("d", ms(1_000), (ms(1_000), "u", 1.0));
    // A rule has to look at `u` for the device to have a time of it.
    let mut bench = Bench::new(json!([
        { "name": "hot", "when": "t > 80.0", "then": [{ "notify": { "target": "ops" } }] },
        { "name": "other", "when": "u > 80.0" },
    ]));
    for second in 0..3 {
        bench.of("d", ms(second * 1_000 + 100), (ms(second * 1_000 + 100), "u", 1.0));
        bench.of("d", ms(second * 1_000 + 110), (ms(second * 1_000), "t", 20.0 + 35.0 * second as f64));
    }
    let lines = bench.history();
    assert_eq!(lines, [(Raised, 2, LIVE)]);
    assert_eq!(bench.messages().len(), 1);
    // Behind its own newest it is late, and so is what is further behind.
    bench.of("d", ms(3_000), (ms(1_500), "t", 90.0));
    bench.of("d", ms(9_000), (ms(9_000), "u", 1.0));
    bench.of("d", ms(9_001), (ms(3_900), "t", 20.0));
    assert_eq!(bench.history(), []);
    bench.of("d", ms(9_002), (ms(4_000), "t", 20.0));
    assert_eq!(bench.history().len(), 1);
}

#[test]
fn a_late_reading_that_only_other_devices_look_at_is_seen_by_them() {
    let mut bench = Bench::new(json!([
        { "name": "both", "devices": ["d"], "when": "t > 80.0 && device('e').u > 0.0", "lateness": "30s" },
        { "name": "beat", "devices": ["e"], "when": "v > 0.0" },
    ]));
    bench.live(20, "t", 90.0);
    bench.of("e", at(20), (at(20), "v", 0.0));
    bench.of("e", at(21), (at(1), "u", 1.0));
    assert_eq!(bench.history(), [(Raised, 20, LIVE)]);
    bench.of("e", at(100), (at(100), "v", 0.0));
    bench.of("e", at(101), (at(60), "u", 0.0));
    assert_eq!(bench.history(), [], "too late for this rule");
    bench.of("e", at(101), (at(70), "u", 0.0));
    assert_eq!(bench.history(), [(Returned, 70, LIVE)]);
}

#[test]
fn what_lasts_after_a_backlog_is_marked_late() {
    let mut bench = Bench::new(hot(json!({})));
    for minute in 0..30 {
        bench.late(7_200, minute * 60, "t", 90.0);
    }
    assert_eq!(bench.history(), [(Raised, 0, HISTORICAL)]);
    bench.tick(7_210);
    assert_eq!(bench.history(), [(Transition::Overdue, 1_740, Mark::Late)]);
    assert_eq!(bench.messages().len(), 1);
    assert_eq!(bench.engine.alarms()[0].mark, Mark::Late);
    bench.restart();
    assert_eq!(bench.engine.alarms()[0].mark, Mark::Late);
    bench.live(7_300, "t", 20.0);
    assert_eq!(bench.history(), [(Returned, 7_300, Mark::Late)]);
}

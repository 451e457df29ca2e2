//! Rules that come into force, and alarms that hold others back.

use super::*;

/// Seconds after the start, which is 22:13:20 UTC, at which the rule comes into force.
const FROM: i64 = 23 * 3_600 - (22 * 3_600 + 13 * 60 + 20);

fn at_night() -> Value {
    hot(json!({ "schedule": { "zone": "UTC", "from": "23:00", "to": "06:00" } }))
}

#[test]
fn what_holds_already_is_raised_when_the_rule_comes_into_force() {
    let mut bench = Bench::new(at_night());
    bench.live(0, "t", 20.0);
    bench.live(FROM - 60, "t", 90.0);
    assert_eq!(bench.history(), []);
    assert_eq!(bench.engine.wake_at(), Some(at(FROM)));
    bench.restart();
    assert_eq!(bench.engine.wake_at(), Some(at(FROM)));
    bench.tick(FROM - 1);
    assert_eq!(bench.history(), []);
    bench.tick(FROM);
    assert_eq!(bench.history(), [(Raised, FROM, LIVE)]);
    assert_eq!(bench.messages().len(), 1);
    bench.tick(FROM + 10_000);
    assert_eq!(bench.history(), []);
}

#[test]
fn the_next_reading_finds_the_edge_that_nobody_looked_at_in_time() {
    let mut bench = Bench::new(at_night());
    bench.live(FROM - 60, "t", 90.0);
    bench.live(FROM + 60, "t", 20.0);
    assert_eq!(bench.history(), [(Raised, FROM, LIVE), (Returned, FROM + 60, LIVE)]);
}

#[test]
fn what_had_to_wait_beyond_the_end_is_raised_at_the_next_beginning() {
    let mut bench = Bench::new(hot(json!({
        "for": "10m", "schedule": { "zone": "UTC", "from": "22:00", "to": "22:30" }
    })));
    let end = FROM - 1_800;
    bench.live(end - 60, "t", 90.0);
    bench.tick(end + 540);
    assert_eq!(bench.history(), []);
    bench.tick(end + 86_400 - 1_800 + 600);
    assert_eq!(bench.history(), [(Raised, end + 86_400 - 1_800 + 600, LIVE)]);
}

#[test]
fn what_was_held_back_is_raised_when_the_other_alarm_returns() {
    let mut bench = Bench::new(json!([
        { "name": "a-down", "when": "power < 1.0" },
        { "name": "b-cold", "when": "t < 10.0", "unless_firing": ["a-down"] },
        { "name": "c-cold", "when": "t < 10.0", "for": "10s", "unless_firing": ["a-down"] },
    ]));
    bench.live(0, "power", 0.0);
    bench.live(1, "t", 5.0);
    bench.live(2, "power", 5.0);
    assert_eq!(bench.history(), [(Raised, 0, LIVE), (Returned, 2, LIVE), (Raised, 2, LIVE)]);
    bench.tick(12);
    assert_eq!(bench.history(), [(Raised, 12, LIVE)]);
}

//! Rules that cannot be evaluated.

use super::*;

#[test]
fn a_rule_whose_calculated_metric_always_fails_is_disabled() {
    let mut bench = Bench::new(json!([
        { "name": "bad", "when": "t > 80.0", "then": [{ "derive": { "metric": "m", "value": "1.0 / z" } }] },
    ]));
    bench.live(0, "z", 0.0);
    for second in 1..30 {
        bench.live(second, "t", 20.0);
    }
    let [bad] = bench.engine.rules().try_into().unwrap();
    assert!(bad.disabled.as_ref().unwrap().starts_with("10 errors in a row"), "{bad:?}");
}

#[test]
fn a_device_that_sends_nonsense_disables_the_rule_for_itself_only() {
    let mut bench = Bench::new(hot(json!({ "when": "1.0 / t > 0.5" })));
    bench.of("good", at(0), (at(0), "t", 10.0));
    for second in 0..30 {
        bench.live(second, "t", 0.0);
    }
    let [rule] = bench.engine.rules().try_into().unwrap();
    assert_eq!((rule.disabled, rule.errors, rule.instances_disabled), (None, 10, 1));
    bench.of("good", at(31), (at(31), "t", 1.0));
    assert_eq!(bench.history(), [(Raised, 31, LIVE)]);
    bench.live(32, "t", 1.0);
    assert_eq!(bench.history(), [], "nor is it asked again");
    bench.load();
    bench.live(33, "t", 1.0);
    assert_eq!(bench.history(), [(Raised, 33, LIVE)], "another chance");
    assert_eq!(bench.engine.rules()[0].instances_disabled, 0);
}

#[test]
fn errors_in_between_disable_nothing() {
    let mut bench = Bench::new(hot(json!({ "when": "1.0 / t > 0.5" })));
    for second in 0..90 {
        bench.live(second, "t", if second % 9 == 8 { 10.0 } else { 0.0 });
    }
    assert_eq!(bench.engine.rules()[0].instances_disabled, 0);
}

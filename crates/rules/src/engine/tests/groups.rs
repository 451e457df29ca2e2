//! Rules for groups of devices.

use super::*;

fn cold_store() -> Value {
    hot(json!({ "groups": ["cold-store"], "when": "count(t, 3) >= 3 && t > 80.0" }))
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Bench {
    fn put_into(&mut self, now: i64, names: &[&str]) {
        self.engine.set_groups(at(now), "d", &groups(names), &mut self.effects);
        self.commit();
    }
}

#[test]
fn a_rule_for_a_group_looks_at_its_members_only() {
    let mut bench = Bench::new(hot(json!({ "groups": ["cold-store"] })));
    bench.live(0, "t", 90.0);
    bench.put_into(0, &["other"]);
    bench.live(1, "t", 91.0);
    assert_eq!(bench.history(), []);
    bench.put_into(1, &["other", "cold-store"]);
    bench.live(2, "t", 92.0);
    assert_eq!(bench.history(), [(Raised, 2, LIVE)]);
    bench.of("e", at(3), (at(3), "t", 99.0));
    assert_eq!(bench.history(), []);
}

#[test]
fn a_device_that_leaves_its_group_takes_its_alarm_along() {
    let mut bench = Bench::new(hot(json!({ "groups": ["cold-store"] })));
    bench.put_into(0, &["cold-store"]);
    bench.live(2, "t", 92.0);
    bench.put_into(3, &["cold-store", "more"]);
    assert_eq!(bench.history(), [(Raised, 2, LIVE)]);
    bench.put_into(3, &["more"]);
    assert_eq!(bench.history(), [(Returned, 2, LIVE)]);
    bench.live(4, "t", 93.0);
    bench.live(5, "t", 20.0);
    assert_eq!(bench.history(), []);
    assert!(!bench.kept.keys().any(|key| key.starts_with("instance/")), "{:?}", bench.kept.keys());
    assert_eq!(bench.engine.rules()[0].instances, 0);
}

#[test]
fn groups_that_are_known_before_the_rules_keep_windows_and_alarms_over_a_restart() {
    let mut bench = Bench::new(cold_store());
    bench.put_into(0, &["cold-store"]);
    for second in 0..3 {
        bench.live(second, "t", 90.0);
    }
    assert_eq!(bench.history(), [(Raised, 2, LIVE)]);
    assert_eq!(bench.messages().len(), 1);
    bench.engine = Engine::new(Host::Server, Limits::default());
    for (key, value) in &bench.kept {
        bench.engine.restore(key, value).unwrap();
    }
    bench.put_into(3, &["cold-store"]);
    bench.load();
    assert_eq!(bench.history(), []);
    bench.live(3, "t", 91.0);
    bench.live(4, "t", 20.0);
    bench.live(5, "t", 91.0);
    assert_eq!(bench.history(), [(Returned, 4, LIVE), (Raised, 5, LIVE)], "the window was not empty");
}

//! Each rule by itself.

use fieldline_journal::sim::{Fault, Kind, Outcome};
use fieldline_model::{ShadowOperation, ShadowPart};
use fieldline_shadow::Error;
use serde_json::{Value, json};

use super::super::machine::Bounds;
use super::site::{Fate, Site, shadow};

/// Both sides, when they agree.
fn agreed(site: &mut Site, thing: &str) -> Value {
    site.rest();
    let (local, cloud) = (site.local(thing), site.cloud.state(&shadow(thing)));
    assert_eq!(local, cloud);
    assert_eq!(site.machine.as_ref().unwrap().numbers().waiting, 0);
    local.unwrap_or_default()
}

fn told(site: &Site, operation: ShadowOperation, part: ShadowPart) -> Option<Value> {
    let found = site.told.iter().rev().find(|(topic, _)| topic.operation == operation && topic.part == part);
    found.map(|(_, document)| document.clone())
}

fn delta(site: &Site) -> Option<Value> {
    told(site, ShadowOperation::Update, ShadowPart::Delta).map(|delta| delta["state"].clone())
}

#[test]
fn what_a_device_reports_offline_reaches_the_cloud_after_a_power_cut() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"t": 1}})).unwrap().unwrap();
    site.update("d", json!({"reported": {"t": 2, "u": 1}})).unwrap().unwrap();
    assert_eq!(site.local("d"), Some(json!({"reported": {"t": 2, "u": 1}})));
    site.crash(Outcome::Dropped, 1);
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"t": 2, "u": 1}}));
}

#[test]
fn what_the_cloud_desires_reaches_the_device_as_a_delta() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"valve": "shut"}})).unwrap().unwrap();
    site.rest();
    site.desire("d", json!({"valve": "open"}));
    assert_eq!(agreed(&mut site, "d"), json!({"desired": {"valve": "open"}, "reported": {"valve": "shut"}}));
    assert_eq!(delta(&site), Some(json!({"valve": "open"})));
    site.link(false);
    site.desire("d", json!({"valve": "half"}));
    site.rest();
    assert_eq!(delta(&site), Some(json!({"valve": "half"})));
}

#[test]
fn a_device_that_only_asks_gets_what_the_cloud_has() {
    let mut site = Site::new();
    site.desire("d", json!({"x": 1}));
    let missing = site.device("d", ShadowOperation::Get, &json!({"clientToken": "t"})).unwrap().unwrap_err();
    assert_eq!((&missing["code"], &missing["clientToken"]), (&json!(404), &json!("t")));
    assert_eq!(agreed(&mut site, "d"), json!({"desired": {"x": 1}}));
    assert_eq!(delta(&site), Some(json!({"x": 1})));
}

#[test]
fn where_both_wrote_desired_is_the_clouds_and_reported_the_devices() {
    let mut site = Site::new();
    site.update("d", json!({"desired": {"a": 0, "b": 0, "c": 0}, "reported": {"r": 0, "s": 0}}))
        .unwrap()
        .unwrap();
    site.rest();
    site.link(false);
    site.update("d", json!({"desired": {"a": 1, "b": 1}, "reported": {"r": 1}})).unwrap().unwrap();
    let theirs = json!({"state": {"desired": {"a": 2, "c": 2}, "reported": {"r": 2, "s": 2}}});
    site.in_cloud("d", ShadowOperation::Update, &theirs);
    assert_eq!(
        agreed(&mut site, "d"),
        json!({"desired": {"a": 2, "b": 1, "c": 2}, "reported": {"r": 1, "s": 2}})
    );
}

#[test]
fn a_conflict_is_resolved_by_asking_again() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"t": 0}})).unwrap().unwrap();
    site.rest();
    site.update("d", json!({"desired": {"x": 1}, "reported": {"t": 1}})).unwrap().unwrap();
    assert_eq!(site.asked.len(), 1, "the update is on its way");
    site.desire("d", json!({"x": 9}));
    assert_eq!(agreed(&mut site, "d"), json!({"desired": {"x": 9}, "reported": {"t": 1}}));
}

#[test]
fn an_update_whose_answer_was_lost_is_not_taken_for_the_clouds_word() {
    let mut site = Site::new();
    site.update("d", json!({"desired": {"x": 0}})).unwrap().unwrap();
    site.rest();
    site.update("d", json!({"desired": {"x": 1}})).unwrap().unwrap();
    site.upward(Fate::Arrives);
    site.crash(Outcome::Kept, 1);
    site.update("d", json!({"desired": {"x": 2}})).unwrap().unwrap();
    assert_eq!(agreed(&mut site, "d"), json!({"desired": {"x": 2}}));
}

#[test]
fn a_cloud_that_writes_numbers_otherwise_is_not_corrected_for_ever() {
    let mut site = Site::new();
    site.cloud.shortens = true;
    for t in [21.0, 22.0] {
        site.update("d", json!({"desired": {"x": t}, "reported": {"t": t, "l": {"u": t}}})).unwrap().unwrap();
        let requests = site.cloud.requests;
        site.rest();
        assert!(site.cloud.requests - requests < 6, "{} requests", site.cloud.requests - requests);
        assert_eq!(site.machine.as_ref().unwrap().numbers().waiting, 0);
    }
    let cloud = site.cloud.state(&shadow("d")).unwrap();
    assert_eq!(cloud, json!({"desired": {"x": 22}, "reported": {"t": 22, "l": {"u": 22}}}));
}

#[test]
fn deletions_go_both_ways_and_what_a_device_says_outlives_one() {
    let mut site = Site::new();
    site.update("d", json!({"desired": {"x": 1}, "reported": {"a": 1, "b": 1}})).unwrap().unwrap();
    site.rest();
    site.device("d", ShadowOperation::Delete, &json!({})).unwrap().unwrap();
    site.rest();
    assert_eq!((site.local("d"), site.cloud.state(&shadow("d"))), (None, None));

    site.pass(400_000);
    site.update("d", json!({"desired": {"x": 1}, "reported": {"a": 1, "b": 1}})).unwrap().unwrap();
    site.rest();
    site.in_cloud("d", ShadowOperation::Delete, &json!({}));
    site.rest();
    assert_eq!((site.local("d"), site.cloud.state(&shadow("d"))), (None, None));
    assert!(told(&site, ShadowOperation::Delete, ShadowPart::Accepted).is_some());

    site.update("d", json!({"desired": {"x": 1}, "reported": {"a": 1, "b": 1}})).unwrap().unwrap();
    site.rest();
    site.link(false);
    site.update("d", json!({"reported": {"b": 2}})).unwrap().unwrap();
    site.in_cloud("d", ShadowOperation::Delete, &json!({}));
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"b": 2}}));
}

#[test]
fn a_shadow_deleted_here_comes_back_with_what_the_cloud_desires_since() {
    let mut site = Site::new();
    site.update("d", json!({"desired": {"x": 1}, "reported": {"a": 1}})).unwrap().unwrap();
    site.rest();
    site.link(false);
    site.device("d", ShadowOperation::Delete, &json!({})).unwrap().unwrap();
    site.desire("d", json!({"y": 1}));
    assert_eq!(agreed(&mut site, "d"), json!({"desired": {"y": 1}}));
}

#[test]
fn a_shadow_made_again_after_a_deletion_whose_answer_was_lost_stays_whole() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    site.rest();
    site.device("d", ShadowOperation::Delete, &json!({})).unwrap().unwrap();
    site.upward(Fate::Arrives);
    site.link(false);
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"a": 1}}));
}

#[test]
fn nothing_is_accepted_that_is_not_on_disk() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    site.disk.fail_every(Kind::SyncData, Fault::Eio);
    assert_eq!(site.update("d", json!({"reported": {"a": 2}})), None);
    site.disk.heal();
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"a": 1}}));
}

#[test]
fn what_the_cloud_refuses_waits_for_a_change_and_does_not_press() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    site.rest();
    site.cloud.refuses = Some(Error::TooLarge);
    site.update("d", json!({"reported": {"a": 2}})).unwrap().unwrap();
    site.rest();
    assert_eq!(site.machine.as_ref().unwrap().numbers().refused, 1);
    let requests = site.cloud.requests;
    site.pass(3_600_000);
    site.rest();
    assert_eq!(site.cloud.requests, requests, "nothing is tried again by itself");
    site.cloud.refuses = None;
    site.update("d", json!({"reported": {"a": 3}})).unwrap().unwrap();
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"a": 3}}));
}

#[test]
fn a_cloud_that_is_busy_is_asked_less_and_less() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    site.rest();
    site.cloud.refuses = Some(Error::Throttled);
    let from = site.cloud.requests;
    site.update("d", json!({"reported": {"a": 2}})).unwrap().unwrap();
    for _ in 0..3_600 {
        site.pass(1_000);
        site.upward(Fate::Arrives);
        while !site.cloud.said.is_empty() {
            site.downward(0, Fate::Arrives);
        }
    }
    let asked = site.cloud.requests - from;
    assert!((30..200).contains(&asked), "{asked} requests in an hour");
    site.cloud.refuses = None;
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"a": 2}}));
}

#[test]
fn no_more_than_eight_requests_are_under_way() {
    let mut site =
        Site::with(Bounds { shadows_max: 30, subscriptions_max: 60, every_thing: false, widens: false });
    for n in 0..30 {
        site.update(&format!("d{n}"), json!({"reported": {"n": n}})).unwrap().unwrap();
    }
    assert_eq!(site.update("d30", json!({"reported": {}})).unwrap().unwrap_err()["code"], 500);
    site.link(true);
    for _ in 0..30 {
        site.upward(Fate::Lost);
        assert!(site.asked.len() <= 8);
    }
    for n in 0..30 {
        assert_eq!(agreed(&mut site, &format!("d{n}")), json!({"reported": {"n": n}}));
    }
}

#[test]
fn shadows_without_a_subscription_are_kept_here_and_counted() {
    let mut site =
        Site::with(Bounds { shadows_max: 5, subscriptions_max: 2, every_thing: false, widens: false });
    for n in 0..5 {
        site.update(&format!("d{n}"), json!({"reported": {"n": n}})).unwrap().unwrap();
    }
    site.rest();
    let numbers = site.machine.as_ref().unwrap().numbers();
    assert_eq!((numbers.unheard, numbers.waiting), (3, 3));
    assert_eq!(site.cloud.state(&shadow("d0")), Some(json!({"reported": {"n": 0}})));
    assert_eq!(site.cloud.state(&shadow("d4")), None);

    let mut site =
        Site::with(Bounds { shadows_max: 5, subscriptions_max: 2, every_thing: true, widens: false });
    for n in 0..5 {
        site.update(&format!("d{n}"), json!({"reported": {"n": n}})).unwrap().unwrap();
    }
    site.desire("stranger", json!({"x": 1}));
    assert_eq!(agreed(&mut site, "d4"), json!({"reported": {"n": 4}}));
    assert_eq!(site.machine.as_ref().unwrap().numbers().known, 5, "other things are none of ours");
}

#[test]
fn names_that_were_only_asked_for_make_room() {
    let mut site = Site::new();
    site.update("kept", json!({"reported": {"n": 1}})).unwrap().unwrap();
    for n in 0..30 {
        site.device(&format!("x{n}"), ShadowOperation::Get, &json!({})).unwrap().unwrap_err();
        site.rest();
    }
    site.update("late", json!({"reported": {"n": 2}})).unwrap().unwrap();
    assert_eq!(site.local("kept"), Some(json!({"reported": {"n": 1}})));
}

#[test]
fn a_server_that_hangs_up_on_shadows_is_left_in_peace_for_a_while() {
    let mut site = Site::new();
    site.update("d", json!({"reported": {"a": 1}})).unwrap().unwrap();
    let mut connections = 0;
    for _ in 0..6 * 60 {
        site.link(true);
        if site.asks() {
            connections += 1;
            site.link(false);
        }
        site.pass(10_000);
    }
    assert!((5..=12).contains(&connections), "{connections} connections were lost within an hour");
    assert_eq!(agreed(&mut site, "d"), json!({"reported": {"a": 1}}));
}

#[test]
fn a_device_that_speaks_need_not_wait_for_the_comparison_of_all_others() {
    let mut site =
        Site::with(Bounds { shadows_max: 60, subscriptions_max: 60, every_thing: true, widens: false });
    for n in 0..60 {
        site.update(&format!("d{n}"), json!({"reported": {"n": n}})).unwrap().unwrap();
    }
    site.rest();
    site.link(false);
    site.link(true);
    while site.cloud.requests < 320 {
        site.upward(Fate::Arrives);
        site.downward(0, Fate::Arrives);
        assert!(site.machine.as_ref().unwrap().numbers().waiting > 0, "the comparison is over");
        if site.asks() && site.heard_of("d59") {
            break;
        }
        site.update("d59", json!({"reported": {"n": 0}})).unwrap().unwrap();
    }
    assert!(site.machine.as_ref().unwrap().numbers().waiting > 20, "others wait still");
    assert_eq!(agreed(&mut site, "d59"), json!({"reported": {"n": 0}}));
}

//! The machine against a simulated shadow, and the file under crashes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fieldline_journal::sim::{Outcome, SimFs};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::desired::Desired;
use super::machine::{Lack, Machine, Step};
use super::state::{Known, State, Trial, Verdict};
use super::store::Store;

const WITHIN: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Documents with `bad` cannot be used.
fn machine(saved: State) -> (Machine, Vec<Step>) {
    let check = |document: &Value| match document.get("bad") {
        None => Ok(()),
        Some(_) => Err("it is bad".to_owned()),
    };
    Machine::new(saved, Box::new(check), WITHIN, 7)
}

fn document(name: &str) -> Value {
    json!({ "sync": { "linger": name } })
}

fn desire(machine: &mut Machine, wanted: &Value, version: u64, now: Duration) -> Vec<Step> {
    machine.desired(Desired::Document(wanted.clone()), version, None, now)
}

fn reported(steps: &[Step]) -> Option<(&Value, &str)> {
    steps.iter().find_map(|step| match step {
        Step::Report(report, token) => Some((report, token.as_str())),
        _ => None,
    })
}

fn applied(steps: &[Step]) -> Option<&Value> {
    steps.iter().find_map(|step| match step {
        Step::Apply(document) => Some(document),
        _ => None,
    })
}

/// Brings the machine onto a document: desired, tried, confirmed.
fn commit(machine: &mut Machine, wanted: &Value, version: u64, now: Duration) {
    let steps = desire(machine, wanted, version, now);
    assert_eq!(applied(&steps), Some(wanted));
    machine.down();
    let steps = machine.up(machine.generation(), now);
    let (report, token) = reported(&steps).expect("a trial is told");
    assert_eq!(report["status"], "trying");
    let token = token.to_owned();
    let steps = machine.accepted(&token, now);
    assert_eq!(reported(&steps).unwrap().0["status"], "applied");
    assert_eq!(machine.state().committed.document, *wanted);
}

#[test]
fn a_configuration_is_committed_when_the_server_was_reached_with_it() {
    let (mut machine, steps) = machine(State::default());
    assert!(steps.is_empty());
    machine.up(0, seconds(1));
    let a = document("a");
    let steps = desire(&mut machine, &a, 3, seconds(2));
    let trial = Trial { known: Known::new(a.clone(), 3), starts: 1 };
    let expected = State { trial: Some(trial), ..State::default() };
    assert_eq!(steps, [Step::Save(expected), Step::Apply(a.clone())], "first written, then used");
    // The connection that was there before proves nothing.
    assert_eq!(machine.accepted("config-00000007-1", seconds(3)), []);
    assert!(reported(&machine.up(0, seconds(4))).is_none());
    machine.down();
    let steps = machine.up(1, seconds(5));
    let (report, token) = reported(&steps).unwrap();
    assert_eq!((&report["status"], &report["version"]), (&json!("trying"), &json!(3)));
    let token = token.to_owned();
    assert_eq!(machine.accepted("another", seconds(6)), []);
    let steps = machine.accepted(&token, seconds(6));
    let committed = State { committed: Known::new(a, 3), ..State::default() };
    assert_eq!(steps[0], Step::Save(committed));
    assert_eq!(reported(&steps).unwrap().0["status"], "applied");
    assert_eq!(machine.tick(seconds(10_000)).iter().filter(|step| matches!(step, Step::Apply(_))).count(), 0);
}

#[test]
fn a_gateway_that_is_cut_off_goes_back_at_its_deadline() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let a = document("a");
    commit(&mut machine, &a, 2, seconds(2));
    desire(&mut machine, &document("b"), 4, seconds(10));
    machine.down();
    assert_eq!(machine.wake(), Some(seconds(310)));
    assert_eq!(machine.tick(seconds(309)), []);
    let steps = machine.tick(seconds(310));
    assert_eq!(applied(&steps), Some(&a));
    let refused = machine.state().refused.clone().unwrap();
    assert_eq!((refused.verdict, refused.version), (Verdict::Reverted, 4));
    // Back again, it says so, and does not try the same once more.
    let steps = machine.up(machine.generation(), seconds(320));
    let (report, _) = reported(&steps).unwrap();
    assert_eq!((&report["status"], &report["sha256"]), (&json!("reverted"), &json!(refused.sha256)));
    assert!(report["reason"].as_str().unwrap().contains("within 5m"), "{report}");
    assert_eq!(applied(&desire(&mut machine, &document("b"), 5, seconds(321))), None);
    // But after something else it does.
    assert_eq!(applied(&desire(&mut machine, &a, 6, seconds(322))), None);
    let b = document("b");
    assert_eq!(applied(&desire(&mut machine, &b, 7, seconds(323))), Some(&b));
}

#[test]
fn what_cannot_be_used_changes_nothing_and_is_told_with_its_reason() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let steps = desire(&mut machine, &json!({ "bad": 1 }), 2, seconds(2));
    assert_eq!(applied(&steps), None);
    let (report, _) = reported(&steps).unwrap();
    assert_eq!((&report["status"], &report["reason"]), (&json!("rejected"), &json!("it is bad")));
    // In the middle of a trial it ends the trial: what is desired now is not what is tried.
    desire(&mut machine, &document("a"), 3, seconds(3));
    let steps = desire(&mut machine, &json!({ "bad": 2 }), 4, seconds(4));
    assert_eq!(applied(&steps), Some(&json!({})));
    assert_eq!(machine.state().trial, None);
}

#[test]
fn a_trial_goes_on_after_one_restart_and_not_after_more() {
    let known = Known::new(document("a"), 2);
    let saved = |starts| State { trial: Some(Trial { known: known.clone(), starts }), ..State::default() };
    let (mut first, steps) = machine(saved(1));
    assert_eq!(steps, [Step::Save(saved(2))]);
    assert_eq!(first.state().effective().document, document("a"));
    let steps = first.up(0, seconds(1));
    let token = reported(&steps).unwrap().1.to_owned();
    first.accepted(&token, seconds(2));
    assert_eq!(first.state().committed, known);
    let (second, steps) = machine(saved(2));
    assert!(matches!(&steps[..], [Step::Forget(state)] if state.trial.is_none()));
    assert_eq!(second.state().effective().document, json!({}));
    assert!(second.state().refused.as_ref().unwrap().reason.contains("ended 2 times"));
}

#[test]
fn a_large_document_is_fetched_and_checked() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let gateway = fieldline_model::GatewayId::new("gw").unwrap();
    let text = document("large").to_string();
    let sha256 = super::document::digest(&document("large"));
    let topic = format!("fieldline/gw/config/{sha256}");
    let reference = json!({ "topic": topic, "sha256": sha256, "bytes": text.len() });
    let wanted = Desired::of(&json!({ "config_ref": reference }), &gateway);
    assert_eq!(machine.desired(wanted.clone(), 2, None, seconds(2)), [Step::Listen(topic.clone())]);
    assert_eq!(machine.fetched("fieldline/gw/config/other", b"{}", seconds(3)), []);
    let steps = machine.fetched(&topic, text.as_bytes(), seconds(3));
    assert_eq!(applied(&steps), Some(&document("large")));
    // Another byte is another document.
    let (mut second, _) = self::machine(State::default());
    second.up(0, seconds(1));
    second.desired(wanted.clone(), 2, None, seconds(2));
    let steps = second.fetched(&topic, text.replace("large", "lange").as_bytes(), seconds(3));
    assert!(reported(&steps).unwrap().0["reason"].as_str().unwrap().contains("SHA-256"));
    // What never comes is given up.
    let (mut third, _) = self::machine(State::default());
    third.up(0, seconds(1));
    third.desired(wanted, 2, None, seconds(2));
    let steps = third.tick(seconds(62));
    assert_eq!(reported(&steps).unwrap().0["status"], "rejected");
    for (reference, word) in [
        (
            json!({ "topic": "fieldline/other/config/x", "sha256": "x", "bytes": 1 }),
            "not the gateway's topic",
        ),
        (json!({ "topic": topic, "sha256": sha256, "bytes": 200_000 }), "more than"),
        (json!({ "topic": topic }), "missing field"),
    ] {
        let Desired::Wrong(_, reason) = Desired::of(&json!({ "config_ref": reference }), &gateway) else {
            panic!("{reference}")
        };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn a_full_disk_lets_nothing_be_tried_and_everything_be_given_up() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let before = machine.state().clone();
    let steps = desire(&mut machine, &document("a"), 2, seconds(2));
    assert!(matches!(steps[0], Step::Save(_)));
    machine.not_saved(before.clone(), true, seconds(2));
    assert_eq!((machine.state(), machine.generation()), (&before, 0));
    // It is asked for again, and goes the same way once there is room.
    let steps = machine.tick(seconds(20));
    assert!(steps.iter().any(|step| matches!(step, Step::Get(_))), "{steps:?}");
    assert_eq!(applied(&desire(&mut machine, &document("a"), 2, seconds(21))), Some(&document("a")));
    let steps = machine.tick(seconds(400));
    assert!(matches!(steps[0], Step::Forget(_)), "{steps:?}");
}

/// A revert that failed was only logged: the gateway stayed on what cuts it off.
#[test]
fn what_cannot_be_put_to_use_is_tried_again_until_it_works() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let a = document("a");
    commit(&mut machine, &a, 2, seconds(2));
    desire(&mut machine, &document("b"), 3, seconds(10));
    let in_use = machine.generation();
    machine.down();
    assert_eq!(applied(&machine.tick(seconds(310))), Some(&a));
    let mut now = 310;
    for _ in 0..3 {
        machine.not_in_use("a file is gone".to_owned(), seconds(now));
        assert_eq!(machine.lack(), Some(&Lack::Unused("a file is gone".to_owned())));
        // A link that what was tried makes after all proves nothing for what is committed.
        let steps = machine.up(in_use, seconds(now));
        let (report, token) = reported(&steps).expect("there is something to tell");
        assert_eq!(report["status"], "reverted");
        assert!(report["reason"].as_str().unwrap().contains("a file is gone"), "{report}");
        let token = token.to_owned();
        assert_eq!(applied(&machine.accepted(&token, seconds(now))), None);
        assert_eq!(machine.wake(), Some(seconds(now + 15)));
        now += 15;
        assert_eq!(applied(&machine.tick(seconds(now))), Some(&a));
    }
    machine.in_use(seconds(now));
    assert_eq!(machine.lack(), None);
    assert!(machine.wake().is_none_or(|at| at > seconds(now + 15) || applied(&machine.tick(at)).is_none()));
    let steps = machine.up(machine.generation(), seconds(now + 1));
    assert!(!reported(&steps).unwrap().0["reason"].as_str().unwrap().contains("gone"), "{steps:?}");
}

#[test]
fn what_is_tried_and_cannot_be_put_to_use_is_given_up() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let a = document("a");
    commit(&mut machine, &a, 2, seconds(2));
    desire(&mut machine, &document("b"), 3, seconds(10));
    let steps = machine.not_in_use("a file is gone".to_owned(), seconds(10));
    assert_eq!(applied(&steps), Some(&a));
    assert!(matches!(&steps[0], Step::Forget(state) if state.trial.is_none()), "{steps:?}");
    machine.in_use(seconds(10));
    let steps = machine.up(machine.generation(), seconds(11));
    let (report, _) = reported(&steps).unwrap();
    assert_eq!((&report["status"], &report["reason"]), (&json!("rejected"), &json!("a file is gone")));
}

/// It was said to be applied, although the gateway's own file alone was in use.
#[test]
fn what_is_committed_and_not_in_use_is_not_said_to_be_applied() {
    let saved = State { committed: Known::new(document("a"), 2), ..State::default() };
    let (mut machine, _) = machine(saved);
    machine.lacks(Lack::Unused("it does not fit any more".to_owned()), seconds(0));
    machine.up(0, seconds(1));
    let steps = desire(&mut machine, &document("a"), 2, seconds(2));
    let (report, _) = reported(&steps).unwrap();
    assert_eq!(
        (&report["status"], &report["sha256"]),
        (&json!("rejected"), &json!(Known::new(document("a"), 2).sha256))
    );
    assert_eq!(report["reason"], "it does not fit any more");
    assert_eq!(applied(&machine.tick(seconds(15))), Some(&document("a")));
    machine.in_use(seconds(15));
    let steps = machine.up(machine.generation(), seconds(16));
    let (report, _) = reported(&steps).unwrap();
    assert_eq!((&report["status"], &report["reason"]), (&json!("applied"), &Value::Null));
}

/// A reason with a whole document in it made a report that no shadow took, so that nobody heard of it.
#[test]
fn a_reason_fits_whatever_was_wrong() {
    let gateway = fieldline_model::GatewayId::new("gw").unwrap();
    for long in ["x".repeat(9_000), "ü\u{1}".repeat(4_000), "\"\\".repeat(4_000)] {
        let (mut machine, _) = machine(State::default());
        machine.up(0, seconds(1));
        let wanted = Desired::of(&json!({ "config_ref": { long.as_str(): 1 } }), &gateway);
        let steps = machine.desired(wanted, 2, None, seconds(2));
        let (report, _) = reported(&steps).unwrap();
        let reason = report["reason"].as_str().unwrap();
        assert!(reason.len() <= 512 && reason.len() > 500 && reason.ends_with('…'), "{reason}");
        assert!(report.to_string().len() < 1_400, "{report}");
        assert!(machine.state().refused.as_ref().unwrap().reason.len() <= 512);
        // Also one that was written down before there was a limit.
        let mut saved = machine.state().clone();
        saved.refused.as_mut().unwrap().reason = long.clone();
        let (mut second, _) = self::machine(saved.clone());
        second.up(0, seconds(1));
        let again = Desired::Wrong(saved.refused.unwrap().sha256, String::new());
        let steps = second.desired(again, 2, None, seconds(2));
        assert!(reported(&steps).is_none_or(|(report, _)| report.to_string().len() < 1_400), "{steps:?}");
    }
    let exact = "x".repeat(512);
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let steps = machine.desired(Desired::Wrong("d".to_owned(), exact.clone()), 2, None, seconds(2));
    assert_eq!(reported(&steps).unwrap().0["reason"], exact.as_str());
}

/// Versions below the highest were passed over for ever: after a restored backup nothing was taken up any more.
#[test]
fn a_server_that_counts_anew_is_heard() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    commit(&mut machine, &document("a"), 900, seconds(2));
    // What comes late, or for somebody else, is passed over, also where it waited for this connection.
    machine.down();
    let steps = machine.up(machine.generation(), seconds(4));
    let Step::Get(token) = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(desire(&mut machine, &document("old"), 899, seconds(5)), []);
    let wanted = Desired::Document(document("old"));
    assert_eq!(machine.desired(wanted, 899, Some("another"), seconds(5)), []);
    // But the answer to what was asked counts.
    let b = document("b");
    let steps = machine.desired(Desired::Document(b.clone()), 5, Some(token), seconds(5));
    assert_eq!(applied(&steps), Some(&b));
    // So it does for a shadow that was deleted and begun anew.
    let steps = machine.changed(None, seconds(6));
    let Step::Get(token) = &steps[0] else { panic!("{steps:?}") };
    let c = document("c");
    let steps = machine.desired(Desired::Document(c.clone()), 1, Some(token), seconds(7));
    assert_eq!(applied(&steps), Some(&c));
}

/// Whoever chose tokens of the same look was not heard.
#[test]
fn only_the_echo_of_a_report_is_passed_over() {
    let (mut machine, _) = machine(State::default());
    machine.up(0, seconds(1));
    let a = document("a");
    let steps = desire(&mut machine, &a, 2, seconds(2));
    assert!(reported(&steps).is_none());
    machine.down();
    let steps = machine.up(1, seconds(3));
    let own = reported(&steps).unwrap().1.to_owned();
    for (token, asks) in [
        (None, true),
        (Some("config-7"), true),
        (Some("config-00000007-99"), true),
        (Some(own.as_str()), false),
        (Some(own.as_str()), true),
    ] {
        let steps = machine.changed(token, seconds(4));
        assert_eq!(matches!(&steps[..], [Step::Get(_)]), asks, "{token:?}: {steps:?}");
    }
    // An echo may come after the answer.
    let steps = machine.accepted(&own, seconds(5));
    let own = reported(&steps).unwrap().1.to_owned();
    assert_eq!(machine.accepted(&own, seconds(6)), []);
    assert_eq!(machine.changed(Some(&own), seconds(7)), []);
}

#[test]
fn the_file_is_the_old_one_or_the_new_one_wherever_the_power_is_cut() {
    let folder = PathBuf::from("/data/config");
    let old = State { committed: Known::new(document("old"), 1), ..State::default() };
    let new = State { committed: Known::new(document("new"), 2), ..State::default() };
    for outcome in [Outcome::Kept, Outcome::Dropped, Outcome::Torn] {
        for at in 0.. {
            let fs = SimFs::new();
            let store = Store::new(Arc::new(fs.clone()), folder.clone());
            assert_eq!(store.load().unwrap(), (State::default(), None));
            store.save(&old).unwrap();
            fs.crash_at(fs.operations() + at);
            let saved = store.save(&new).is_ok();
            if !fs.has_crashed() {
                assert!(saved && at > 3, "the save has some operations");
                break;
            }
            let after = Store::new(Arc::new(fs.reboot(outcome, at)), folder.clone());
            let (found, trouble) = after.load().unwrap();
            assert_eq!(trouble, None, "{outcome:?} at operation {at}");
            assert!(found == new || found == old, "{outcome:?} at operation {at}: {found:?}");
            assert!(found == new || !saved, "{outcome:?} at operation {at}");
        }
    }
}

#[test]
fn a_damaged_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(Arc::new(fieldline_journal::DiskFs), folder.path().join("config"));
    store.load().unwrap();
    let state = State { committed: Known::new(document("a"), 1), ..State::default() };
    store.save(&state).unwrap();
    let path = folder.path().join("config/state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    // Well formed, and another configuration.
    std::fs::write(&path, text.replace("\"linger\":\"a\"", "\"linger\":\"z\"")).unwrap();
    let (found, trouble) = store.load().unwrap();
    assert_eq!(found, State::default());
    assert!(trouble.unwrap().contains("damaged"));
    assert!(path.with_extension("damaged").exists());
}

/// What can happen to a gateway.
#[derive(Debug, Clone)]
enum Happening {
    Desire(u8),
    Up,
    OldUp,
    Down,
    Accept,
    Pass(u16),
    Restart,
    /// Nothing can be put to use from now on, or all can again.
    Fail(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Happening::Desire),
        3 => Just(Happening::Up),
        1 => Just(Happening::OldUp),
        2 => Just(Happening::Down),
        3 => Just(Happening::Accept),
        2 => (0..400_u16).prop_map(Happening::Pass),
        1 => Just(Happening::Restart),
        1 => any::<bool>().prop_map(Happening::Fail),
    ]
}

proptest! {
    /// Whatever happens in whatever order: what is in use is what was committed or what is tried, or the machine
    /// knows that it is not and puts it to use as soon as that works; what is committed has reached the server, and
    /// no trial outlives its deadline.
    #[test]
    fn a_gateway_is_on_the_old_or_the_new_configuration(happenings in prop::collection::vec(happening(), 1..60)) {
        let (mut machine, _) = machine(State::default());
        let (mut now, mut version) = (seconds(0), 0);
        let mut in_use = json!({});
        // The configuration of the connection that is there, and what was told on it.
        let mut link: Option<Value> = None;
        let mut told: Option<(String, Value)> = None;
        let mut began: Option<Duration> = None;
        let mut fails = false;
        for happening in happenings {
            let before = machine.state().clone();
            let mut steps = match happening {
                Happening::Fail(does) => {
                    fails = does;
                    Vec::new()
                }
                Happening::Desire(number) => {
                    version += 1;
                    let wanted = if number == 3 { json!({ "bad": version }) } else { document(&number.to_string()) };
                    desire(&mut machine, &wanted, version, now)
                }
                Happening::Up => {
                    link = Some(in_use.clone());
                    told = None;
                    machine.up(machine.generation(), now)
                }
                Happening::OldUp if machine.generation() > 0 => {
                    link = None;
                    told = None;
                    machine.up(machine.generation() - 1, now)
                }
                Happening::OldUp => Vec::new(),
                Happening::Down => {
                    link = None;
                    machine.down();
                    Vec::new()
                }
                Happening::Accept => match told.take() {
                    Some((token, _)) => machine.accepted(&token, now),
                    None => Vec::new(),
                },
                Happening::Pass(time) => {
                    now += seconds(time.into());
                    machine.tick(now)
                }
                Happening::Restart => {
                    let (again, steps) = self::machine(machine.state().clone());
                    machine = again;
                    (link, told, now) = (None, None, seconds(0));
                    in_use = machine.state().effective().document.clone();
                    began = machine.state().trial.as_ref().map(|_| now);
                    steps
                }
            };
            if let Some((report, token)) = reported(&steps) {
                told = link.as_ref().map(|_| (token.to_owned(), report.clone()));
            }
            while let Some(document) = applied(&steps) {
                if fails {
                    steps = machine.not_in_use("it fails".to_owned(), now);
                    continue;
                }
                in_use = document.clone();
                machine.in_use(now);
                // The connection is made anew.
                link = None;
                began = machine.state().trial.as_ref().map(|_| now);
                break;
            }
            let state = machine.state();
            match machine.lack() {
                None => prop_assert_eq!(&in_use, &state.effective().document, "in use is what counts"),
                Some(_) => {
                    prop_assert_eq!(&state.trial, &None);
                    prop_assert!(machine.wake().is_some_and(|at| at <= now + seconds(15)), "it is tried again");
                }
            }
            if state.committed != before.committed {
                prop_assert_eq!(Some(&state.committed.document), link.as_ref(), "it has reached the server");
                began = None;
            }
            if state.trial.is_none() {
                began = None;
            }
            if let Some(began) = began {
                prop_assert!(matches!(happening, Happening::Pass(_)) <= (now < began + WITHIN));
            }
            prop_assert!(state.committed.document.get("bad").is_none());
        }
    }
}

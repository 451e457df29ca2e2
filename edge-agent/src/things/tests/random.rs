//! Random days of a site.

use std::collections::BTreeMap;

use fieldline_journal::sim::Outcome;
use fieldline_model::ShadowOperation;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::site::{Fate, Site, shadow};

const THINGS: [&str; 2] = ["d", "e"];
const LEAVES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// A device reports a leaf; the value is the number of the step.
    Report(usize, usize),
    /// A local application desires a leaf.
    DesireHere(usize, usize),
    /// An application in the cloud desires a leaf.
    DesireThere(usize, usize),
    Link(bool),
    Upward(Fate),
    Downward(usize, Fate),
    Pass(u64),
    /// The disk fails for good after so many operations, and the gateway starts again.
    Crash(u64, Outcome),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Twice)]
}

fn step() -> impl Strategy<Value = Step> {
    let (thing, leaf) = (0..THINGS.len(), 0..LEAVES.len());
    prop_oneof![
        3 => (thing.clone(), leaf.clone()).prop_map(|(thing, leaf)| Step::Report(thing, leaf)),
        1 => (thing.clone(), leaf.clone()).prop_map(|(thing, leaf)| Step::DesireHere(thing, leaf)),
        2 => (thing, leaf).prop_map(|(thing, leaf)| Step::DesireThere(thing, leaf)),
        1 => prop::bool::weighted(0.7).prop_map(Step::Link),
        6 => fate().prop_map(Step::Upward),
        6 => (0..4usize, fate()).prop_map(|(which, fate)| Step::Downward(which, fate)),
        1 => (0..15_000u64).prop_map(Step::Pass),
        1 => (0..12u64, prop::sample::select(Outcome::ALL.to_vec())).prop_map(|(at, how)| Step::Crash(at, how)),
    ]
}

/// What must be true in the end.
#[derive(Debug, Default)]
struct Oracle {
    /// What each device last said of a leaf and heard to be accepted (none: it never was), or said since and
    /// heard nothing.
    reported: BTreeMap<(usize, usize), Vec<Option<u64>>>,
    /// What the cloud last said of a leaf.
    desired_there: BTreeMap<(usize, usize), u64>,
    /// All that was ever desired here since.
    desired_here: BTreeMap<(usize, usize), Vec<u64>>,
}

fn report(site: &mut Site, oracle: &mut Oracle, at: (usize, usize), number: u64) {
    let reply = site.update(THINGS[at.0], json!({"reported": {LEAVES[at.1]: number}}));
    let values = oracle.reported.entry(at).or_insert_with(|| vec![None]);
    if matches!(reply, Some(Ok(_))) {
        values.clear();
    }
    values.push(Some(number));
}

fn run(site: &mut Site, oracle: &mut Oracle, number: u64, step: &Step) {
    match step.clone() {
        Step::Report(thing, leaf) => {
            report(site, oracle, (thing, leaf), number);
        }
        Step::DesireHere(thing, leaf) => {
            site.update(THINGS[thing], json!({"desired": {LEAVES[leaf]: number}}));
            oracle.desired_here.entry((thing, leaf)).or_default().push(number);
        }
        Step::DesireThere(thing, leaf) => {
            site.desire(THINGS[thing], json!({LEAVES[leaf]: number}));
            oracle.desired_there.insert((thing, leaf), number);
        }
        Step::Link(up) => site.link(up),
        Step::Upward(fate) => site.upward(fate),
        Step::Downward(which, fate) => site.downward(which, fate),
        Step::Pass(ms) => site.pass(ms),
        Step::Crash(at, outcome) => {
            site.disk.crash_at(site.disk.operations() + at);
            report(site, oracle, (0, 0), number);
            site.crash(outcome, number);
        }
    }
}

/// Lets everything come to rest; both sides are the same then.
fn agree(site: &mut Site) -> Result<(), TestCaseError> {
    // A device that has said nothing here, and does not listen, is not known.
    THINGS.iter().for_each(|name| drop(site.local(name)));
    site.rest();
    for name in THINGS {
        let (local, cloud) = (site.local(name), site.cloud.state(&shadow(name)));
        prop_assert_eq!(&local, &cloud, "both sides of {}", name);
    }
    let numbers = site.machine.as_ref().unwrap().numbers();
    prop_assert_eq!((numbers.waiting, numbers.refused, numbers.damaged), (0, 0, 0));
    Ok(())
}

fn check(site: &mut Site, oracle: &Oracle) -> Result<(), TestCaseError> {
    agree(site)?;
    for (thing, name) in THINGS.into_iter().enumerate() {
        let state = site.local(name).unwrap_or_default();
        for (leaf, field) in LEAVES.into_iter().enumerate() {
            let at = (thing, leaf);
            if let Some(values) = oracle.reported.get(&at) {
                let found = state["reported"][field].as_u64();
                prop_assert!(
                    values.contains(&found),
                    "reported {name}.{field}: one of {values:?}, and not {state}"
                );
            }
            let desired = &state["desired"][field];
            let here = oracle.desired_here.get(&at).map(Vec::as_slice).unwrap_or_default();
            match (oracle.desired_there.get(&at), desired.as_u64()) {
                (Some(there), Some(found)) => {
                    let newer = here.contains(&found) && found > *there;
                    prop_assert!(
                        found == *there || newer,
                        "desired {name}.{field}: {there}, and not {found}"
                    );
                }
                (Some(there), None) => {
                    prop_assert!(false, "desired {name}.{field}: {there}, and not {desired}")
                }
                (None, Some(found)) => prop_assert!(here.contains(&found)),
                (None, None) => {}
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_agree_in_the_end_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let (mut site, mut oracle) = (Site::new(), Oracle::default());
        for (number, step) in steps.iter().enumerate() {
            run(&mut site, &mut oracle, number as u64, step);
        }
        check(&mut site, &oracle)?;
    }

    /// Without an oracle for leaves: deletions on both sides, whole sections, and still one state.
    #[test]
    fn deletions_leave_one_state(steps in prop::collection::vec((step(), 0..8u8), 1..60)) {
        let mut site = Site::new();
        for (number, (step, also)) in steps.iter().enumerate() {
            run(&mut site, &mut Oracle::default(), number as u64, step);
            match also {
                0 => drop(site.device("d", ShadowOperation::Delete, &json!({}))),
                1 => site.in_cloud("d", ShadowOperation::Delete, &json!({})),
                2 => drop(site.update("d", json!({"reported": Value::Null}))),
                _ => {}
            }
        }
        agree(&mut site)?;
    }
}

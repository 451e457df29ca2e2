//! `kill -9` of the server while clients of all kinds change shadows: what was accepted or heard is there,
//! whole, no version goes back or is given twice, and nothing is there that nobody asked for.

mod book;
mod client;
mod replay;
mod shadow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Http, Site, machine};
use serde_json::{Value, json};

use book::{Book, Change, Request, Round};
use shadow::{Document, SHADOWS, Snapshot};

const SEED: u64 = 0x5eed_5ad0_3511_0002;
/// Requests that are accepted between two kills, at most.
const ACCEPTED_MAX: u64 = 400;

#[test]
fn shadows_that_were_accepted_survive_kills() -> Result<()> {
    let _machine = machine::alone();
    let kills = machine::size("FIELDLINE_SHADOW_KILLS", 15);
    let seed = machine::size("FIELDLINE_SEED", SEED);
    println!("{kills} kills of the server while shadows change, seed {seed:#x}");
    let (began, mut random) = (Instant::now(), Random::new(seed));
    let mut site = Site::prepare()?;
    site.server.start()?;
    let mut snapshots = vec![Snapshot::default(); SHADOWS.len()];
    let (mut done, mut refused, mut heard, mut open) = (0, 0, 0, 0);
    for number in 1..=kills {
        let book = Arc::new(Book::new(snapshots.iter().map(|snapshot| snapshot.version).collect()));
        let clients = client::start(&site.server, &book, &mut random);
        let goal = random.below(ACCEPTED_MAX);
        until("accepted requests", PATIENCE, || {
            ensure!(!clients.iter().any(client::Client::has_ended), "a client has given up");
            Ok((book.accepted() >= goal).then_some(()))
        })?;
        site.server.kill()?;
        for client in clients {
            client.join()?;
        }
        if random.chance(30) {
            die_while_starting(&site, &mut random)?;
        }
        site.server.start()?;
        let round = book.close();
        let counts = round.counts();
        (done, refused, open) = (done + counts.done, refused + counts.refused, open + counts.open);
        heard += round.heard.len();
        for (index, before) in snapshots.iter_mut().enumerate() {
            let (found, after) = ask(site.server.http(), index)?;
            round
                .check(index, before, &found)
                .with_context(|| format!("kill {number}, shadow {:?}", SHADOWS[index]))?;
            *before = after;
        }
    }
    println!(
        "{done} requests accepted, {refused} refused, {open} open at a kill, {heard} messages heard, in {:?}",
        began.elapsed()
    );
    ensure!(open > 0, "no kill met a request: the test shows nothing");
    site.finish()
}

/// A kill while the store is being opened.
fn die_while_starting(site: &Site, random: &mut Random) -> Result<()> {
    let mut process = site.server.launch()?;
    // Not to wait for anything: the moment is to be any.
    std::thread::sleep(Duration::from_millis(random.below(40)));
    process.kill()
}

/// What is stored, and what is when this returns: a shadow that is gone is made and deleted once more,
/// as only an update tells the version that it had.
fn ask(http: Http, index: usize) -> Result<(Snapshot, Snapshot)> {
    let path = shadow::path(index);
    let answer = http.get(&path)?;
    if answer.status == 200 {
        let found = Snapshot::read(&serde_json::from_str(&answer.body)?)?;
        return Ok((found.clone(), found));
    }
    ensure!(answer.status == 404, "GET {path} answers {}: {}", answer.status, answer.body);
    let probe = br#"{"state": {"reported": {"probe": true}}}"#;
    let answer = http.post(&path, "application/json", probe)?;
    ensure!(answer.status == 200, "POST {path} answers {}: {}", answer.status, answer.body);
    let reply: Value = serde_json::from_str(&answer.body)?;
    let version = reply["version"].as_u64().filter(|version| *version > 0).context("no version")?;
    ensure!(http.delete(&path)?.status == 200, "the probe cannot be deleted");
    let gone = |version| Snapshot { version, document: None };
    Ok((gone(version - 1), gone(version)))
}

#[test]
fn the_check_finds_what_is_lost_invented_or_given_twice() -> Result<()> {
    let update = |client, name: &str, value: u64| {
        let reported = json!({ "reported": { name: value } });
        Request::new(client, 0, Change::Update { state: Document::read(&reported), version: None })
    };
    let state = |version, reported: Value| Snapshot {
        version,
        document: Some(Document::read(&json!({ "reported": reported }))),
    };
    let before = Snapshot::default();
    let (first, second) = (update(0, "a", 1).done(1), update(0, "a", 2).done(2));
    let round = Round { requests: vec![first, second, update(1, "b", 7), update(1, "b", 8)], heard: vec![] };
    let good = [
        state(2, json!({ "a": 2 })),
        state(3, json!({ "a": 2, "b": 7 })),
        state(4, json!({ "a": 2, "b": 8 })),
    ];
    for good in good {
        round.check(0, &before, &good)?;
    }
    let bad = [
        state(1, json!({ "a": 1 })),
        state(2, json!({ "a": 1 })),
        state(2, json!({ "a": 2, "b": 7 })),
        state(3, json!({ "a": 2 })),
        state(3, json!({ "a": 2, "b": 9 })),
        state(4, json!({ "a": 2, "b": 7 })),
        state(5, json!({ "a": 2, "b": 8 })),
        Snapshot { version: 2, document: None },
    ];
    for bad in bad {
        ensure!(round.check(0, &before, &bad).is_err(), "not found: {bad:?}");
    }
    let twice = Round { requests: vec![update(0, "a", 1).done(1), update(1, "a", 2).done(1)], heard: vec![] };
    ensure!(twice.check(0, &before, &state(1, json!({ "a": 2 }))).is_err(), "a version was given twice");
    Ok(())
}

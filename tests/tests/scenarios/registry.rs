//! The registry with AWS's clients, and under `kill -9`.

mod facts;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use fieldline_tests::clients::{python, run, script};
use fieldline_tests::http::Answer;
use fieldline_tests::process::Process;
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Http, Server, machine, programs};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use facts::Facts;

const SEED: u64 = 0x0e61_57e2;

/// `ca.pem`, `signed.pem` by it, and `own.pem`, which is signed by itself.
fn write_certificates(folder: &Path) -> Result<()> {
    let named = |name: &str| -> Result<CertificateParams> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params)
    };
    let mut authority = named("authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let signed = named("signed")?.signed_by(&KeyPair::generate()?, &authority)?;
    let own = named("own")?.self_signed(&KeyPair::generate()?)?;
    for (name, pem) in [("ca", authority.pem()), ("signed", signed.pem()), ("own", own.pem())] {
        std::fs::write(folder.join(name).with_extension("pem"), pem)?;
    }
    Ok(())
}

#[test]
fn boto3_and_the_aws_command_walk_the_control_plane() -> Result<()> {
    let _machine = machine::shared();
    let Some(python) = python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    write_certificates(folder.path())?;
    let mut server = Server::prepare(&folder.path().join("server"))?;
    server.start()?;
    let url = format!("http://{}", server.http_address());
    run(Command::new(python).arg(script("registry.py")).arg(url).arg(folder.path()))?;
    server.stop()
}

#[test]
fn the_command_lists_shows_adds_and_removes_things_and_works_on_shadows() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let mut server = Server::prepare(folder.path())?;
    server.start()?;
    let fieldline = |words: &[&str]| server.command(words);
    assert_eq!(fieldline(&["things"])?, "there are no things yet; a device that publishes becomes one\n");
    fieldline(&["things", "add", "press-4", "--attribute", "hall=7"])?;
    server.http().post("/telemetry/oven-1", "application/json", br#"{"temperature": 200}"#)?;
    let listed = until("the device", PATIENCE, || {
        let listed = fieldline(&["things"])?;
        Ok(listed.contains("oven-1").then_some(listed))
    })?;
    assert!(listed.starts_with("thing    type  gateway  last seen"), "{listed}");
    assert!(listed.contains("oven-1         server   20"), "{listed}");
    let update = r#"{"state": {"desired": {"speed": 3}}}"#;
    fieldline(&["shadow", "update", "press-4", update, "--name", "mode"])?;
    let shown: Value = serde_json::from_str(&fieldline(&["things", "show", "press-4"])?)?;
    assert_eq!((&shown["attributes"]["hall"], &shown["shadows"]), (&json!("7"), &json!(["mode"])));
    let got: Value = serde_json::from_str(&fieldline(&["shadow", "get", "press-4", "--name", "mode"])?)?;
    assert_eq!(got["state"]["delta"]["speed"], 3);
    fieldline(&["shadow", "delete", "press-4", "--name", "mode"])?;
    let refused = fieldline(&["shadow", "get", "press-4", "--name", "mode"]).unwrap_err().to_string();
    assert!(refused.contains("No shadow exists with name: 'press-4~mode'"), "{refused}");
    fieldline(&["things", "remove", "press-4"])?;
    let refused = fieldline(&["things", "show", "press-4"]).unwrap_err().to_string();
    assert!(refused.contains("Thing press-4 cannot be found."), "{refused}");
    server.stop()
}

#[test]
fn a_watched_shadow_is_printed_as_it_changes() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let mut server = Server::prepare(&folder.path().join("server"))?;
    server.start()?;
    let mut command = Command::new(programs::server()?);
    command.args(["shadow", "watch", "press-4", "--mqtt", &format!("mqtt://{}", server.mqtt_address())]);
    let mut watch = Process::spawn("fieldline shadow watch", command, &folder.path().join("watch.log"))?;
    // Until it has subscribed it hears nothing, so that it is told again.
    let (delta, documents) = until("a delta and its documents", PATIENCE, || {
        server.command(&["shadow", "update", "press-4", r#"{"state": {"desired": {"speed": 3}}}"#])?;
        let told =
            |word: &str| watch.lines().iter().find_map(|line| line.strip_prefix(word).map(str::to_owned));
        Ok(told("delta ").zip(told("documents ")))
    })?;
    assert_eq!(serde_json::from_str::<Value>(&delta)?["state"], json!({ "speed": 3 }));
    assert_eq!(
        serde_json::from_str::<Value>(&documents)?["current"]["state"]["desired"],
        json!({ "speed": 3 })
    );
    let ended = watch.terminate(None, PATIENCE)?;
    ensure!(ended.success(), "it ended with {ended}: {}", watch.log_tail());
    server.stop()
}

/// What the server has confirmed of a thing: its version, or that it is gone.
type Book = BTreeMap<String, Option<u64>>;

/// Creates, changes and deletes things of its own until `ending`; only what is answered goes into the book.
fn work(http: Http, worker: u64, ending: &AtomicBool, answered: &AtomicU64) -> (Book, Facts) {
    let (mut book, mut facts, mut random) = (Book::new(), Facts::new(), Random::new(SEED ^ worker));
    let ok = |answer: Result<Answer>| answer.is_ok_and(|answer| answer.status == 200);
    for n in 0_u64.. {
        if ending.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{worker}-{n}");
        let path = format!("/things/{name}");
        let attributes = json!({ "attributePayload": { "attributes": { "n": n.to_string() } } }).to_string();
        if !ok(http.post(&path, "application/json", attributes.as_bytes())) {
            // Done or not; nobody was told.
            back(http, ending);
            continue;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        book.insert(name.clone(), Some(1));
        if n % 4 == 0 && facts::make(http, &name, &mut facts).is_none() {
            back(http, ending);
        }
        let after = match random.below(3) {
            0 => ok(http.patch(&path, attributes.as_bytes())).then_some(Some(2)),
            // What is attached to it would have to be detached first.
            1 if n % 4 > 0 => ok(http.delete(&path)).then_some(None),
            _ => continue,
        };
        match after {
            Some(after) => drop(book.insert(name, after)),
            None => {
                book.remove(&name);
                back(http, ending);
            }
        }
    }
    (book, facts)
}

/// Waits until the server answers again, or all ends.
fn back(http: Http, ending: &AtomicBool) {
    let again = until("the server again", PATIENCE, || {
        let answers = http.get("/healthz").is_ok_and(|answer| answer.status == 200);
        Ok((answers || ending.load(Ordering::Relaxed)).then_some(()))
    });
    again.expect("the server comes back");
}

/// Everything that the server has, by name.
fn things(http: Http) -> Result<BTreeMap<String, u64>> {
    let (mut found, mut path) = (BTreeMap::new(), "/api/v1/things?limit=1000".to_owned());
    loop {
        let page = http.json(&path)?;
        for thing in page["things"].as_array().context("a list")? {
            let name = thing["thing"].as_str().context("a name")?;
            ensure!(thing["attributes"]["n"].is_string(), "{name} is not whole: {thing}");
            found.insert(name.to_owned(), thing["version"].as_u64().context("a version")?);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/things?limit=1000&next={next}"),
            None => return Ok(found),
        }
    }
}

#[test]
fn what_was_answered_is_there_after_kills() -> Result<()> {
    let _machine = machine::alone();
    let kills = machine::size("FIELDLINE_KILLS", 20);
    let folder = tempfile::tempdir()?;
    let mut server = Server::prepare(folder.path())?;
    server.start()?;
    let (http, ending, answered) = (server.http(), AtomicBool::new(false), AtomicU64::new(0));
    let mut random = Random::new(SEED);
    let books = std::thread::scope(|scope| -> Result<Vec<(Book, Facts)>> {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (ending, answered) = (&ending, &answered);
                scope.spawn(move || work(http, worker, ending, answered))
            })
            .collect();
        let killing = (0..kills).try_for_each(|_| {
            let target = answered.load(Ordering::Relaxed) + 5 + random.below(40);
            until("requests that are answered", PATIENCE, || {
                Ok((answered.load(Ordering::Relaxed) >= target).then_some(()))
            })?;
            server.kill()?;
            server.start()
        });
        ending.store(true, Ordering::Relaxed);
        let books =
            workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect();
        killing.map(|()| books)
    })?;
    let found = things(http)?;
    let mut checked = 0;
    for (name, version) in books.iter().flat_map(|(book, _)| book) {
        ensure!(
            found.get(name) == version.as_ref(),
            "{name}: {version:?} was answered, {:?} is there",
            found.get(name)
        );
        checked += 1;
    }
    let facts: usize = books.iter().map(|(_, facts)| facts.len()).sum();
    books.iter().try_for_each(|(_, facts)| facts::check(http, facts))?;
    println!(
        "{kills} kills, {checked} things and {facts} facts beside them as answered, {} there",
        found.len()
    );
    ensure!(facts > 20, "too little was done beside things: {facts}");
    ensure!(checked > kills, "too little was done to say anything: {checked}");
    server.stop()
}

//! Gateways that are configured from afar: live, taken back where they are cut off, and whole after any kill.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fieldline_tests::publisher::publish;
use fieldline_tests::random::Random;
use fieldline_tests::wait::until;
use fieldline_tests::{Oracle, Site, machine, ports};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/things/gw-1/config";

/// Pushes a document; its digest.
fn push(site: &Site, document: &Value) -> Result<String> {
    let answer = site.server.http().put_bytes(PATH, document.to_string().as_bytes())?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    let answer: Value = serde_json::from_str(&answer.body)?;
    Ok(answer["sha256"].as_str().context("no digest")?.to_owned())
}

/// Waits until the gateway says this of the document; what it says.
fn said(site: &Site, sha256: &str, status: &str) -> Result<Value> {
    until(&format!("{status} of {sha256}"), SOON, || {
        let reported = site.server.http().json(PATH)?["shadow"]["reported"]["config"].clone();
        ensure!(reported["sha256"] == sha256 && reported["status"] == status, "{reported}");
        Ok(Some(reported))
    })
}

fn remote(site: &Site) -> Result<Value> {
    Ok(site.agent.http().json("/status")?["remote"].clone())
}

fn reading(value: f64) -> (String, bytes::Bytes) {
    ("telemetry/press-4".to_owned(), json!({ "t": value }).to_string().into())
}

#[test]
fn a_change_is_live_while_devices_publish_and_nothing_is_lost() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.server.start()?;
    site.agent.start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 4, 100.0)?;
    oracle.wait_for_more(50)?;
    let first =
        push(&site, &json!({ "filter": [{ "device": "press-4", "metric": "t", "deadband": 10.0 }] }))?;
    said(&site, &first, "applied")?;
    ensure!(remote(&site)?["sha256"] == first.as_str(), "{}", remote(&site)?);
    // The filter works, and the devices that were connected still are.
    publish(site.agent.mqtt_address(), "press-4", &[reading(1.0), reading(2.0), reading(3.0)])?;
    oracle.wait_for_more(50)?;
    let filtered = site.agent.http().json("/status")?["filtered"]["deadband"].clone();
    ensure!(filtered == 2, "{filtered} filtered");
    // What is wrong changes nothing.
    let wrong = push(&site, &json!({ "sync": { "lingr": "1s" } }))?;
    let reason = said(&site, &wrong, "rejected")?["reason"].clone();
    ensure!(reason.as_str().is_some_and(|reason| reason.contains("did you mean `linger`?")), "{reason}");
    ensure!(remote(&site)?["sha256"] == first.as_str(), "{}", remote(&site)?);
    // One that is too large for a shadow.
    let maps: Vec<_> =
        (0..300).map(|at| json!({ "topic": format!("plant/{at}"), "device": "plant" })).collect();
    let large = push(&site, &json!({ "map": maps }))?;
    said(&site, &large, "applied")?;
    oracle.finish()?.check(&site)?;
    site.finish()
}

#[test]
fn a_configuration_that_cuts_the_gateway_off_is_taken_back() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.set("remote.confirm_within", "\"2s\"");
    site.server.start()?;
    site.agent.start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 2, 50.0)?;
    let good = push(&site, &json!({ "sync": { "linger": "50ms" } }))?;
    said(&site, &good, "applied")?;
    let nowhere = format!("mqtt://127.0.0.1:{}", ports::reserve()?);
    let bad = push(&site, &json!({ "sync": { "server": nowhere, "linger": "70ms" } }))?;
    let reason = said(&site, &bad, "reverted")?["reason"].clone();
    ensure!(reason.as_str().is_some_and(|reason| reason.contains("within 2s")), "{reason}");
    let state = remote(&site)?;
    ensure!(state["sha256"] == good.as_str() && state["is_trial"] == false, "{state}");
    // After a restart too.
    site.agent.kill()?;
    site.agent.start()?;
    ensure!(remote(&site)?["sha256"] == good.as_str(), "{}", remote(&site)?);
    oracle.finish()?.check(&site)?;
    site.finish()
}

#[test]
fn kills_while_it_is_configured_leave_the_old_or_the_new_and_every_reading() -> Result<()> {
    let _machine = machine::alone();
    let kills = machine::size("FIELDLINE_CONFIG_KILLS", 15);
    let mut random = Random::new(machine::size("FIELDLINE_SEED", 0x5eed_c0f1));
    let mut site = Site::prepare()?;
    site.agent.set("remote.confirm_within", "\"3s\"");
    site.server.start()?;
    site.agent.start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 4, 50.0)?;
    let nowhere = format!("mqtt://127.0.0.1:{}", ports::reserve()?);
    // Of the gateway's own file alone there is no digest.
    let mut pushed = BTreeSet::from(["null".to_owned()]);
    let mut cutting_off = BTreeSet::new();
    for round in 0..kills {
        let linger = format!("{}ms", 20 + round);
        let cuts_off = random.below(4) == 0;
        let sync = match cuts_off {
            true => json!({ "linger": linger, "server": nowhere }),
            false => json!({ "linger": linger }),
        };
        let filter = json!([{ "metric": format!("unused-{round}"), "deadband": 1.0 }]);
        let sha256 = push(&site, &json!({ "sync": sync, "filter": filter }))?;
        if cuts_off {
            cutting_off.insert(sha256.clone());
        }
        pushed.insert(json!(sha256).to_string());
        oracle.wait_for_more(random.below(30))?;
        site.agent.kill()?;
        site.agent.start()?;
        let state = remote(&site)?;
        ensure!(pushed.contains(&state["sha256"].to_string()), "round {round}: {state}");
        ensure!(state["trouble"].is_null(), "round {round}: {state}");
        if let Some(cut_off) = state["sha256"].as_str().filter(|sha256| cutting_off.contains(*sha256)) {
            ensure!(state["is_trial"] == true, "round {round}: {cut_off} is committed");
        }
        oracle.wait_for_more(random.below(30))?;
    }
    let last = push(&site, &json!({ "sync": { "linger": "30ms" } }))?;
    said(&site, &last, "applied")?;
    oracle.finish()?.check(&site)?;
    println!(
        "{kills} kills, {} configurations, {} of them cut the gateway off",
        pushed.len(),
        cutting_off.len()
    );
    site.finish()
}

//! Commands with the real program: `fieldline send`, and `kill -9` of the server among them.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fieldline_model::CommandStatus;
use fieldline_mqtt::Version;
use fieldline_tests::clients::{python, script};
use fieldline_tests::device::Device;
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Http, Server, Site, machine, programs};
use serde_json::{Value, json};

const THINGS: [&str; 4] = ["press-1", "press-2", "press-3", "press-4"];
const KINDS: [&str; 5] = ["work", "quick", "fail", "refuse", "ignore"];
/// How long an ignored one stays open, in seconds.
const IGNORED_S: u64 = 2;

/// Between two tries to send where the server is away.
const AWAY: Duration = Duration::from_millis(2);

/// A command that the server has accepted.
#[derive(Debug, Clone)]
struct Accepted {
    kind: &'static str,
    number: u64,
}

#[test]
fn what_was_accepted_is_there_after_kills_and_comes_to_one_end() -> Result<()> {
    let _machine = machine::shared();
    let kills = machine::size("FIELDLINE_COMMAND_KILLS", 20);
    let seed = machine::size("FIELDLINE_SEED", 0x5eed_f1e1_d11e_0007);
    println!("{kills} kills of the server, seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut site = Site::prepare()?;
    site.server.start()?;
    let device = Device::start(site.server.mqtt_address(), &THINGS, Version::V5)?;
    let (http, ending) = (site.server.http(), AtomicBool::new(false));
    let began = Instant::now();
    let accepted = std::thread::scope(|scope| -> Result<_> {
        let sender = scope.spawn(|| send_until(http, &ending));
        let outcome = kill(&mut site.server, &device, kills, &mut random);
        ending.store(true, Ordering::Release);
        let accepted = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        outcome?;
        Ok(accepted)
    })?;
    println!("{} commands accepted in {:?}", accepted.len(), began.elapsed());
    ensure!(accepted.len() > 200, "only {} commands", accepted.len());

    let ends = ends_of(&site.server, &accepted)?;
    until("the device's last word", PATIENCE, || {
        let answered = ends.values().filter(|execution| execution["status"] != "TIMED_OUT").count();
        Ok((device.done().ends.len() >= answered).then_some(()))
    })?;
    let done = device.finish()?;
    for (id, status) in &done.ends {
        if let Some(end) = ends.get(id) {
            ensure!(end["status"] == status.as_str(), "{id}: {status} was acknowledged, and it is {end}");
        }
    }
    // Nothing is refused but by mistake: each device says one end, again and again.
    ensure!(done.refused.is_empty(), "{:?}", done.refused);
    let more = done.heard.values().filter(|count| **count > 1).count();
    println!("{} heard, {more} of them more than once", done.heard.len());

    site.server.kill()?;
    site.server.start()?;
    ensure!(ends_of(&site.server, &accepted)? == ends, "an end has changed");
    site.finish()
}

/// Sends as fast as it is answered, and gives what was accepted.
fn send_until(http: Http, ending: &AtomicBool) -> BTreeMap<String, Accepted> {
    let mut accepted = BTreeMap::new();
    let mut number = 0_u64;
    while !ending.load(Ordering::Acquire) {
        number += 1;
        let kind = KINDS[(number % 5) as usize];
        let thing = THINGS[(number / 5 % 4) as usize];
        let timeout_s = if kind == "ignore" { IGNORED_S } else { 300 };
        let body = json!({ "command": kind, "parameters": { "number": number }, "timeout_s": timeout_s });
        let path = format!("/api/v1/things/{thing}/commands");
        // A server that is away, or too many that wait: nothing was promised.
        let Ok(answer) = http.post(&path, "application/json", body.to_string().as_bytes()) else {
            std::thread::sleep(AWAY);
            continue;
        };
        let made: Option<Value> = serde_json::from_str(&answer.body).ok().filter(|_| answer.status == 201);
        if let Some(id) = made.as_ref().and_then(|made| made["id"].as_str()) {
            let before = accepted.insert(id.to_owned(), Accepted { kind, number });
            assert!(before.is_none(), "{id} came twice");
        }
    }
    accepted
}

fn kill(server: &mut Server, device: &Device, kills: u64, random: &mut Random) -> Result<()> {
    for round in 1..=kills {
        let (before, more) = (device.done().heard.len(), random.below(40) as usize);
        until("more commands", PATIENCE, || Ok((device.done().heard.len() >= before + more).then_some(())))
            .with_context(|| format!("round {round}"))?;
        server.kill()?;
        server.start()?;
    }
    Ok(())
}

/// Every accepted command when it has ended, and as it should have.
fn ends_of(server: &Server, accepted: &BTreeMap<String, Accepted>) -> Result<BTreeMap<String, Value>> {
    let mut ends = BTreeMap::new();
    for (id, Accepted { kind, number }) in accepted {
        let end = server.http().json(&format!("/api/v1/commands/{id}?wait=30"))?;
        let expected = match *kind {
            "work" | "quick" => CommandStatus::Succeeded,
            "fail" => CommandStatus::Failed,
            "refuse" => CommandStatus::Rejected,
            _ => CommandStatus::TimedOut,
        };
        ensure!(end["status"] == expected.as_str(), "{id} ({kind}) ended as {end}");
        ensure!(end["parameters"]["number"] == *number, "{id} is another one: {end}");
        ensure!(expected != CommandStatus::Succeeded || end["result"]["number"] == *number, "{end}");
        ends.insert(id.clone(), end);
    }
    Ok(ends)
}

pub(crate) fn fieldline(server: &Server, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let Output { status, stdout, stderr } = Command::new(programs::server()?)
        .args(arguments)
        .args(["--server", &format!("http://{}", server.http_address())])
        .output()?;
    Ok((status.code(), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

#[test]
fn send_says_how_far_it_has_come_and_ends_with_what_became_of_it() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.server.start()?;
    let device = Device::start(site.server.mqtt_address(), &["press-4"], Version::V3_1_1)?;
    for (arguments, code, lines, said) in [
        (&["work", r#"{"n": 7}"#][..], 0, &["accepted", "running", "done  {\"n\":7}"][..], ""),
        (&["fail"], 1, &["accepted", "failed  JAMMED: a sheet is stuck"], "press-4 has not done it: failed"),
        (&["refuse"], 1, &["accepted", "rejected"], "press-4 has not done it: rejected"),
        (&["ignore", "--timeout", "1s"], 3, &["accepted", "timed out"], "press-4 has not done it: timed out"),
    ] {
        let arguments: Vec<&str> = ["send", "press-4"].iter().chain(arguments).copied().collect();
        let (ended, out, errors) = fieldline(&site.server, &arguments)?;
        ensure!(ended == Some(code), "{arguments:?} ended with {ended:?}: {out}{errors}");
        // A step that was too short to be seen is not told.
        let told: Vec<&str> = out.lines().filter(|line| *line != "running").collect();
        let lines: Vec<&str> = lines.iter().filter(|line| **line != "running").copied().collect();
        ensure!(told.len() == lines.len(), "{arguments:?} says {out}");
        ensure!(
            told.iter().zip(lines).all(|(told, line)| told.starts_with(line)),
            "{arguments:?} says {out}"
        );
        ensure!(errors.contains(said), "{arguments:?} says {errors}");
    }
    let (code, id, _) = fieldline(&site.server, &["send", "pump", "stop", "--no-wait"])?;
    ensure!(code == Some(0) && id.trim().len() == 36, "{id}");
    let (_, table, _) = fieldline(&site.server, &["commands", "--thing", "pump"])?;
    ensure!(table.contains(id.trim()) && table.contains("stop     accepted"), "{table}");
    let (_, listed, _) = fieldline(&site.server, &["commands", "--json", "--status", "CREATED"])?;
    ensure!(serde_json::from_str::<Value>(&listed)?["commands"][0]["id"] == id.trim(), "{listed}");
    let (code, canceled, _) = fieldline(&site.server, &["commands", id.trim(), "--cancel"])?;
    ensure!(code == Some(0) && canceled.contains("canceled"), "{canceled}");
    let (code, _, errors) = fieldline(&site.server, &["commands", id.trim(), "--cancel"])?;
    ensure!(code == Some(1) && errors.contains("it is CANCELED"), "{errors}");
    let (code, json, _) = fieldline(&site.server, &["send", "press-4", "quick", "--json"])?;
    ensure!(code == Some(0) && serde_json::from_str::<Value>(&json)?["status"] == "SUCCEEDED", "{json}");
    device.finish()?;
    site.finish()
}

#[test]
fn devices_of_others_do_commands_in_both_versions_of_mqtt() -> Result<()> {
    let _machine = machine::shared();
    let Some(python) = python() else { return Ok(()) };
    let mut site = Site::prepare()?;
    site.server.start()?;
    let port = site.server.mqtt_address().port().to_string();
    for (client, module) in
        [("paho_command.py", "paho.mqtt"), ("aws_command.py", "awscrt.mqtt_request_response")]
    {
        if !Command::new(&python).args(["-c", &format!("import {module}")]).output()?.status.success() {
            println!("skipped: {module} is not in the Python environment; `cargo xtask test` sets it up");
            continue;
        }
        for version in ["3.1.1", "5"] {
            let thing = format!("{}-{}", module.replace('.', "-"), version.replace('.', "-"));
            let device = Command::new(&python)
                .arg(script(client))
                .args(["127.0.0.1", &port, version, &thing])
                .stderr(std::process::Stdio::piped())
                .spawn()?;
            // It hears of the command whether it subscribes before or after it is sent.
            let (code, out, errors) = fieldline(
                &site.server,
                &["send", &thing, "reboot", r#"{"delay_s": 5}"#, "--timeout", "30s"],
            )?;
            let ended = device.wait_with_output()?;
            let said = String::from_utf8_lossy(&ended.stderr);
            ensure!(ended.status.success(), "{client} {version} ended with {}: {said}", ended.status);
            ensure!(code == Some(0) && out.contains("reboot") && out.contains("delay_s"), "{out}{errors}");
        }
    }
    site.finish()
}

//! Rules that tell webhooks, with the real server: signed and once, past receivers that fail, hang or lead elsewhere.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use fieldline_mqtt::ClientOptions;
use fieldline_notify::{Secret, signature};
use fieldline_tests::thing::Thing;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::webhook::{Behaviour, Told, Webhook};
use fieldline_tests::{Site, machine, publisher};
use serde_json::Value;

const SECRET: &[u8] = b"between the two of us";

/// A server with these settings and a rule that tells all these targets of any device that becomes hot.
fn site(settings: &str, targets: &[&str]) -> Result<Site> {
    let mut site = Site::prepare()?;
    site.server.configure(settings)?;
    let folder = site.server.data().join("server").join("rules");
    std::fs::create_dir_all(&folder)?;
    let mut rule = "[[rules]]\nname = \"hot\"\nwhen = \"temperature > 80.0\"\n".to_owned();
    for target in targets {
        rule += &format!(
            "[[rules.then]]\nnotify = {{ target = \"{target}\", message = \"{{{{device}}}} is hot\" }}\n"
        );
    }
    std::fs::write(folder.join("hot.toml"), rule)?;
    Ok(site)
}

fn target(name: &str, url: &str, more: &str) -> String {
    format!("[targets.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\n{more}\n")
}

/// To a receiver on loopback, which has to be allowed.
fn local(name: &str, receiver: &Webhook, more: &str) -> String {
    target(name, &receiver.url(), &format!("allow_private = true\n{more}"))
}

/// A device becomes hot, which the server has stored when this returns.
fn heat(site: &Site, device: &str) -> Result<()> {
    let path = format!("/telemetry/{device}");
    let answer = site.server.http().post(&path, "application/json", b"{\"temperature\": 81.5}")?;
    ensure!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.body);
    Ok(())
}

fn told(receiver: &Webhook, count: usize) -> Result<Vec<Told>> {
    until("a webhook", PATIENCE, || Ok(Some(receiver.told()).filter(|told| told.len() >= count)))
}

/// Waits until so many notifications have ended so, by `/metrics`.
fn counted(site: &Site, result: &str, count: u64) -> Result<()> {
    let line = format!("fieldline_notifications_total{{result=\"{result}\"}} {count}");
    until(&line, PATIENCE, || {
        let metrics = site.server.http().get("/metrics")?.body;
        Ok(metrics.lines().any(|written| written == line).then_some(()))
    })
}

fn secret_file(site_folder: &std::path::Path, mode: u32) -> Result<PathBuf> {
    let path = site_folder.join("hook.secret");
    std::fs::write(&path, [SECRET, b"\n"].concat())?;
    std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(path)
}

#[test]
fn a_webhook_comes_once_and_can_be_verified() -> Result<()> {
    let _machine = machine::shared();
    let (receiver, folder) = (Webhook::start()?, tempfile::tempdir()?);
    let secret = secret_file(folder.path(), 0o600)?;
    let mut site = site(&local("hook", &receiver, &format!("secret_file = {secret:?}")), &["hook"])?;
    site.server.start()?;
    heat(&site, "press-1")?;
    told(&receiver, 1)?;
    // What was told is not told again: not by the same condition, and not after a restart.
    heat(&site, "press-1")?;
    counted(&site, "delivered", 1)?;
    site.server.stop()?;
    site.server.start()?;
    heat(&site, "press-2")?;
    let told = told(&receiver, 2)?;
    counted(&site, "delivered", 1)?;

    let devices = told.iter().map(|told| told.body["data"]["message"].as_str().unwrap_or_default());
    ensure!(devices.collect::<Vec<_>>() == ["press-1 is hot", "press-2 is hot"], "{told:?}");
    for told in &told {
        ensure!(told.body["specversion"] == "1.0" && told.body["id"] == told.id.as_str(), "{told:?}");
        let time = told.signature.strip_prefix("t=").and_then(|rest| rest.split_once(','));
        let time: u64 = time.context("a signature has a time")?.0.parse()?;
        ensure!(told.signature == signature(&Secret::from(SECRET), time, &told.bytes), "{told:?}");
    }
    let log = std::fs::read_to_string(site.server.log())?;
    ensure!(!log.contains(std::str::from_utf8(SECRET)?) && !log.contains("/hook"), "{log}");
    site.finish()
}

#[test]
fn receivers_that_fail_or_hang_hold_up_nobody() -> Result<()> {
    let _machine = machine::shared();
    let (failing, hanging, well) = (Webhook::start()?, Webhook::start()?, Webhook::start()?);
    failing.behave(Behaviour::Fail(500));
    hanging.behave(Behaviour::Hang);
    let targets = [
        local("failing", &failing, ""),
        local("hanging", &hanging, ""),
        local("well", &well, ""),
        "[targets.panel]\nkind = \"mqtt\"\ntopic = \"plant/alarms\"\n".to_owned(),
    ];
    let mut site = site(&targets.concat(), &["failing", "hanging", "well", "panel"])?;
    site.server.start()?;

    let address = site.server.mqtt_address();
    let runtime = publisher::runtime()?;
    let options = ClientOptions::new(address.ip().to_string(), address.port(), "panel");
    let mut panel = runtime.block_on(Thing::connect(&options))?;
    ensure!(runtime.block_on(panel.subscribe(&["plant/alarms"]))? == [true]);

    let devices = ["press-1", "press-2", "press-3"];
    for device in devices {
        heat(&site, device)?;
        // The panel hears of each while the others do not answer.
        let heard: Value = serde_json::from_slice(&runtime.block_on(panel.message())?.payload)?;
        ensure!(heard["data"]["message"] == format!("{device} is hot"), "{heard}");
    }
    told(&well, devices.len())?;
    told(&failing, 2)?;
    ensure!(failing.by_mark().is_empty() && told(&hanging, 1)?.iter().all(|told| !told.accepted));

    failing.behave(Behaviour::Accept);
    let count = || Ok((accepted(&failing).len() >= devices.len()).then_some(()));
    until("what the receiver missed", PATIENCE, count)?;
    counted(&site, "delivered", 3 * devices.len() as u64)?;
    for receiver in [&failing, &well] {
        let ids = accepted(receiver);
        let different: BTreeSet<_> = ids.iter().collect();
        ensure!(ids.len() == devices.len() && different.len() == ids.len(), "{ids:?}");
    }
    // What was refused came again under the same id.
    let ids: BTreeSet<_> = failing.told().into_iter().map(|told| told.id).collect();
    ensure!(ids == accepted(&failing).into_iter().collect(), "{ids:?}");
    // Somebody still hangs, and the server ends in time.
    site.finish()
}

fn accepted(receiver: &Webhook) -> Vec<String> {
    receiver.told().into_iter().filter(|told| told.accepted).map(|told| told.id).collect()
}

#[test]
fn what_leads_elsewhere_is_refused_and_shows() -> Result<()> {
    let _machine = machine::shared();
    let (receiver, elsewhere, inside) = (Webhook::start()?, Webhook::start()?, Webhook::start()?);
    receiver.behave(Behaviour::Redirect(elsewhere.url()));
    let targets = [local("moved", &receiver, ""), target("inside", &inside.url(), "")];
    let mut site = site(&targets.concat(), &["moved", "inside"])?;
    site.server.start()?;
    heat(&site, "press-1")?;
    counted(&site, "refused", 2)?;
    ensure!(receiver.told().len() == 1 && elsewhere.told().is_empty() && inside.told().is_empty());
    let log = std::fs::read_to_string(site.server.log())?;
    for reason in ["redirects are not followed", "leads to an address that is not public"] {
        ensure!(log.contains(reason), "the log does not say {reason:?}:\n{log}");
    }
    site.finish()
}

#[test]
fn a_secret_that_others_can_read_keeps_the_server_from_starting() -> Result<()> {
    let _machine = machine::shared();
    let (receiver, folder) = (Webhook::start()?, tempfile::tempdir()?);
    let secret = secret_file(folder.path(), 0o644)?;
    let site = site(&local("hook", &receiver, &format!("secret_file = {secret:?}")), &["hook"])?;
    let mut process = site.server.launch()?;
    until("the end of the server", PATIENCE, || Ok((!process.is_running()?).then_some(())))?;
    let log = site.server.log_tail();
    ensure!(log.contains("targets.hook") && log.contains("chmod 0600"), "{log}");
    ensure!(!log.contains(std::str::from_utf8(SECRET)?), "{log}");
    site.finish()
}

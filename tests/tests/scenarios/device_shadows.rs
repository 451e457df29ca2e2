//! Devices behind a gateway have shadows, whether the server can be reached or not.

use std::time::Duration;

use anyhow::{Result, ensure};
use fieldline_tests::publisher::offer;
use fieldline_tests::shadows::Device;
use fieldline_tests::wait::until;
use fieldline_tests::{Server, Site, machine};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Waits until the server's shadow of a thing has this state, but for its delta.
fn at_server(server: &Server, thing: &str, state: &Value) -> Result<()> {
    let path = format!("/things/{thing}/shadow");
    until(&format!("{state} of {thing} at the server"), SOON, || {
        let answer = server.http().get(&path)?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let mut found = server.http().json(&path)?["state"].clone();
        found.as_object_mut().map(|state| state.remove("delta"));
        ensure!(found == *state, "{found}");
        Ok(Some(()))
    })
}

fn desire(server: &Server, thing: &str, desired: &Value) -> Result<()> {
    let request = json!({ "state": { "desired": desired } }).to_string();
    let path = format!("/things/{thing}/shadow");
    let answer = server.http().post(&path, "application/json", request.as_bytes())?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(())
}

#[test]
fn a_shadow_works_without_the_server_and_meets_it_when_it_comes_back() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.start()?;
    let mut device = Device::connect(site.agent.mqtt_address(), "press-4")?;

    let missing = device.ask("get", &json!({"clientToken": "t"}))?.unwrap_err();
    assert_eq!((&missing["code"], &missing["clientToken"]), (&json!(404), &json!("t")));
    let request = json!({"state": {"reported": {"valve": "shut", "t": 1}}, "clientToken": "u"});
    let accepted = device.ask("update", &request)?.unwrap();
    assert_eq!((&accepted["version"], &accepted["clientToken"]), (&json!(1), &json!("u")));
    let conflict = json!({"state": {"reported": {"t": 9}}, "version": 7});
    assert_eq!(device.ask("update", &conflict)?.unwrap_err()["code"], 409);
    assert_eq!(device.ask("get", &json!({}))?.unwrap()["state"], request["state"]);

    site.server.start()?;
    at_server(&site.server, "press-4", &request["state"])?;
    desire(&site.server, "press-4", &json!({"valve": "open"}))?;
    let delta = device.wait_for("update/delta", |delta| delta["state"]["valve"] == "open")?;
    assert_eq!(delta["state"], json!({"valve": "open"}));
    device.ask("update", &json!({"state": {"reported": {"valve": "open"}}}))?.unwrap();
    let state = json!({"desired": {"valve": "open"}, "reported": {"valve": "open", "t": 1}});
    at_server(&site.server, "press-4", &state)?;

    device.ask("delete", &json!({}))?.unwrap();
    until("the deletion at the server", SOON, || {
        Ok((site.server.http().get("/things/press-4/shadow")?.status == 404).then_some(()))
    })?;
    site.finish()
}

#[test]
fn a_killed_agent_loses_nothing_that_it_accepted() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::start()?;
    let mut device = Device::connect(site.agent.mqtt_address(), "press-4")?;
    device.ask("update", &json!({"state": {"desired": {"speed": 1}, "reported": {"t": 0}}}))?.unwrap();
    at_server(&site.server, "press-4", &json!({"desired": {"speed": 1}, "reported": {"t": 0}}))?;
    for round in 1..=5 {
        // In odd rounds the server is away, so that the update certainly waits on disk; in even ones the
        // kill may come anywhere between `accepted` and the server's answer.
        let offline = round % 2 == 1;
        if offline {
            site.server.kill()?;
        }
        device.ask("update", &json!({"state": {"reported": {"t": round}}}))?.unwrap();
        site.agent.kill()?;
        if offline {
            site.server.start()?;
        }
        desire(&site.server, "press-4", &json!({"speed": 10 + round}))?;
        site.agent.start()?;
        at_server(
            &site.server,
            "press-4",
            &json!({"desired": {"speed": 10 + round}, "reported": {"t": round}}),
        )?;
        device = Device::connect(site.agent.mqtt_address(), "press-4")?;
        until("the new speed at the device", SOON, || {
            let found = device.ask("get", &json!({}))?.unwrap_or_default();
            Ok((found["state"]["delta"]["speed"] == 10 + round).then_some(()))
        })?;
    }
    let status = site.agent.http().json("/status")?;
    assert_eq!((&status["things"]["known"], &status["things"]["damaged"]), (&json!(1), &json!(0)));
    site.finish()
}

#[test]
fn what_is_no_request_of_a_device_is_refused() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::start()?;
    for topic in [
        "$aws/things/gw-1/shadow/name/config/update",
        "$aws/things/press-4/shadow/update/accepted",
        "$aws/things/press-4/shadow/update/delta",
        "$aws/rules/fieldline_ingest/gw-1",
    ] {
        assert!(offer(site.agent.mqtt_address(), topic, b"{}")?.is_some(), "{topic}");
    }
    assert!(offer(site.agent.mqtt_address(), "$aws/things/press-4/shadow/get", b"")?.is_none());
    assert!(Device::connect(site.agent.mqtt_address(), "gw-1").is_err());
    site.agent.stop()?;
    site.agent.set("things.enabled", "false");
    site.agent.start()?;
    assert!(offer(site.agent.mqtt_address(), "$aws/things/press-4/shadow/get", b"")?.is_some());
    site.finish()
}

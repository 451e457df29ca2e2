//! The main path: a device publishes, and a query answers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use fieldline_tests::http::Http;
use fieldline_tests::publisher::publish;
use fieldline_tests::wait::until;
use fieldline_tests::{Oracle, Site, machine};
use serde_json::json;

/// What a person may be asked to wait for a value.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn a_published_reading_is_answered_within_a_second() -> Result<()> {
    let _machine = machine::alone();
    let site = Site::start()?;
    let message =
        ("telemetry/press-4".to_owned(), Bytes::from_static(b"{\"temperature\": 21.5, \"running\": true}"));
    let began = Instant::now();
    publish(site.agent.mqtt_address(), "press-4", &[message])?;
    until("the reading", Duration::from_secs(10), || {
        Ok((site.server.http().series("press-4", "temperature")?.len() == 1).then_some(()))
    })?;
    let took = began.elapsed();
    assert!(took <= SOON, "it took {took:?}");
    let table = site.server.command(&["query", "press-4"])?;
    assert!(table.contains("temperature") && table.contains("21.5") && table.contains("true"), "{table}");
    assert!(site.server.command(&["devices"])?.contains("press-4"));
    let ledger = site.server.command(&["ledger"])?;
    assert!(ledger.contains("gw-1"), "{ledger}");
    site.finish()
}

#[test]
fn readings_posted_by_http_arrive() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    for (listener, device) in [(site.agent.http(), "by-agent"), (site.server.http(), "by-server")] {
        let object = br#"{"temperature": -0.5, "count": 9007199254740993, "ts": "2026-01-02T03:04:05Z"}"#;
        accepted(listener, &format!("/telemetry/{device}"), object)?;
        accepted(listener, &format!("/telemetry/{device}/mode"), b"\"auto\"")?;
        let server = site.server.http();
        until("the readings", Duration::from_secs(10), || {
            Ok((server.series(device, "mode")?.len() == 1).then_some(()))
        })?;
        assert_eq!(server.series(device, "temperature")?, [(1_767_323_045_000, json!(-0.5))]);
        assert_eq!(server.series(device, "count")?, [(1_767_323_045_000, json!(9_007_199_254_740_993_i64))]);
        assert_eq!(server.series(device, "mode")?[0].1, json!("auto"));
    }
    site.finish()
}

#[test]
fn line_protocol_arrives_through_agent_and_server() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    for (listener, host) in [(site.agent.http(), "by-agent"), (site.server.http(), "by-server")] {
        let lines = format!(
            "cpu,host={host},cpu=0 usage=0.25,ticks=7i 1767323045\n# a comment\nup,device={host} ok=true 1767323046"
        );
        accepted(listener, "/api/v2/write?precision=s", lines.as_bytes())?;
        let server = site.server.http();
        until("the readings", Duration::from_secs(10), || {
            Ok((server.series(host, "up.ok")?.len() == 1).then_some(()))
        })?;
        assert_eq!(server.series(host, "cpu.usage{cpu=0}")?, [(1_767_323_045_000, json!(0.25))]);
        assert_eq!(server.series(host, "cpu.ticks{cpu=0}")?, [(1_767_323_045_000, json!(7))]);
        assert_eq!(server.series(host, "up.ok")?, [(1_767_323_046_000, json!(true))]);
    }
    site.finish()
}

#[test]
fn everything_survives_a_restart_of_everything() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 3, 50.0)?;
    oracle.wait_for_more(100)?;
    site.server.stop()?;
    oracle.wait_for_more(100)?;
    site.agent.stop()?;
    site.agent.start()?;
    site.server.start()?;
    oracle.wait_for_more(50)?;
    oracle.finish()?.check(&site)?;
    site.finish()
}

fn accepted(listener: Http, path: &str, body: &[u8]) -> Result<()> {
    let answer = listener.post(path, "application/octet-stream", body)?;
    ensure!((200..300).contains(&answer.status), "POST {path} answers {answer:?}");
    Ok(())
}

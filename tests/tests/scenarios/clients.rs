//! Clients that others wrote, against the agent and the server.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use fieldline_tests::clients::{have, python, run, script};
use fieldline_tests::http::Http;
use fieldline_tests::wait::until;
use fieldline_tests::{Site, machine};
use serde_json::json;

const COUNT: u64 = 200;
const BASE_MS: i64 = 1_767_225_600_000;

/// The script's messages: `n` counts from 0, one a second from [`BASE_MS`] on.
fn arrived(server: Http, device: &str, metric: &str) -> Result<()> {
    let points = until("the readings", Duration::from_secs(30), || {
        let points = server.series(device, metric)?;
        Ok((points.len() as u64 >= COUNT).then_some(points))
    })?;
    let expected: Vec<_> = (0..COUNT.cast_signed()).map(|n| (BASE_MS + 1_000 * n, json!(n))).collect();
    assert_eq!(points, expected, "{device} {metric}");
    Ok(())
}

fn publish(client: &str, address: SocketAddr, version: &str, device: &str) -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let port = address.port().to_string();
    let (count, base) = (COUNT.to_string(), BASE_MS.to_string());
    run(Command::new(python).arg(script(client)).args(["127.0.0.1", &port, version, device, &count, &base]))?;
    Ok(())
}

#[test]
fn paho_and_gmqtt_publish_with_both_versions_of_mqtt() -> Result<()> {
    let _machine = machine::shared();
    if python().is_none() {
        return Ok(());
    }
    let site = Site::start()?;
    for (client, name) in [("paho_publish.py", "paho"), ("gmqtt_publish.py", "gmqtt")] {
        for version in ["3.1.1", "5"] {
            for (listener, address) in
                [("agent", site.agent.mqtt_address()), ("server", site.server.mqtt_address())]
            {
                let device = format!("{name}-{}-{listener}", version.replace('.', "-"));
                publish(client, address, version, &device)?;
                arrived(site.server.http(), &device, "n")?;
            }
        }
    }
    site.finish()
}

#[test]
fn the_influxdb_client_writes_to_agent_and_server() -> Result<()> {
    let _machine = machine::shared();
    let Some(python) = python() else { return Ok(()) };
    let site = Site::start()?;
    for (device, address) in
        [("influx-agent", site.agent.http_address()), ("influx-server", site.server.http_address())]
    {
        let url = format!("http://{address}");
        let (count, base) = (COUNT.to_string(), BASE_MS.to_string());
        run(Command::new(&python).arg(script("influx_write.py")).args([&url, device, &count, &base]))?;
        arrived(site.server.http(), device, "cpu.n{core=0}")?;
    }
    site.finish()
}

#[test]
fn boto3_and_the_aws_command_publish_to_the_data_plane() -> Result<()> {
    let _machine = machine::shared();
    let Some(python) = python() else { return Ok(()) };
    let site = Site::start()?;
    let url = format!("http://{}", site.server.http_address());
    let port = site.server.mqtt_address().port().to_string();
    let (device, count, base) = ("boto", COUNT.to_string(), BASE_MS.to_string());
    run(Command::new(&python).arg(script("data_plane.py")).args([
        &url,
        "127.0.0.1",
        &port,
        device,
        &count,
        &base,
    ]))?;
    arrived(site.server.http(), device, "n")?;
    site.finish()
}

#[test]
fn mosquitto_pub_and_sub_work() -> Result<()> {
    let _machine = machine::shared();
    if !have("mosquitto_pub") || !have("mosquitto_sub") {
        return Ok(());
    }
    let site = Site::start()?;
    for version in ["mqttv311", "mqttv5"] {
        for (listener, address) in
            [("agent", site.agent.mqtt_address()), ("server", site.server.mqtt_address())]
        {
            let device = format!("{version}-{listener}");
            let port = address.port().to_string();
            let topic = format!("telemetry/{device}");
            let connection = ["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", "1"];
            run(Command::new("mosquitto_pub").args(connection).args(["-t", &topic, "-m", r#"{"t": 1.5}"#]))?;
            let server = site.server.http();
            until("the reading", Duration::from_secs(10), || {
                Ok((server.series(&device, "t")?.len() == 1).then_some(()))
            })?;
        }
    }
    // What is no telemetry is ordinary MQTT on the server.
    let port = site.server.mqtt_address().port().to_string();
    let connection = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "hall/door"];
    run(Command::new("mosquitto_pub").args(connection).args(["-r", "-m", "open"]))?;
    let heard = run(Command::new("mosquitto_sub").args(connection).args(["-C", "1", "-W", "10"]))?;
    assert_eq!(heard.trim(), "open");
    site.finish()
}

//! `fieldline up`: one command, and the whole system runs.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use fieldline_tests::http::Http;
use fieldline_tests::process::Process;
use fieldline_tests::publisher::publish;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{machine, ports, programs};

struct Up {
    folder: tempfile::TempDir,
    process: Process,
    devices: SocketAddr,
    server: Http,
}

fn up(more: &[&str]) -> Result<Up> {
    let folder = tempfile::tempdir()?;
    let mut addresses = Vec::new();
    let mut command = Command::new(programs::server()?);
    command.arg("up").arg("--data").arg(folder.path().join("data")).args(more);
    for flag in ["--mqtt-agent", "--http-agent", "--mqtt", "--http"] {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        command.args([flag, &address.to_string()]);
        addresses.push(address);
    }
    let mut process = Process::spawn("fieldline up", command, &folder.path().join("up.log"))?;
    let server = Http::new(addresses[3]);
    let running = until("an answer of the server", PATIENCE, || {
        if !process.is_running()? {
            return Ok(Some(false));
        }
        drop(std::net::TcpStream::connect(addresses[0])?);
        Ok((server.get("/healthz")?.status == 200).then_some(true))
    })?;
    ensure!(running, "it has ended:\n{}", process.log_tail());
    Ok(Up { folder, process, devices: addresses[0], server })
}

impl Up {
    fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(None, Duration::from_secs(30))?;
        ensure!(status.success(), "it ended with {status}:\n{}", self.process.log_tail());
        drop(self.folder);
        Ok(())
    }
}

#[test]
fn up_runs_a_server_and_an_agent_and_stops_in_order() -> Result<()> {
    let _machine = machine::shared();
    let up = up(&[])?;
    let message = ("telemetry/press-4".to_owned(), Bytes::from_static(b"{\"temperature\": 21.5}"));
    publish(up.devices, "press-4", &[message])?;
    until("the reading", PATIENCE, || {
        Ok((up.server.series("press-4", "temperature")?.len() == 1).then_some(()))
    })?;
    let said = up.process.lines().join("\n");
    for word in ["press-4", "query", &up.devices.port().to_string()] {
        assert!(said.contains(word), "it does not say {word}:\n{said}");
    }
    up.stop()
}

#[test]
fn the_factory_demo_brings_devices_to_life() -> Result<()> {
    let _machine = machine::shared();
    let up = up(&["--demo", "factory"])?;
    until("demo devices with values", PATIENCE, || {
        let devices = up.server.json("/api/v1/devices")?;
        Ok(devices["devices"].as_array().is_some_and(|list| list.len() >= 3).then_some(()))
    })?;
    up.stop()
}

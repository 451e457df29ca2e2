//! The agent under test: the real one, with a device that gives it readings.

use std::fmt::Write as _;

use edge_agent::{Agent, Config, Status, settings};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};

use crate::authority::Authority;
use crate::soon;

/// A running agent with the id `gw-1` and a folder of its own.
pub(crate) struct Gateway {
    agent: Agent,
    device: Connection,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// Towards a server without TLS; `sync` is what else stands in `[sync]`.
    pub(crate) async fn plain(port: u16, version: &str, sync: &str) -> Self {
        Self::start(&format!("mqtt://127.0.0.1:{port}"), version, sync, None).await
    }

    /// Towards `localhost`, whose certificate must be the authority's; the agent's own is so too.
    pub(crate) async fn secure(port: u16, version: &str, sync: &str, authority: &Authority) -> Self {
        Self::start(&format!("mqtts://localhost:{port}"), version, sync, Some(authority)).await
    }

    async fn start(server: &str, version: &str, sync: &str, authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backoff = "backoff_min = \"10ms\"\nbackoff_max = \"80ms\"";
        let mut text = format!(
            "data = {:?}\ngateway.id = \"gw-1\"\nmqtt.listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nremote.enabled = false\n\
             [sync]\nserver = \"{server}\"\nversion = \"{version}\"\nlinger = \"0s\"\n{}\n{sync}\n",
            folder.path().join("data"),
            if sync.contains("backoff") { "" } else { backoff },
        );
        if let Some(authority) = authority {
            let own = authority.issue(&["gw-1"]);
            for (key, pem) in [("ca", authority.pem()), ("certificate", own.pem()), ("key", own.key_pem())] {
                let path = folder.path().join(key);
                std::fs::write(&path, pem).unwrap();
                writeln!(text, "tls.{key} = {path:?}").unwrap();
            }
        }
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let config: Config = settings::read(&path).unwrap();
        let agent = Agent::start(config).await.unwrap();
        let port = agent.mqtt_address().unwrap().port();
        let device = Connection::open(&ClientOptions::new("127.0.0.1", port, "press-4")).await.unwrap();
        Self { agent, device, _folder: folder }
    }

    /// A device's reading, durable in the agent when this returns.
    pub(crate) async fn reading(&mut self, value: &serde_json::Value) {
        let payload = serde_json::json!({ "value": value }).to_string();
        let sent = self.device.publish("telemetry/press-4", payload.into(), QoS::AtLeastOnce, false);
        let token = sent.unwrap().unwrap();
        let answer = soon("the agent's PUBACK", self.device.next()).await.unwrap();
        assert_eq!(answer, Event::Published(token));
    }

    pub(crate) fn status(&self) -> Status {
        self.agent.status()
    }

    /// Stops in order, and fails if a part of the agent hangs.
    pub(crate) async fn stop(self) {
        // The listener would wait for the device to go.
        drop(self.device);
        soon("the agent to stop", self.agent.stop()).await;
    }
}

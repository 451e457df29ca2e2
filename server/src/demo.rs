//! Simulated devices: what `fieldline up --demo factory` brings to life.
//!
//! Each device is an ordinary MQTT client of the agent: QoS 1, one JSON object a message, times by
//! its own clock. Nothing in the agent or the server knows that it is not real.

mod device;
mod signal;

use std::path::{Path, PathBuf};

use anyhow::Context;
use fieldline_model::DeviceId;
use serde::Deserialize;
use tokio::task::JoinSet;

pub use device::Device;
pub use signal::{Kind, Signal};

use edge_agent::settings;

/// A file of simulated devices.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// All noise follows from it.
    pub seed: u64,
    /// The devices.
    pub device: Vec<DeviceSettings>,
}

/// One simulated device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    /// Its id, also its MQTT client id.
    pub id: DeviceId,
    /// How often it publishes, in milliseconds; at least 10.
    pub every_ms: u64,
    /// What it measures.
    pub signal: Vec<SignalSettings>,
}

/// One measured value of a simulated device.
#[derive(Debug, Clone, Deserialize)]
pub struct SignalSettings {
    /// The metric.
    pub metric: fieldline_model::Metric,
    /// How it behaves.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The demos that come with the program.
const BUILT_IN: [(&str, &str); 1] = [("factory", include_str!("../../samplconfig/factory/demo.toml"))];

impl Demo {
    /// The demo of an industry: the file `samplconfig/<name>/demo.toml` where there is one (so that
    /// it can be changed and tried), else the one built in.
    ///
    /// # Errors
    /// No such demo, or its file is wrong.
    pub fn load(name: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from("samplconfig").join(name).join("demo.toml");
        let known = BUILT_IN.iter().find(|(known, _)| *known == name);
        let demo = match known {
            Some(_) if path.is_file() => Self::read(&path)?,
            Some((_, text)) => settings::parse(text).map_err(anyhow::Error::msg)?,
            None => {
                let names: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
                anyhow::bail!("there is no demo {name:?}; there is: {}", names.join(", "))
            }
        };
        Ok(demo)
    }

    /// Reads a demo from a file.
    ///
    /// # Errors
    /// The file cannot be read, or a key in it is wrong (with its line).
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        settings::read(path).context("the demo cannot be used")
    }

    /// Sets all devices going, against the broker at `host`:`port`. Dropping the set stops them.
    pub fn start(&self, host: &str, port: u16) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for settings in &self.device {
            let device = Device::new(settings, self.seed);
            running.spawn(device.run(host.to_owned(), port));
        }
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factory_has_devices_of_every_kind() {
        let demo: Demo = settings::parse(BUILT_IN[0].1).unwrap();
        let kinds: std::collections::BTreeSet<&str> =
            demo.device.iter().flat_map(|device| &device.signal).map(|signal| signal.kind.name()).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        assert!(demo.device.iter().any(|device| device.id.as_str() == "press-4"));
    }

    #[test]
    fn the_sample_of_an_agent_s_configuration_is_sound() {
        // Cargo runs tests in their package's folder.
        let path = "../samplconfig/factory/agent.toml";
        let config: edge_agent::Config = settings::read(Path::new(path)).unwrap();
        config.check().unwrap();
        assert_eq!(config.gateway.id.as_str(), "hall-7");
    }

    #[test]
    fn an_unknown_demo_is_told_with_the_known_ones() {
        let error = Demo::load("moonbase").unwrap_err().to_string();
        assert!(error.contains("factory"), "{error}");
    }
}

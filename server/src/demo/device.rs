//! One simulated device: an MQTT client that publishes what its signals say.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fieldline_model::{DeviceId, DeviceTopic, Timestamp};
use fieldline_mqtt::{ClientError, ClientOptions, Connection, QoS};
use tokio::time::{Interval, MissedTickBehavior};

use super::DeviceSettings;
use super::signal::{Signal, hash, mix};

/// The pause before a device tries to connect again.
const RECONNECT: Duration = Duration::from_secs(1);

/// One simulated device.
#[derive(Debug)]
pub struct Device {
    id: DeviceId,
    every: Duration,
    signals: Vec<(String, Signal)>,
}

impl Device {
    /// A device whose noise follows from `seed` and its id.
    pub fn new(settings: &DeviceSettings, seed: u64) -> Self {
        let machine_seed = mix(seed ^ hash(settings.id.as_str()));
        let signals = settings
            .signal
            .iter()
            .map(|signal| {
                let metric = signal.metric.as_str();
                (metric.to_owned(), Signal::new(signal.kind.clone(), machine_seed, metric))
            })
            .collect();
        Self { id: settings.id.clone(), every: Duration::from_millis(settings.every_ms.max(10)), signals }
    }

    /// Publishes for ever; connects again when the connection fails, as a device in the field does.
    pub async fn run(self, host: String, port: u16) {
        let options = ClientOptions::new(host, port, self.id.as_str());
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            if let Err(error) = self.publish_on(&options, &mut ticks).await {
                tracing::debug!(device = %self.id, error = &error as &dyn std::error::Error, "device reconnects");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn publish_on(&self, options: &ClientOptions, ticks: &mut Interval) -> Result<(), ClientError> {
        let topic = DeviceTopic::Device(self.id.clone()).to_string();
        let mut connection = Connection::open(options).await?;
        loop {
            tokio::select! {
                event = connection.next() => {
                    event?;
                }
                // A device with a full window lets a sample go, as real ones do.
                _ = ticks.tick(), if connection.vacancy() > 0 => {
                    let payload = self.message(Timestamp::from_system(SystemTime::now()));
                    connection.publish(&topic, payload, QoS::AtLeastOnce, false)?;
                }
            }
        }
    }

    /// All signals at one time as a JSON object.
    pub fn message(&self, time: Timestamp) -> Bytes {
        let mut object = serde_json::Map::with_capacity(self.signals.len() + 1);
        for (metric, signal) in &self.signals {
            let value = serde_json::to_value(signal.sample(time)).unwrap_or_default();
            object.insert(metric.clone(), value);
        }
        object.insert("ts".to_owned(), time.millis().into());
        Bytes::from(serde_json::Value::Object(object).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Demo;

    #[test]
    fn a_device_says_everything_it_measures_in_one_object() {
        let demo = Demo::load("factory").unwrap();
        let device = Device::new(&demo.device[0], demo.seed);
        let message = device.message(Timestamp::from_nanos(1_795_348_800_000_000_000));
        let object: serde_json::Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(object["ts"], 1_795_348_800_000_i64);
        assert!(object["temperature"].is_f64() && object["parts"].is_i64() && object["fault"].is_string());
        assert!(object["running"].is_boolean());
    }
}

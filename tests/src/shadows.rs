//! A device as the shadow service sees it: asks, and hears the replies and the deltas.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::publisher::runtime;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device that is connected, and listens to all that is said of its classic shadow.
#[derive(Debug)]
pub struct Device {
    runtime: Runtime,
    connection: Connection,
    prefix: String,
}

impl Device {
    /// Connects and subscribes; `thing` is also the client identifier.
    ///
    /// # Errors
    /// No connection, or the subscription is refused.
    pub fn connect(address: SocketAddr, thing: &str) -> Result<Self> {
        let runtime = runtime()?;
        let options = ClientOptions::new(address.ip().to_string(), address.port(), thing);
        let mut connection = runtime.block_on(Connection::open(&options))?;
        let prefix = format!("$aws/things/{thing}/shadow/");
        let filters = [format!("{prefix}+/+")];
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), QoS::AtLeastOnce)).collect();
        connection.subscribe(&filters)?;
        let mut device = Self { runtime, connection, prefix };
        loop {
            if let Event::Subscribed { granted, .. } = device.next()? {
                ensure!(granted.iter().all(Result::is_ok), "the subscription is refused: {granted:?}");
                return Ok(device);
            }
        }
    }

    /// Sends a request, such as `update`, and gives the reply: what was accepted, or the error document.
    ///
    /// # Errors
    /// The connection breaks, or nothing is answered.
    pub fn ask(&mut self, operation: &str, request: &Value) -> Result<Result<Value, Value>> {
        let topic = format!("{}{operation}", self.prefix);
        self.connection.publish(&topic, Bytes::from(request.to_string()), QoS::AtLeastOnce, false)?;
        let (accepted, rejected) = (format!("{operation}/accepted"), format!("{operation}/rejected"));
        loop {
            let (said, document) = self.hear()?;
            match said {
                said if said == accepted => return Ok(Ok(document)),
                said if said == rejected => return Ok(Err(document)),
                _ => {}
            }
        }
    }

    /// Waits for a message such as `update/delta` that satisfies `wanted`.
    ///
    /// # Errors
    /// The connection breaks, or there is none.
    pub fn wait_for(&mut self, part: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let (said, document) = self.hear()?;
            if said == part && wanted(&document) {
                return Ok(document);
            }
        }
    }

    /// The next message: its topic below the shadow's, and its document.
    fn hear(&mut self) -> Result<(String, Value)> {
        loop {
            if let Event::Message { message, id, .. } = self.next()? {
                if let Some(id) = id {
                    self.connection.acknowledge(id);
                }
                let part = message.topic.strip_prefix(&self.prefix).context("a message of another shadow")?;
                return Ok((part.to_owned(), serde_json::from_slice(&message.payload)?));
            }
        }
    }

    fn next(&mut self) -> Result<Event> {
        let Self { runtime, connection, .. } = self;
        match runtime.block_on(async { tokio::time::timeout(PATIENCE, connection.next()).await }) {
            Ok(event) => Ok(event?),
            Err(_) => bail!("the shadow service said nothing for {PATIENCE:?}"),
        }
    }
}

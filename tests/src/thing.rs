//! A thing that speaks MQTT by itself, to say what no well-made client says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_mqtt::{
    ClientError, ClientOptions, Connection, Event, Message, PublishError, QoS, TlsClient, Version,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// One connection of a thing.
#[derive(Debug)]
pub struct Thing {
    connection: Connection,
    name: String,
    heard: VecDeque<Message>,
    asked: u64,
}

/// How a thing connects: its client id is its name.
pub fn options(address: SocketAddr, tls: &TlsClient, name: &str, version: Version) -> ClientOptions {
    let mut options = ClientOptions::new("localhost", address.port(), name);
    // Not by the name's addresses, the first of which may be another loopback.
    options.host = address.ip().to_string();
    options.tls = Some(TlsClient { server_name: Some("localhost".to_owned()), ..tls.clone() });
    options.version = version;
    options
}

impl Thing {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let connection = Connection::open(options).await?;
        let name = connection.client_id().to_owned();
        Ok(Self { connection, name, heard: VecDeque::new(), asked: 0 })
    }

    /// Subscribes with QoS 1 and gives, filter by filter, whether that was granted.
    ///
    /// # Errors
    /// The connection ends.
    pub async fn subscribe(&mut self, filters: &[&str]) -> Result<Vec<bool>> {
        let filters: Vec<_> = filters.iter().map(|filter| (*filter, QoS::AtLeastOnce)).collect();
        let asked = self.connection.subscribe(&filters)?;
        loop {
            if let Event::Subscribed { request, granted } = self.event().await? {
                ensure!(request == asked, "an answer to another subscribe");
                return Ok(granted.iter().map(Result::is_ok).collect());
            }
        }
    }

    /// Publishes with QoS 1; gives why it was refused, or none.
    ///
    /// # Errors
    /// The connection ends.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<Option<PublishError>> {
        let payload = Bytes::copy_from_slice(payload);
        let sent = self.connection.publish(topic, payload, QoS::AtLeastOnce, false)?;
        loop {
            match self.event().await? {
                Event::Published(token) if Some(token) == sent => return Ok(None),
                Event::Refused(token, reason) if Some(token) == sent => return Ok(Some(reason)),
                _ => {}
            }
        }
    }

    /// The next message, of those that came while something else was waited for too.
    ///
    /// # Errors
    /// None comes, or the connection ends.
    pub async fn message(&mut self) -> Result<Message> {
        while self.heard.is_empty() {
            self.event().await?;
        }
        self.heard.pop_front().context("a message")
    }

    /// Asks something of its classic shadow and gives the reply: `accepted` or `rejected`, and the document.
    /// The thing must hear the replies already.
    ///
    /// # Errors
    /// As [`Thing::publish`] and [`Thing::message`], or the request is refused.
    pub async fn ask(&mut self, operation: &str, payload: &[u8]) -> Result<(String, Value)> {
        let topic = format!("$aws/things/{}/shadow/{operation}", self.name);
        let refused = self.publish(&topic, payload).await?;
        ensure!(refused.is_none(), "{topic}: {refused:?}");
        loop {
            let message = self.message().await?;
            let part = message.topic.strip_prefix(&topic).and_then(|part| part.strip_prefix('/'));
            if let Some(part @ ("accepted" | "rejected")) = part {
                return Ok((part.to_owned(), serde_json::from_slice(&message.payload)?));
            }
        }
    }

    /// Everything heard until a request of now is answered, but for that answer.
    ///
    /// # Errors
    /// As [`Thing::ask`].
    pub async fn heard_so_far(&mut self) -> Result<Vec<Message>> {
        self.asked += 1;
        let token = format!("fence-{}", self.asked);
        let topic = format!("$aws/things/{}/shadow/get", self.name);
        let refused = self.publish(&topic, json!({ "clientToken": token }).to_string().as_bytes()).await?;
        ensure!(refused.is_none(), "{topic}: {refused:?}");
        let mut before = Vec::new();
        loop {
            let message = self.message().await?;
            let own = message.topic.starts_with(&topic)
                && serde_json::from_slice::<Value>(&message.payload)?["clientToken"] == token;
            if own {
                return Ok(before);
            }
            before.push(message);
        }
    }

    /// How long a get of the classic shadow takes until its reply is here.
    ///
    /// # Errors
    /// As [`Thing::ask`].
    pub async fn round_trip(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.ask("get", b"{}").await?;
        Ok(began.elapsed())
    }

    async fn event(&mut self) -> Result<Event> {
        let event = timeout(PATIENCE, self.connection.next()).await.context("the server is silent")??;
        if let Event::Message { message, id, .. } = &event {
            if let Some(id) = id {
                self.connection.acknowledge(*id);
            }
            self.heard.push_back(message.clone());
        }
        Ok(event)
    }
}

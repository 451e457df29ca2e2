//! The client's side: one connection, driven by its owner.

mod event;
mod options;

use bytes::Bytes;

pub use event::{ClientError, Event, MessageId, RequestId, Token};
pub use options::ClientOptions;

use crate::{Message, QoS, Version};

/// One client connection. It has no task of its own: [`Connection::next`] reads, writes, and keeps
/// the connection alive while it is awaited. There is no reconnecting inside: when it fails, the
/// owner opens another after its own pause, and sends again from its own log.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// Connects: TCP, TLS, CONNECT, CONNACK.
    ///
    /// # Errors
    /// Any [`ClientError`] but `Full`.
    pub async fn open(options: &ClientOptions) -> Result<Self, ClientError> {
        let _ = options;
        Err(ClientError::ConnectTimeout)
    }

    /// Whether the server still had a session of ours.
    pub fn session_present(&self) -> bool {
        false
    }

    /// The client identifier in use: ours, or the one that the server assigned.
    pub fn client_id(&self) -> &str {
        ""
    }

    /// The protocol spoken.
    pub fn version(&self) -> Version {
        Version::V5
    }

    /// How many more QoS 1 messages may be published now.
    pub fn vacancy(&self) -> usize {
        0
    }

    /// Queues a message for the wire; [`Connection::next`] writes it. QoS 1 gives the token of the
    /// later [`Event::Published`] or [`Event::Refused`], QoS 0 gives none.
    ///
    /// # Errors
    /// [`ClientError::Full`], [`ClientError::TooLarge`] or [`ClientError::Invalid`]; nothing is queued then.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: Bytes,
        qos: QoS,
        retain: bool,
    ) -> Result<Option<Token>, ClientError> {
        self.publish_message(Message { retain, ..Message::new(topic, payload, qos) })
    }

    /// As [`Connection::publish`], with MQTT 5 properties (left out on 3.1.1).
    ///
    /// # Errors
    /// As [`Connection::publish`].
    pub fn publish_message(&mut self, message: Message) -> Result<Option<Token>, ClientError> {
        let _ = message;
        Err(ClientError::Full)
    }

    /// Sends an unacknowledged publish once more on this connection, with the same packet
    /// identifier and DUP. For MQTT 3.1.1 (AWS's Device Advisor asks for it); MQTT 5 forbids it
    /// ([MQTT-4.4.0-1]).
    ///
    /// # Errors
    /// [`ClientError::Invalid`] when the token is settled or the connection speaks MQTT 5.
    pub fn republish(&mut self, token: Token) -> Result<(), ClientError> {
        let _ = token;
        Err(ClientError::Full)
    }

    /// Queues a SUBSCRIBE; the answer is [`Event::Subscribed`].
    ///
    /// # Errors
    /// [`ClientError::Invalid`], [`ClientError::TooLarge`] or [`ClientError::Full`].
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<RequestId, ClientError> {
        let _ = filters;
        Err(ClientError::Full)
    }

    /// Queues an UNSUBSCRIBE; the answer is [`Event::Unsubscribed`].
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<RequestId, ClientError> {
        let _ = filters;
        Err(ClientError::Full)
    }

    /// Queues the PUBACK of an incoming message; the caller has made it durable first. The server
    /// sends no more than `receive_maximum` messages ahead of it.
    pub fn acknowledge(&mut self, id: MessageId) {
        let _ = id;
    }

    /// Drives the connection until something happens. Cancel-safe: dropping the future loses
    /// nothing, so that it can stand in a `select!`.
    ///
    /// # Errors
    /// The connection has failed or ended, for good.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        Err(ClientError::Closed)
    }

    /// Writes everything that is queued.
    ///
    /// # Errors
    /// [`ClientError::Network`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        Err(ClientError::Closed)
    }

    /// Writes everything that is queued and a DISCONNECT, and closes: the server publishes no will.
    ///
    /// # Errors
    /// [`ClientError::Network`].
    pub async fn disconnect(self) -> Result<(), ClientError> {
        Err(ClientError::Closed)
    }
}

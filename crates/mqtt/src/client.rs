//! The client's side: one connection, driven by its owner.

mod event;
mod input;
mod opening;
mod options;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fieldline_model::valid_filter;
use tokio::time::Sleep;

pub use event::{ClientError, Event, MessageId, RequestId, Token};
pub use options::ClientOptions;

use crate::packet::decode::valid_topic;
use crate::packet::encode::{self, PublishHeader};
use crate::stream::{Outbox, Stream, with_scratch};
use crate::{DisconnectReason, Message, QoS, Version};

/// Events are handed out before anything is written, unless so much waits.
const OUTBOX_BYTES_EAGER: usize = 64 * 1024;

/// Subscribe and unsubscribe requests that may await their answer.
const REQUESTS_MAX: usize = 100;

/// A QoS 1 publish that the server has not settled.
#[derive(Debug)]
struct InFlight {
    id: u16,
    token: Token,
    message: Message,
}

/// One client connection. It has no task of its own: [`Connection::next`] reads, writes, and keeps
/// the connection alive while it is awaited. There is no reconnecting inside: when it fails, the
/// owner opens another after its own pause, and sends again from its own log.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    outbox: Outbox,
    unread: Vec<u8>,
    events: VecDeque<Event>,
    version: Version,
    client_id: String,
    session_present: bool,
    inflight: VecDeque<InFlight>,
    requests: Vec<u16>,
    next_id: u16,
    next_token: u64,
    window: usize,
    qos_max: QoS,
    retain_available: bool,
    /// The largest packet that the server takes.
    packet_bytes_max_out: usize,
    packet_bytes_max_in: usize,
    keep_alive: Option<Duration>,
    ping_timeout: Duration,
    last_heard: Instant,
    last_sent: Instant,
    ping_sent: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    topic: Arc<str>,
    /// What ended the connection, told after the events that came before it.
    failure: Option<ClientError>,
    over: bool,
}

impl Connection {
    /// Connects: TCP, TLS, CONNECT, CONNACK.
    ///
    /// # Errors
    /// Any [`ClientError`] but `Full`.
    pub async fn open(options: &ClientOptions) -> Result<Self, ClientError> {
        opening::open(options).await
    }

    /// Whether the server still had a session of ours.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// The client identifier in use: ours, or the one that the server assigned (MQTT 5).
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The protocol spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many more QoS 1 messages may be published now.
    pub fn vacancy(&self) -> usize {
        self.window.saturating_sub(self.inflight.len())
    }

    /// Queues a message for the wire; [`Connection::next`] writes it. QoS 1 gives the token of the
    /// later [`Event::Published`] or [`Event::Refused`], QoS 0 gives none.
    ///
    /// # Errors
    /// [`ClientError::Full`], [`ClientError::TooLarge`] or [`ClientError::Invalid`]; nothing is
    /// queued then.
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
        if !valid_topic(&message.topic) {
            return Err(ClientError::Invalid { what: "the topic" });
        }
        if message.qos > self.qos_max {
            return Err(ClientError::Invalid { what: "the QoS, which the server does not take," });
        }
        if message.retain && !self.retain_available {
            return Err(ClientError::Invalid { what: "retaining, which the server does not do," });
        }
        if message.qos == QoS::AtMostOnce {
            self.write_publish(&message, None, false)?;
            return Ok(None);
        }
        if self.vacancy() == 0 {
            return Err(ClientError::Full);
        }
        let id = self.free_id();
        self.write_publish(&message, Some(id), false)?;
        let token = Token(self.next_token);
        self.next_token += 1;
        self.inflight.push_back(InFlight { id, token, message });
        Ok(Some(token))
    }

    /// Sends an unacknowledged publish once more on this connection, with the same packet
    /// identifier and DUP. For MQTT 3.1.1 (AWS's Device Advisor asks for it); MQTT 5 forbids it
    /// ([MQTT-4.4.0-1]).
    ///
    /// # Errors
    /// [`ClientError::Invalid`] when the token is settled or the connection speaks MQTT 5.
    pub fn republish(&mut self, token: Token) -> Result<(), ClientError> {
        let found = self.inflight.iter().find(|sent| sent.token == token);
        let Some((id, message)) = found.map(|sent| (sent.id, sent.message.clone())) else {
            return Err(ClientError::Invalid { what: "the token" });
        };
        if self.version == Version::V5 {
            return Err(ClientError::Invalid { what: "sending again in MQTT 5" });
        }
        self.write_publish(&message, Some(id), true)
    }

    fn write_publish(
        &mut self,
        message: &Message,
        id: Option<u16>,
        duplicate: bool,
    ) -> Result<(), ClientError> {
        let header = PublishHeader {
            version: self.version,
            qos: message.qos,
            id,
            duplicate,
            retain: message.retain,
            expiry_s: None,
            subscription_ids: &[],
        };
        if encode::publish(self.outbox.buffer(), message, &header, self.packet_bytes_max_out) {
            Ok(())
        } else {
            Err(ClientError::TooLarge)
        }
    }

    /// Queues a SUBSCRIBE; the answer is [`Event::Subscribed`].
    ///
    /// # Errors
    /// [`ClientError::Invalid`], [`ClientError::TooLarge`] or [`ClientError::Full`].
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<RequestId, ClientError> {
        self.request(filters.iter().map(|(filter, qos)| (*filter, Some(*qos))))
    }

    /// Sends an unanswered SUBSCRIBE once more on this connection, with the same packet identifier
    /// and the same filters. For MQTT 3.1.1 (AWS's Device Advisor asks for it); with MQTT 5 nothing
    /// is sent again on a connection.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] when the request is answered or the connection speaks MQTT 5.
    pub fn resubscribe(&mut self, request: RequestId, filters: &[(&str, QoS)]) -> Result<(), ClientError> {
        if !self.requests.contains(&request.0) {
            return Err(ClientError::Invalid { what: "the request" });
        }
        if self.version == Version::V5 {
            return Err(ClientError::Invalid { what: "sending again in MQTT 5" });
        }
        let filters = filters.iter().map(|(filter, qos)| (*filter, Some(*qos)));
        encode::request(self.outbox.buffer(), self.version, request.0, filters);
        Ok(())
    }

    /// Queues an UNSUBSCRIBE; the answer is [`Event::Unsubscribed`].
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<RequestId, ClientError> {
        self.request(filters.iter().map(|filter| (*filter, None)))
    }

    fn request<'a>(
        &mut self,
        filters: impl Iterator<Item = (&'a str, Option<QoS>)> + Clone,
    ) -> Result<RequestId, ClientError> {
        let size: usize = filters.clone().map(|(filter, _)| filter.len() + 3).sum();
        if size == 0 || filters.clone().any(|(filter, _)| !valid_filter(filter)) {
            return Err(ClientError::Invalid { what: "a topic filter" });
        }
        if filters.clone().any(|(_, qos)| qos == Some(QoS::ExactlyOnce)) {
            return Err(ClientError::Invalid { what: "the QoS, which this client does not speak," });
        }
        if size + 8 > self.packet_bytes_max_out {
            return Err(ClientError::TooLarge);
        }
        if self.requests.len() >= REQUESTS_MAX {
            return Err(ClientError::Full);
        }
        let id = self.free_id();
        encode::request(self.outbox.buffer(), self.version, id, filters);
        self.requests.push(id);
        Ok(RequestId(id))
    }

    /// Queues the PUBACK of an incoming message; the caller has made it durable first. The server
    /// sends no more than `receive_maximum` messages ahead of it.
    pub fn acknowledge(&mut self, id: MessageId) {
        encode::puback(self.outbox.buffer(), self.version, id.0, 0);
    }

    /// Drives the connection until something happens. Cancel-safe: dropping the future loses
    /// nothing, so that it can stand in a `select!`.
    ///
    /// # Errors
    /// The connection has failed or ended, for good.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        if self.over {
            return Err(ClientError::Closed);
        }
        let result = poll_fn(|context| self.poll_next(context)).await;
        self.over = result.is_err();
        result
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, ClientError>> {
        loop {
            if self.outbox.len() < OUTBOX_BYTES_EAGER
                && let Some(event) = self.events.pop_front()
            {
                return Poll::Ready(Ok(event));
            }
            let written = self.poll_write(context);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Ok(event));
            }
            if let Some(failure) = self.failure.take() {
                return Poll::Ready(Err(failure));
            }
            // What the server said before it closed is read first: it may say why.
            if self.poll_read(context)?.is_ready() {
                continue;
            }
            if let Poll::Ready(Err(error)) = written {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_timer(context))?;
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if self.outbox.len() > 0 {
            self.last_sent = Instant::now();
        }
        self.outbox.poll_write(&mut self.stream, context).map_err(ClientError::from)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        with_scratch(|scratch| {
            let read = ready!(self.stream.poll_read(context, scratch))?;
            if read == 0 {
                return Poll::Ready(Err(ClientError::Closed));
            }
            self.last_heard = Instant::now();
            self.take_input(scratch.get(..read).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Ready when the timer has queued a PINGREQ or has been set anew; an error when a PINGREQ went
    /// unanswered.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let Some(keep_alive) = self.keep_alive else { return Poll::Pending };
        ready!(self.timer.as_mut().poll(context));
        let now = Instant::now();
        // Silence of either side is broken by a ping: a peer that only takes may be dead.
        let quiet_until = self.last_sent.min(self.last_heard) + keep_alive;
        let deadline = match self.ping_sent {
            Some(sent) if sent + self.ping_timeout <= now => {
                return Poll::Ready(Err(ClientError::PingTimeout));
            }
            Some(sent) => sent + self.ping_timeout,
            None if quiet_until <= now => {
                encode::pingreq(self.outbox.buffer());
                self.ping_sent = Some(now);
                now + self.ping_timeout
            }
            None => quiet_until,
        };
        self.timer.as_mut().reset(deadline.into());
        Poll::Ready(Ok(()))
    }

    /// Writes everything that is queued.
    ///
    /// # Errors
    /// [`ClientError::Network`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        poll_fn(|context| self.poll_write(context)).await
    }

    /// Writes everything that is queued and a DISCONNECT, and closes: the server publishes no will.
    ///
    /// # Errors
    /// [`ClientError::Network`], or [`ClientError::PingTimeout`] when the server does not take it.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        encode::disconnect(self.outbox.buffer(), self.version, DisconnectReason::Normal);
        let timeout = self.ping_timeout;
        let closing = async {
            self.flush().await?;
            poll_fn(|context| self.stream.poll_shutdown(context)).await.map_err(ClientError::from)
        };
        tokio::time::timeout(timeout, closing).await.map_err(|_| ClientError::PingTimeout)?
    }

    fn free_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            // Both lists together are shorter than 65,535, so this ends.
            if !self.inflight.iter().any(|sent| sent.id == id) && !self.requests.contains(&id) {
                return id;
            }
        }
    }
}

//! A client's connection on the server: one task that reads, hands over, acknowledges and delivers.

mod acknowledgements;
mod aliases;
mod input;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tracing::debug;

use self::acknowledgements::{Acknowledgements, Answer};
use crate::cell::{Cell, Sent};
use crate::link::{Link, Outcome};
use crate::packet::encode::{self, PublishHeader};
use crate::session::{Ending, Outgoing, Sending};
use crate::stats::add;
use crate::stream::{Outbox, Stream, with_scratch};
use crate::{DisconnectReason, Version};

/// No more is taken from the session, nor read from the socket, while so much waits to be written.
const OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// How long the last words of a connection may take.
const LINGER: Duration = Duration::from_secs(1);

/// What a new connection starts with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) stream: Stream,
    pub(crate) outbox: Outbox,
    /// Bytes that came with the CONNECT.
    pub(crate) unread: Vec<u8>,
    pub(crate) keep_alive_s: u16,
    /// The largest packet that the client takes.
    pub(crate) packet_bytes_max: usize,
}

/// The connection's state, driven by [`Driver::run`].
#[derive(Debug)]
pub(crate) struct Driver {
    link: Arc<Link>,
    cell: Arc<Cell>,
    stream: Stream,
    outbox: Outbox,
    input: input::Input,
    acknowledgements: Acknowledgements,
    completions: Vec<(u64, Outcome)>,
    /// There may be messages of QoS 2 that await their PUBREL.
    exactly_once: bool,
    /// The session may have more to send than the outbox had room for.
    mail: bool,
    packet_bytes_max: usize,
    /// One and a half keep-alives; none without one.
    silence_max: Option<Duration>,
    last_heard: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Set once: nothing is read any more, what is in the outbox is still written.
    ending: Option<Ending>,
    released: bool,
}

impl Driver {
    pub(crate) fn new(link: Arc<Link>, cell: Arc<Cell>, parts: Parts) -> Self {
        let config = &link.shared.config;
        let counters = &link.shared.counters;
        add(&counters.connections, 1);
        add(&counters.connections_total, 1);
        debug!(client = &*link.client.client_id, peer = %link.client.peer, "client connected");
        link.shared.application.connected(&link.client);
        let keep_alive = Duration::from_secs(u64::from(parts.keep_alive_s));
        let silence_max = (parts.keep_alive_s > 0).then(|| keep_alive * 3 / 2);
        Self {
            input: input::Input::new(parts.unread),
            acknowledgements: Acknowledgements::new(usize::from(config.receive_maximum)),
            completions: Vec::new(),
            exactly_once: cell.unreleased() > 0,
            mail: true,
            packet_bytes_max: parts.packet_bytes_max,
            silence_max,
            last_heard: Instant::now(),
            timer: silence_max.map(|after| Box::pin(tokio::time::sleep(after))),
            ending: None,
            released: false,
            stream: parts.stream,
            outbox: parts.outbox,
            link,
            cell,
        }
    }

    /// Runs until the connection has ended. May be dropped and called again.
    pub(crate) async fn run(&mut self) {
        if let Err(error) = poll_fn(|context| self.poll(context)).await {
            debug!(client = &*self.link.client.client_id, %error, "connection failed");
        }
        self.release();
    }

    /// Ends the connection from this side.
    pub(crate) fn close(&mut self, reason: DisconnectReason) {
        if self.ending.is_some() {
            return;
        }
        debug!(client = &*self.link.client.client_id, ?reason, "connection is closed by the broker");
        if self.link.client.version == Version::V5 {
            encode::disconnect(self.outbox.buffer(), Version::V5, reason);
        }
        self.end(Ending { will_forgotten: false, session_expiry_s: None });
    }

    fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.timer = Some(Box::pin(tokio::time::sleep(LINGER)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let wishes = self.link.collect(&mut self.completions);
            self.acknowledge();
            self.mail |= wishes.mail;
            if let Some(reason) = wishes.close {
                self.close(reason);
            }
            self.deliver();
            let waiting = self.outbox.len();
            let written = self.outbox.poll_write(&mut self.stream, context)?.is_ready();
            add(&self.link.shared.counters.bytes_out, (waiting - self.outbox.len()) as u64);
            if self.ending.is_some() {
                return self.poll_end(context, written);
            }
            if written && self.mail {
                continue;
            }
            if self.poll_input(context)?.is_ready() {
                continue;
            }
            if self.poll_timer(context).is_ready() || self.link.register(context) {
                continue;
            }
            return Poll::Pending;
        }
    }

    /// The last words, then the client's own end: a socket that is closed with bytes unread sends a
    /// reset, which can overtake what was just written.
    fn poll_end(&mut self, context: &mut Context<'_>, written: bool) -> Poll<io::Result<()>> {
        self.release();
        if written && self.stream.poll_shutdown(context)?.is_ready() {
            let drained = with_scratch(|scratch| {
                while let Poll::Ready(read) = self.stream.poll_read(context, scratch) {
                    if matches!(read, Ok(0) | Err(_)) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            });
            if drained.is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes what the application has answered since the last look, in one go.
    fn acknowledge(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let version = self.link.client.version;
        let mut wish = None;
        for (slot, outcome) in self.completions.drain(..) {
            self.acknowledgements.complete(slot, outcome);
        }
        while let Some(answer) = self.acknowledgements.next(version) {
            match answer {
                Answer::Puback { id, code } => encode::puback(self.outbox.buffer(), version, id, code),
                Answer::Pubrec { id, code } => encode::pubrec(self.outbox.buffer(), version, id, code),
                Answer::Silence => {}
                Answer::Close(reason) => {
                    wish = Some(reason);
                    break;
                }
            }
        }
        if self.acknowledgements.exhausted() {
            wish = wish.or(Some(DisconnectReason::QuotaExceeded));
        }
        if let Some(reason) = wish {
            self.close(reason);
        }
    }

    /// Moves messages from the session to the outbox, as many as there is room for.
    fn deliver(&mut self) {
        if !self.mail || self.ending.is_some() || self.outbox.len() >= OUTBOX_BYTES_MAX {
            return;
        }
        let version = self.link.client.version;
        let outbox = &mut self.outbox;
        let bytes_max = self.packet_bytes_max;
        let (application, client) = (&self.link.shared.application, &self.link.client);
        let (mut sent, mut dropped) = (0, 0);
        let emptied = self.cell.drain(self.link.client.connection, &mut dropped, |sending| {
            let outgoing = match sending {
                Sending::Publish(outgoing) => outgoing,
                Sending::Pubrel(id) => {
                    encode::pubrel(outbox.buffer(), version, *id, 0);
                    return Sent::More;
                }
            };
            if !application.authorize_receive(client, &outgoing.delivery.message.topic) {
                return Sent::Never;
            }
            if !encode::publish(
                outbox.buffer(),
                &outgoing.delivery.message,
                &header(outgoing, version),
                bytes_max,
            ) {
                return Sent::Never;
            }
            sent += 1;
            if outbox.len() < OUTBOX_BYTES_MAX { Sent::More } else { Sent::Enough }
        });
        self.mail = !emptied;
        let shared = &self.link.shared;
        shared.count_dropped(dropped);
        add(&shared.counters.messages_out, sent);
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.resumable(&self.acknowledgements, self.link.client.version) {
            self.take_input(&[]);
            return Poll::Ready(Ok(()));
        }
        if self.input.is_stalled() || self.outbox.len() >= OUTBOX_BYTES_MAX {
            return Poll::Pending;
        }
        with_scratch(|scratch| {
            let read = match self.stream.poll_read(context, scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read?,
            };
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.last_heard = Instant::now();
            self.take_input(scratch.get(..read).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Ready when the timer did something.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some(timer), Some(silence_max)) = (&mut self.timer, self.silence_max) else {
            return Poll::Pending;
        };
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // A client that is not read cannot be heard: while it is held back, time stands still.
        if self.input.is_stalled() || self.outbox.len() >= OUTBOX_BYTES_MAX {
            self.last_heard = Instant::now();
        }
        let deadline = self.last_heard + silence_max;
        if deadline <= Instant::now() {
            self.close(DisconnectReason::KeepAliveTimeout);
        } else {
            timer.as_mut().reset(deadline.into());
        }
        Poll::Ready(())
    }

    fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        let ending = self.ending.unwrap_or(Ending { will_forgotten: false, session_expiry_s: None });
        let shared = Arc::clone(&self.link.shared);
        self.link.end();
        shared.release(&self.cell, self.link.client.connection, ending);
        shared.counters.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        debug!(client = &*self.link.client.client_id, "client disconnected");
        shared.application.disconnected(&self.link.client);
    }
}

/// A connection whose task is dropped still gives its session back.
impl Drop for Driver {
    fn drop(&mut self) {
        self.release();
    }
}

fn header(outgoing: &Outgoing, version: Version) -> PublishHeader<'_> {
    PublishHeader {
        version,
        qos: outgoing.delivery.qos,
        id: outgoing.id,
        duplicate: outgoing.duplicate,
        retain: outgoing.delivery.retain,
        expiry_s: outgoing.expiry_s,
        subscription_ids: &outgoing.delivery.subscription_ids,
    }
}

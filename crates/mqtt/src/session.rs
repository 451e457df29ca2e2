//! One client's session: what is owed to it, and what happens when it goes. Pure: the time comes in
//! as an argument, packets-to-be and effects go out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::packet::{SubscribeOptions, Will};
use crate::{BrokerConfig, ClientInfo, Message, QoS};

/// A message on its way to one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) message: Message,
    /// The lower of the publish's and the subscription's.
    pub(crate) qos: QoS,
    /// The RETAIN flag as the subscriber shall see it.
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Vec<u32>,
    /// Since when the broker has the message.
    pub(crate) since: Instant,
}

impl Delivery {
    /// What is left of the message's expiry in seconds; `Err` when it has expired.
    fn expiry_left(&self, now: Instant) -> Result<Option<u32>, Expired> {
        let Some(expiry) = self.message.properties.as_ref().and_then(|properties| properties.expiry_s) else {
            return Ok(None);
        };
        let waited = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        match expiry.checked_sub(waited) {
            Some(left) if left > 0 => Ok(Some(left)),
            _ => Err(Expired),
        }
    }
}

struct Expired;

/// A PUBLISH to be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) delivery: Delivery,
}

/// A packet to be written.
#[derive(Debug)]
pub(crate) enum Sending {
    Publish(Outgoing),
    /// Of a message that the subscriber has had before this connection ([MQTT-4.4.0-1]).
    Pubrel(u16),
}

/// Sent and not settled.
#[derive(Debug)]
struct InFlight {
    id: u16,
    /// Let go when the PUBREC has come: from then on only the PUBREL counts ([MQTT-4.3.3-6]).
    delivery: Option<Delivery>,
}

impl InFlight {
    fn qos(&self) -> QoS {
        self.delivery.as_ref().map_or(QoS::ExactlyOnce, |delivery| delivery.qos)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The client said goodbye: its will is forgotten.
    pub(crate) will_forgotten: bool,
    /// A last word on the session's expiry (MQTT 5 DISCONNECT).
    pub(crate) session_expiry_s: Option<u32>,
}

/// What is to be done for a session without connection.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    /// Publish this for this client.
    pub(crate) will: Option<(ClientInfo, Message)>,
    /// The session is over.
    pub(crate) ended: bool,
}

/// The state of a session (section 4.1), beside the connection's own.
#[derive(Debug)]
pub(crate) struct Session {
    queue: VecDeque<Delivery>,
    queue_bytes: usize,
    queue_messages_max: usize,
    queue_bytes_max: usize,
    /// Until PUBACK or PUBCOMP, in the order of sending.
    inflight: VecDeque<InFlight>,
    /// How many of `inflight`, from the front, this connection has sent (or sent again).
    sent: usize,
    window: usize,
    next_id: u16,
    /// The session's filters, with what each was granted.
    pub(crate) subscriptions: BTreeMap<Arc<str>, SubscribeOptions>,
    connected: bool,
    expiry_s: u32,
    will: Option<(ClientInfo, Will)>,
    will_due: Option<Instant>,
    ends_at: Option<Instant>,
}

impl Session {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            queue_messages_max: config.queue_messages_max,
            queue_bytes_max: config.queue_bytes_max,
            inflight: VecDeque::new(),
            sent: 0,
            window: 0,
            next_id: 1,
            subscriptions: BTreeMap::new(),
            connected: false,
            expiry_s: 0,
            will: None,
            will_due: None,
            ends_at: None,
        }
    }

    /// A connection takes the session up: what was in flight is sent again.
    pub(crate) fn connect(&mut self, window: usize, expiry_s: u32, will: Option<(ClientInfo, Will)>) {
        self.connected = true;
        self.sent = 0;
        self.window = window.max(1);
        self.expiry_s = expiry_s;
        self.will = will;
        self.will_due = None;
        self.ends_at = None;
    }

    /// The connection is gone. Effects come from [`Session::fire`], now or when due.
    pub(crate) fn disconnect(&mut self, now: Instant, ending: Ending) {
        self.connected = false;
        // [MQTT-3.14.2-2]: an expiry of zero cannot be raised at the end.
        if let Some(expiry) = ending.session_expiry_s.filter(|_| self.expiry_s > 0) {
            self.expiry_s = expiry;
        }
        if ending.will_forgotten {
            self.will = None;
        }
        let ends_at = now + Duration::from_secs(u64::from(self.expiry_s));
        self.ends_at = Some(ends_at);
        // The will goes out after its delay or at the end of the session, whichever is first.
        self.will_due = self
            .will
            .as_ref()
            .map(|(_, will)| (now + Duration::from_secs(u64::from(will.delay_s))).min(ends_at));
        // What was sent with QoS 0 is not kept for later.
        let kept = std::mem::take(&mut self.queue);
        self.queue_bytes = 0;
        for delivery in kept.into_iter().filter(|delivery| delivery.qos > QoS::AtMostOnce) {
            self.queue_bytes += delivery.message.size_bytes();
            self.queue.push_back(delivery);
        }
    }

    /// When [`Session::fire`] has something to do; none while connected.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.connected {
            return None;
        }
        self.will_due.into_iter().chain(self.ends_at).min()
    }

    /// Does what is due. With `over`, the session ends now, whatever its expiry.
    pub(crate) fn fire(&mut self, now: Instant, over: bool) -> Fired {
        if self.connected {
            return Fired::default();
        }
        let ended = over || self.ends_at.is_some_and(|at| at <= now);
        let mut fired = Fired { will: None, ended };
        if ended || self.will_due.is_some_and(|at| at <= now) {
            self.will_due = None;
            fired.will = self.will.take().map(|(client, will)| (client, will.message));
        }
        fired
    }

    /// Whether [`Session::enqueue`] would keep this message and drop none for it.
    pub(crate) fn has_room(&self, delivery: &Delivery) -> bool {
        (self.connected || delivery.qos > QoS::AtMostOnce)
            && self.queue.len() < self.queue_messages_max
            && self.queue_bytes + delivery.message.size_bytes() <= self.queue_bytes_max
    }

    /// Queues a message. Gives how many were dropped for want of room (or of a connection: QoS 0
    /// is not kept without one).
    pub(crate) fn enqueue(&mut self, delivery: Delivery) -> u64 {
        let size = delivery.message.size_bytes();
        if (!self.connected && delivery.qos == QoS::AtMostOnce) || size > self.queue_bytes_max {
            return 1;
        }
        self.queue_bytes += size;
        self.queue.push_back(delivery);
        let mut dropped = 0;
        while self.queue.len() > self.queue_messages_max || self.queue_bytes > self.queue_bytes_max {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// QoS 0 promised nothing, so it goes first.
    fn drop_oldest(&mut self) {
        let index =
            self.queue.iter().position(|delivery| delivery.qos == QoS::AtMostOnce).unwrap_or_default();
        if let Some(dropped) = self.queue.remove(index) {
            self.queue_bytes -= dropped.message.size_bytes();
        }
    }

    /// The next packet to write, if the window lets one go. What has expired is dropped and
    /// counted in `dropped`.
    pub(crate) fn next(&mut self, now: Instant, dropped: &mut u64) -> Option<Sending> {
        if let Some(InFlight { id, delivery }) = self.inflight.get(self.sent) {
            self.sent += 1;
            let Some(delivery) = delivery else { return Some(Sending::Pubrel(*id)) };
            // What has been sent once must be settled, so its expiry no longer counts.
            let expiry_s = delivery.expiry_left(now).unwrap_or(Some(1));
            let delivery = delivery.clone();
            return Some(Sending::Publish(Outgoing { id: Some(*id), duplicate: true, expiry_s, delivery }));
        }
        loop {
            let head = self.queue.front()?;
            if head.qos > QoS::AtMostOnce && self.inflight.len() >= self.window {
                return None;
            }
            let expiry = head.expiry_left(now);
            let delivery = self.queue.pop_front()?;
            self.queue_bytes -= delivery.message.size_bytes();
            let Ok(expiry_s) = expiry else {
                *dropped += 1;
                continue;
            };
            let mut id = None;
            if delivery.qos > QoS::AtMostOnce {
                let free = self.free_id();
                self.inflight.push_back(InFlight { id: free, delivery: Some(delivery.clone()) });
                self.sent += 1;
                id = Some(free);
            }
            return Some(Sending::Publish(Outgoing { id, duplicate: false, expiry_s, delivery }));
        }
    }

    /// A PUBACK. False when nothing of this id and of QoS 1 is in flight: a repeated one, which
    /// harms nobody.
    pub(crate) fn acknowledge(&mut self, id: u16) -> bool {
        self.settle(|known| known.id == id && known.qos() == QoS::AtLeastOnce)
    }

    /// Whether a message of QoS 2 is in flight with this identifier.
    pub(crate) fn is_exactly_once(&self, id: u16) -> bool {
        self.inflight.iter().any(|known| known.id == id && known.qos() == QoS::ExactlyOnce)
    }

    /// A PUBREC: the subscriber has a message of QoS 2. False when there is none of this id.
    pub(crate) fn received(&mut self, id: u16) -> bool {
        let found = self.inflight.iter_mut().find(|known| known.id == id && known.qos() == QoS::ExactlyOnce);
        found.is_some_and(|known| {
            known.delivery = None;
            true
        })
    }

    /// A PUBCOMP, which only a PUBREL can call for.
    pub(crate) fn complete(&mut self, id: u16) -> bool {
        self.settle(|known| known.id == id && known.delivery.is_none())
    }

    /// Gives a message up that the subscriber has not got: it cannot be sent, or a PUBREC refuses it.
    pub(crate) fn give_up(&mut self, id: u16) -> bool {
        self.settle(|known| known.id == id && known.delivery.is_some())
    }

    fn settle(&mut self, is_it: impl Fn(&InFlight) -> bool) -> bool {
        let Some(index) = self.inflight.iter().position(is_it) else { return false };
        self.inflight.remove(index);
        if index < self.sent {
            self.sent -= 1;
        }
        true
    }

    /// Forgets what is owed; gives how many messages that were.
    pub(crate) fn clear(&mut self) -> u64 {
        let owed =
            self.queue.len() + self.inflight.iter().filter(|message| message.delivery.is_some()).count();
        (self.queue, self.queue_bytes) = (VecDeque::new(), 0);
        (self.inflight, self.sent) = (VecDeque::new(), 0);
        owed as u64
    }

    fn free_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            // The window is at most 65,535 and one is free, so this ends.
            if !self.inflight.iter().any(|known| known.id == id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests;

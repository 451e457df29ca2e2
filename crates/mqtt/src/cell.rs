//! A session and the connection that serves it now, behind one lock; taking up, taking over, ending.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::broker::{Shared, Wanted};
use crate::inbound::{Arrival, Inbound};
use crate::link::{Link, Outcome, lock};
use crate::packet::{RetainHandling, Will};
use crate::session::{Delivery, Ending, Fired, Sending, Session};
use crate::share::{self, Filter, Share};
use crate::{ClientInfo, DisconnectReason, Message, Receipt, Refusal};

/// One client's place in the broker. A clean start makes a new one.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) number: u64,
    pub(crate) client_id: Arc<str>,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    session: Session,
    /// What the client sends with QoS 2; whom the answer is for, and the number of the message there.
    inbound: Inbound<(Arc<Link>, u64)>,
    link: Option<Arc<Link>>,
    /// Whose session it is: the client of the connection that serves it, or did last.
    owner: ClientInfo,
    /// Another session has this client identifier now.
    replaced: bool,
}

/// The cell as the key of its subscriptions: the same session, not an equal one, by itself or in a group.
#[derive(Debug, Clone)]
pub(crate) struct CellKey {
    pub(crate) cell: Arc<Cell>,
    pub(crate) share: Option<Share>,
}

impl PartialEq for CellKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell) && self.share == other.share
    }
}

/// What a connection asks for when it takes up a session.
#[derive(Debug)]
pub(crate) struct TakeUp {
    pub(crate) clean_start: bool,
    pub(crate) window: usize,
    pub(crate) expiry_s: u32,
    pub(crate) will: Option<Will>,
}

impl Cell {
    fn new(shared: &Shared, owner: &ClientInfo) -> Arc<Self> {
        let client_id = Arc::clone(&owner.client_id);
        let session = Session::new(&shared.config);
        let inbound = Inbound::new();
        let slot = Slot { session, inbound, link: None, owner: owner.clone(), replaced: false };
        Arc::new(Self { number: shared.number(), client_id, slot: Mutex::new(slot) })
    }

    /// Queues a message and wakes the connection. Gives how many were dropped.
    pub(crate) fn deliver(&self, delivery: Delivery) -> u64 {
        let (dropped, link) = {
            let mut slot = lock(&self.slot);
            if slot.replaced {
                return 1;
            }
            (slot.session.enqueue(delivery), slot.link.clone())
        };
        if let Some(link) = link {
            link.notify_mail();
        }
        dropped
    }

    /// Queues a message of a group, if this session is (or is not) connected and takes it without losing
    /// another. False when it does not.
    pub(crate) fn offer(&self, shared: &Shared, delivery: &Delivery, connected: bool) -> bool {
        let link = {
            let mut slot = lock(&self.slot);
            let takes = !slot.replaced
                && slot.link.is_some() == connected
                && slot.session.has_room(delivery)
                && shared.application.authorize_receive(&slot.owner, &delivery.message.topic);
            if !takes {
                return false;
            }
            shared.count_dropped(slot.session.enqueue(delivery.clone()));
            slot.link.clone()
        };
        if let Some(link) = link {
            link.notify_mail();
        }
        true
    }

    /// Asks the connection to end; false when there is none.
    pub(crate) fn close(&self, reason: DisconnectReason) -> bool {
        let link = lock(&self.slot).link.clone();
        link.inspect(|link| link.close(reason)).is_some()
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        lock(&self.slot).session.due()
    }

    /// Hands `write` one packet after the other, until it says stop or none is left. False when
    /// stopped. `write` takes a delivery it cannot send as dropped by giving [`Sent::Never`].
    pub(crate) fn drain(
        &self,
        connection: u64,
        dropped: &mut u64,
        mut write: impl FnMut(&Sending) -> Sent,
    ) -> bool {
        let mut slot = lock(&self.slot);
        if slot.owner.connection != connection {
            return true;
        }
        let now = Instant::now();
        while let Some(sending) = slot.session.next(now, dropped) {
            match (write(&sending), sending) {
                (Sent::More, _) => {}
                (Sent::Enough, _) => return false,
                (Sent::Never, Sending::Pubrel(_)) => {}
                (Sent::Never, Sending::Publish(outgoing)) => {
                    // [MQTT-3.1.2-25]: as if it had been sent.
                    *dropped += 1;
                    if let Some(id) = outgoing.id {
                        slot.session.give_up(id);
                    }
                }
            }
        }
        true
    }

    pub(crate) fn acknowledge(&self, connection: u64, id: u16) {
        let mut slot = lock(&self.slot);
        if slot.owner.connection == connection {
            slot.session.acknowledge(id);
        }
    }

    /// A PUBREC; false when no message of QoS 2 has this identifier. A code from 0x80 ends the message.
    pub(crate) fn received(&self, connection: u64, id: u16, code: u8) -> bool {
        let mut slot = lock(&self.slot);
        if slot.owner.connection != connection || !slot.session.is_exactly_once(id) {
            return false;
        }
        if code < 0x80 { slot.session.received(id) } else { slot.session.give_up(id) }
    }

    pub(crate) fn complete(&self, connection: u64, id: u16) {
        let mut slot = lock(&self.slot);
        if slot.owner.connection == connection {
            slot.session.complete(id);
        }
    }

    /// A PUBLISH of QoS 2 has come on a connection, as its message number `number`; none when the session
    /// is not that connection's any more.
    pub(crate) fn arrive(
        &self,
        link: &Arc<Link>,
        id: u16,
        number: u64,
        messages_max: usize,
    ) -> Option<Arrival> {
        let mut slot = lock(&self.slot);
        let current = slot.owner.connection == link.client.connection && !slot.replaced;
        current.then(|| slot.inbound.arrive(id, (Arc::clone(link), number), messages_max))
    }

    /// The application's answer to a message of QoS 2, whichever connection waits for it by now.
    pub(crate) fn answer(&self, id: u16, outcome: Outcome) {
        let is_taken = |(link, _): &(Arc<Link>, u64)| outcome.is_acknowledged(link.client.version);
        let waiter = lock(&self.slot).inbound.answer(id, is_taken);
        if let Some((link, number)) = waiter {
            link.complete(number, outcome);
        }
    }

    /// A PUBREL; false when nothing of this identifier awaits one.
    pub(crate) fn release_inbound(&self, connection: u64, id: u16) -> bool {
        let mut slot = lock(&self.slot);
        slot.owner.connection == connection && slot.inbound.release(id)
    }

    /// How many messages of QoS 2 await their PUBREL.
    pub(crate) fn unreleased(&self) -> usize {
        lock(&self.slot).inbound.unreleased()
    }

    /// Grants a subscription and queues the retained messages that belong to it. False when the
    /// session has as many as it may.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        shared: &Shared,
        connection: u64,
        filter: Filter<'_>,
        wanted: Wanted,
    ) -> bool {
        let whole = filter.group.unwrap_or(filter.topics);
        let new = {
            let mut slot = lock(&self.slot);
            if slot.owner.connection != connection || slot.replaced {
                return true;
            }
            let subscriptions = &mut slot.session.subscriptions;
            let new = !subscriptions.contains_key(whole);
            if new && subscriptions.len() >= shared.config.subscriptions_max {
                return false;
            }
            subscriptions.insert(Arc::from(whole), wanted.options);
            let key = self.key(filter);
            shared.write_subscriptions(|all| all.insert(filter.topics, key, wanted));
            new
        };
        let send = match wanted.options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => new,
            RetainHandling::Never => false,
        };
        // A group gets no retained messages when somebody joins it (section 4.8.2).
        if send && filter.group.is_none() {
            self.send_retained(shared, filter.topics, wanted);
        }
        true
    }

    fn send_retained(&self, shared: &Shared, filter: &str, wanted: Wanted) {
        let found: Vec<(Message, Instant)> = lock(&shared.retained).matching(filter).cloned().collect();
        for (message, since) in found {
            let delivery = Delivery {
                qos: message.qos.min(wanted.options.qos),
                message,
                retain: true,
                subscription_ids: wanted.id.into_iter().collect(),
                since,
            };
            shared.count_dropped(self.deliver(delivery));
        }
    }

    /// Takes a subscription away; false when there was none.
    pub(crate) fn unsubscribe(self: &Arc<Self>, shared: &Shared, connection: u64, filter: &str) -> bool {
        let mut slot = lock(&self.slot);
        if slot.owner.connection != connection || slot.session.subscriptions.remove(filter).is_none() {
            return false;
        }
        let Some(filter) = share::filter(filter) else { return false };
        let key = self.key(filter);
        shared.write_subscriptions(|all| all.remove(filter.topics, &key))
    }

    fn key(self: &Arc<Self>, filter: Filter<'_>) -> CellKey {
        CellKey { cell: Arc::clone(self), share: filter.group.map(Share::new) }
    }

    /// Takes every subscription of an ended session out of the trie.
    fn forget(self: &Arc<Self>, shared: &Shared, slot: &mut Slot) {
        slot.replaced = true;
        shared.count_dropped(slot.session.clear());
        slot.inbound = Inbound::new();
        let filters = std::mem::take(&mut slot.session.subscriptions);
        shared.write_subscriptions(|all| {
            for filter in filters.keys().filter_map(|filter| share::filter(filter)) {
                all.remove(filter.topics, &self.key(filter));
            }
        });
    }
}

/// What became of a PUBLISH that [`Cell::drain`] handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Written; there is room for more.
    More,
    /// Written; no more for now.
    Enough,
    /// Larger than the client takes, or not for it.
    Never,
}

impl Shared {
    /// Gives a new connection its session: the client's old one, or a fresh one. An older
    /// connection of the client is ended ([MQTT-3.1.4-3]). True when the session is an old one.
    ///
    /// # Errors
    /// It is somebody else's session, or the broker holds as many as it may.
    pub(crate) fn take_up(
        self: &Arc<Self>,
        link: &Arc<Link>,
        take_up: TakeUp,
    ) -> Result<(Arc<Cell>, bool), Refusal> {
        let client = &link.client;
        let now = Instant::now();
        let (cell, present, fired) = {
            let mut cells = lock(&self.cells);
            let old = cells.get(&client.client_id).cloned();
            let owner = old.as_ref().map(|old| lock(&old.slot).owner.clone());
            if owner.is_some_and(|owner| !self.application.may_take_over(&owner, client)) {
                return Err(Refusal::NotAuthorized);
            }
            let (kept, fired) = match &old {
                Some(old) => self.leave(old, now, take_up.clean_start),
                None => (false, Fired::default()),
            };
            let cell = match old.filter(|_| kept) {
                Some(old) => old,
                None if cells.len() >= self.config.sessions_max && !cells.contains_key(&client.client_id) => {
                    return Err(Refusal::Busy);
                }
                None => Cell::new(self, client),
            };
            {
                let mut slot = lock(&cell.slot);
                let will = take_up.will.map(|will| (client.clone(), will));
                slot.session.connect(take_up.window, take_up.expiry_s, will);
                slot.link = Some(Arc::clone(link));
                slot.owner = client.clone();
            }
            cells.insert(Arc::clone(&client.client_id), Arc::clone(&cell));
            (cell, kept, fired)
        };
        self.publish_will(fired);
        Ok((cell, present))
    }

    /// Ends the older connection of a session, if it has one. True when the session lives on.
    fn leave(&self, old: &Arc<Cell>, now: Instant, clean_start: bool) -> (bool, Fired) {
        let mut slot = lock(&old.slot);
        if let Some(link) = slot.link.take() {
            link.close(DisconnectReason::TakenOver);
            slot.session.disconnect(now, Ending { will_forgotten: false, session_expiry_s: None });
        }
        let fired = slot.session.fire(now, clean_start);
        if fired.ended {
            old.forget(self, &mut slot);
        }
        (!fired.ended, fired)
    }

    /// A connection has ended. Does nothing when another has taken its session over.
    pub(crate) fn release(self: &Arc<Self>, cell: &Arc<Cell>, connection: u64, ending: Ending) {
        let now = Instant::now();
        let due = {
            let mut slot = lock(&cell.slot);
            if slot.owner.connection != connection || slot.link.is_none() {
                return;
            }
            slot.link = None;
            slot.session.disconnect(now, ending);
            slot.session.due()
        };
        match due {
            Some(due) if due <= now => self.settle(cell, now),
            Some(due) => self.note_due(due),
            None => {}
        }
    }

    /// Does what is due for a session without connection.
    pub(crate) fn settle(self: &Arc<Self>, cell: &Arc<Cell>, now: Instant) {
        let fired = {
            let mut cells = lock(&self.cells);
            let mut slot = lock(&cell.slot);
            let fired = slot.session.fire(now, false);
            if fired.ended && !slot.replaced {
                cell.forget(self, &mut slot);
                cells.remove(&cell.client_id);
            }
            fired
        };
        self.publish_will(fired);
        if let Some(due) = cell.due().filter(|due| *due > now) {
            self.note_due(due);
        }
    }

    /// A will goes the way of any publish: through the application, which is asked anew, for the client
    /// may have lost its permission since it connected.
    fn publish_will(self: &Arc<Self>, fired: Fired) {
        if let Some((client, message)) = fired.will {
            if !self.application.authorize_publish(&client, &message.topic) {
                tracing::debug!(client = &*client.client_id, topic = &*message.topic, "will refused");
                return self.count_refused();
            }
            let link = Link::new(Arc::clone(self), client);
            let receipt = Receipt::new(Arc::clone(&link), None, message.clone());
            self.application.publish(&link.client, message, receipt);
            self.application.publish_done(&link.client);
        }
    }

    /// Tells the janitor of a moment, if it is earlier than all it knows.
    fn note_due(&self, due: Instant) {
        let mut next = lock(&self.next_due);
        if next.is_none_or(|next| due < next) {
            *next = Some(due);
            self.due_changed.notify_one();
        }
    }
}

//! Messages of QoS 2 from a client, from their PUBLISH to their PUBREL. Pure.
//!
//! They belong to the session, not to a connection: a client that was cut off sends its PUBLISH again, and the
//! application must not get it a second time (section 4.3.3).

use std::collections::{BTreeMap, BTreeSet};

/// Both sets together never hold more than there are packet identifiers. `Waiter` is who is told of the
/// application's answer.
#[derive(Debug)]
pub(crate) struct Inbound<Waiter> {
    /// With the application.
    waiting: BTreeMap<u16, Waiter>,
    /// Taken by the application: their PUBREC may be sent any number of times until the PUBREL.
    received: BTreeSet<u16>,
}

/// What a PUBLISH of QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message for the application.
    New,
    /// One that the application has not answered yet; the answer goes to the new waiter.
    Waiting,
    /// One that the application has taken.
    Received,
    /// A new one for which there is no room.
    Excess,
}

impl<Waiter> Inbound<Waiter> {
    pub(crate) fn new() -> Self {
        Self { waiting: BTreeMap::new(), received: BTreeSet::new() }
    }

    /// A PUBLISH with this identifier has come; a new one only finds room below `messages_max`.
    pub(crate) fn arrive(&mut self, id: u16, waiter: Waiter, messages_max: usize) -> Arrival {
        if self.received.contains(&id) {
            return Arrival::Received;
        }
        if let Some(known) = self.waiting.get_mut(&id) {
            *known = waiter;
            return Arrival::Waiting;
        }
        if self.waiting.len() + self.received.len() >= messages_max {
            return Arrival::Excess;
        }
        self.waiting.insert(id, waiter);
        Arrival::New
    }

    /// The application has answered. The message is received when `is_taken` says so; otherwise its identifier
    /// is free again.
    pub(crate) fn answer(&mut self, id: u16, is_taken: impl FnOnce(&Waiter) -> bool) -> Option<Waiter> {
        let waiter = self.waiting.remove(&id)?;
        if is_taken(&waiter) {
            self.received.insert(id);
        }
        Some(waiter)
    }

    /// The client has released the identifier; false when there was nothing to release.
    pub(crate) fn release(&mut self, id: u16) -> bool {
        self.received.remove(&id)
    }

    /// How many await their PUBREL.
    pub(crate) fn unreleased(&self) -> usize {
        self.received.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_until_it_is_released() {
        let mut inbound = Inbound::new();
        assert_eq!(inbound.arrive(7, "first", 2), Arrival::New);
        assert_eq!(inbound.arrive(7, "second", 2), Arrival::Waiting);
        assert!(!inbound.release(7), "a PUBREL before the PUBREC releases nothing");
        assert_eq!(inbound.answer(7, |_| true), Some("second"));
        assert_eq!(inbound.arrive(7, "third", 2), Arrival::Received);
        assert_eq!(inbound.unreleased(), 1);
        assert!(inbound.release(7) && !inbound.release(7));
        assert_eq!(inbound.arrive(7, "fourth", 2), Arrival::New);
    }

    #[test]
    fn what_is_refused_frees_its_identifier() {
        let mut inbound = Inbound::new();
        assert_eq!(inbound.arrive(7, "first", 1), Arrival::New);
        assert_eq!(inbound.answer(7, |_| false), Some("first"));
        assert_eq!(inbound.answer(7, |_| true), None);
        assert_eq!(inbound.arrive(7, "second", 1), Arrival::New);
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut inbound = Inbound::new();
        assert_eq!(inbound.arrive(1, "one", 2), Arrival::New);
        assert_eq!(inbound.answer(1, |_| true), Some("one"));
        assert_eq!(inbound.arrive(2, "two", 2), Arrival::New);
        assert_eq!(inbound.arrive(3, "three", 2), Arrival::Excess);
        assert_eq!(inbound.arrive(2, "two", 2), Arrival::Waiting);
        assert!(inbound.release(1));
        assert_eq!(inbound.arrive(3, "three", 2), Arrival::New);
    }
}

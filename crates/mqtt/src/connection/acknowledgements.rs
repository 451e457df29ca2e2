//! PUBACKs and PUBRECs in the order of the PUBLISHes, whatever the order of the answers. Pure.

use std::collections::VecDeque;

use crate::link::Outcome;
use crate::reason::V3Answer;
use crate::{DisconnectReason, QoS, Version};

/// The messages of QoS 1 and 2 of a connection that await their first answer.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    /// In the order of arrival.
    pending: VecDeque<Pending>,
    /// The number of the first pending one.
    first: u64,
    /// Never to be acknowledged on this connection, but still held by the client.
    abandoned: Vec<u16>,
    receive_maximum: usize,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    id: u16,
    qos: QoS,
    /// None until it is known.
    outcome: Option<Outcome>,
}

/// What to do for the message whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Puback { id: u16, code: u8 },
    Pubrec { id: u16, code: u8 },
    Silence,
    Close(DisconnectReason),
}

impl Acknowledgements {
    pub(super) fn new(receive_maximum: usize) -> Self {
        Self { pending: VecDeque::new(), first: 0, abandoned: Vec::new(), receive_maximum }
    }

    /// Whether one more message would be one too many.
    pub(super) fn is_full(&self) -> bool {
        self.is_full_with(0)
    }

    /// The same with `unreleased` messages that have their PUBREC and await their PUBREL.
    pub(super) fn is_full_with(&self, unreleased: usize) -> bool {
        self.pending.len() + self.abandoned.len() + unreleased >= self.receive_maximum
    }

    /// Whether the client is held up by messages that nobody will ever answer.
    pub(super) fn exhausted(&self) -> bool {
        self.abandoned.len() >= self.receive_maximum
    }

    /// Whether the message with this identifier awaits its answer.
    pub(super) fn is_pending(&self, id: u16) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// Enters a message; gives the number to complete it by.
    pub(super) fn enter(&mut self, id: u16, qos: QoS) -> u64 {
        self.abandoned.retain(|abandoned| *abandoned != id);
        self.pending.push_back(Pending { id, qos, outcome: None });
        self.first + self.pending.len() as u64 - 1
    }

    pub(super) fn complete(&mut self, slot: u64, outcome: Outcome) {
        let index = slot.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(pending) = index.and_then(|index| self.pending.get_mut(index)) {
            pending.outcome.get_or_insert(outcome);
        }
    }

    /// The next answer, if it is known.
    pub(super) fn next(&mut self, version: Version) -> Option<Answer> {
        let Pending { id, qos, outcome } = *self.pending.front()?;
        let outcome = outcome?;
        self.pending.pop_front();
        self.first += 1;
        let answer = answer(id, qos, outcome, version);
        if answer == Answer::Silence {
            self.abandoned.push(id);
        }
        Some(answer)
    }
}

fn answer(id: u16, qos: QoS, outcome: Outcome, version: Version) -> Answer {
    let acknowledged = |code| match qos {
        QoS::ExactlyOnce => Answer::Pubrec { id, code },
        QoS::AtMostOnce | QoS::AtLeastOnce => Answer::Puback { id, code },
    };
    match (outcome, version) {
        (Outcome::Accepted, _) => acknowledged(0),
        (Outcome::Refused(error), Version::V5) => acknowledged(error.code()),
        (Outcome::Refused(error), Version::V3_1_1) => match error.v3_answer() {
            V3Answer::Acknowledge => acknowledged(0),
            V3Answer::Silence => Answer::Silence,
            V3Answer::Close => Answer::Close(DisconnectReason::NotAuthorized),
        },
        (Outcome::Disconnect, _) => Answer::Close(DisconnectReason::AdministrativeAction),
        (Outcome::Abandoned, _) => Answer::Silence,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PublishError;

    fn all(acknowledgements: &mut Acknowledgements, version: Version) -> Vec<Answer> {
        std::iter::from_fn(|| acknowledgements.next(version)).collect()
    }

    #[test]
    fn an_early_answer_waits_for_the_ones_before_it() {
        let mut acknowledgements = Acknowledgements::new(3);
        let slots: Vec<_> = (11..=13).map(|id| acknowledgements.enter(id, QoS::AtLeastOnce)).collect();
        assert!(acknowledgements.is_full());
        acknowledgements.complete(slots[2], Outcome::Accepted);
        acknowledgements.complete(slots[1], Outcome::Refused(PublishError::PayloadFormatInvalid));
        assert_eq!(all(&mut acknowledgements, Version::V5), []);
        acknowledgements.complete(slots[0], Outcome::Accepted);
        let expected = [(11, 0), (12, 0x99), (13, 0)].map(|(id, code)| Answer::Puback { id, code });
        assert_eq!(all(&mut acknowledgements, Version::V5), expected);
        assert!(!acknowledgements.is_full());
    }

    #[test]
    fn an_abandoned_message_holds_its_place_until_it_comes_again() {
        let mut acknowledgements = Acknowledgements::new(2);
        let slot = acknowledgements.enter(7, QoS::AtLeastOnce);
        acknowledgements.complete(slot, Outcome::Abandoned);
        assert_eq!(all(&mut acknowledgements, Version::V3_1_1), [Answer::Silence]);
        let slot = acknowledgements.enter(8, QoS::AtLeastOnce);
        assert!(acknowledgements.is_full() && !acknowledgements.exhausted());
        acknowledgements.complete(slot, Outcome::Abandoned);
        assert_eq!(all(&mut acknowledgements, Version::V3_1_1), [Answer::Silence]);
        assert!(acknowledgements.exhausted());
        acknowledgements.enter(7, QoS::AtLeastOnce);
        assert!(!acknowledgements.exhausted());
    }

    #[test]
    fn what_3_1_1_cannot_say_is_answered_as_documented() {
        let answer = |error| answer(1, QoS::AtLeastOnce, Outcome::Refused(error), Version::V3_1_1);
        assert_eq!(answer(PublishError::PayloadFormatInvalid), Answer::Puback { id: 1, code: 0 });
        assert_eq!(answer(PublishError::QuotaExceeded), Answer::Silence);
        assert_eq!(answer(PublishError::NotAuthorized), Answer::Close(DisconnectReason::NotAuthorized));
    }

    proptest! {
        #[test]
        fn answers_leave_in_the_order_of_arrival(order in Just((0u16..40).collect::<Vec<_>>()).prop_shuffle()) {
            let mut acknowledgements = Acknowledgements::new(100);
            let slots: Vec<_> = (0..40).map(|id| acknowledgements.enter(id + 1, QoS::AtLeastOnce)).collect();
            let mut answered = Vec::new();
            for index in order {
                acknowledgements.complete(slots[usize::from(index)], Outcome::Accepted);
                answered.extend(all(&mut acknowledgements, Version::V3_1_1));
            }
            let expected: Vec<_> = (1..=40).map(|id| Answer::Puback { id, code: 0 }).collect();
            prop_assert_eq!(answered, expected);
        }
    }
}

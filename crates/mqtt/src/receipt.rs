//! The application's answer to a message, given from any thread, at any time.

use std::sync::Arc;

use crate::cell::Cell;
use crate::link::{Link, Outcome};
use crate::{Message, PublishError};

/// What becomes of an accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Routing {
    /// The application has it; no subscriber gets it.
    Consume,
    /// It is delivered to the matching subscribers, and retained when it asks for it.
    Route,
}

/// The right to answer one message.
///
/// The PUBACK, or the PUBREC of QoS 2, is written only after [`Receipt::accept`] (or a [`Receipt::reject`] that
/// says so). They leave a connection in the order of its PUBLISH packets ([MQTT-4.6.0-2], [MQTT-4.6.0-3]): an
/// early answer waits for the ones before it. Answers that come together are written together.
///
/// Of QoS 2 the answer is the session's: when the client has lost its connection meanwhile and sends the message
/// again, this answer is what it gets, and the application is not asked a second time.
///
/// A receipt that is dropped unanswered acknowledges nothing: the client sends the message again
/// after its next connect. It keeps its place in the Receive Maximum until then; when nothing else
/// is left of it, the connection is closed.
#[derive(Debug)]
#[must_use = "a receipt that is dropped leaves the message unacknowledged"]
pub struct Receipt {
    link: Arc<Link>,
    /// None when there is nothing to acknowledge.
    owed: Option<Owed>,
    message: Message,
}

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) enum Owed {
    /// The connection, for its message of this number.
    Connection(u64),
    /// The session, for the message of QoS 2 with this identifier.
    Session(Arc<Cell>, u16),
}

impl Receipt {
    pub(crate) fn new(link: Arc<Link>, owed: Option<Owed>, message: Message) -> Self {
        Self { link, owed, message }
    }

    /// Whether a PUBACK or PUBREC hangs on this answer (QoS 1 or 2, not a will).
    pub fn acknowledges(&self) -> bool {
        self.owed.is_some()
    }

    /// Takes the message: it is routed (if asked for) before this returns, and then acknowledged.
    /// To keep the order of a topic for its subscribers, accept in the order of arrival.
    pub fn accept(mut self, routing: Routing) {
        if routing == Routing::Route {
            self.link.shared.route(&self.message, Some(&self.link.client.client_id));
        }
        self.answer(Outcome::Accepted);
    }

    /// Refuses the message. MQTT 5 carries the reason in the PUBACK or PUBREC. MQTT 3.1.1 cannot, so there
    /// `PayloadFormatInvalid` and `TopicNameInvalid` are acknowledged all the same (sending it
    /// again could never help), `NotAuthorized` closes the connection, and after anything else the
    /// PUBACK stays out, as if the receipt had been dropped. To choose otherwise, use
    /// [`Receipt::accept`] or [`Receipt::disconnect`].
    pub fn reject(mut self, error: PublishError) {
        self.link.shared.count_refused();
        self.answer(Outcome::Refused(error));
    }

    /// Closes the connection without acknowledging (MQTT 5: DISCONNECT 0x98).
    pub fn disconnect(mut self) {
        if self.owed.is_none() {
            self.link.close(crate::DisconnectReason::AdministrativeAction);
        }
        self.answer(Outcome::Disconnect);
    }

    fn answer(&mut self, outcome: Outcome) {
        match self.owed.take() {
            Some(Owed::Connection(number)) => self.link.complete(number, outcome),
            Some(Owed::Session(cell, id)) => cell.answer(id, outcome),
            None => {}
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.answer(Outcome::Abandoned);
    }
}

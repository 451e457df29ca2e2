//! Who waits to hear what became of a message: a client for its PUBACK, or an HTTP request.

use fieldline_mqtt::{Broker, Message, PublishError, Receipt, Routing};
use tokio::sync::oneshot;

/// The right to answer one message, wherever it came from.
///
/// Dropped unanswered, it acknowledges nothing: the sender sends again.
#[derive(Debug)]
#[must_use = "an answer that is dropped leaves the message unacknowledged"]
pub(crate) enum Answer {
    /// A client, for its PUBACK.
    Client(Receipt),
    /// A request to the data plane.
    Request(Box<Request>),
}

/// A message that came by HTTP, and its request.
#[derive(Debug)]
pub(crate) struct Request {
    broker: Broker,
    message: Message,
    sender: oneshot::Sender<Result<(), PublishError>>,
}

impl Answer {
    /// For a message that came by HTTP: whoever holds the receiver is told.
    pub(crate) fn request(
        broker: &Broker,
        message: Message,
    ) -> (Self, oneshot::Receiver<Result<(), PublishError>>) {
        let (sender, told) = oneshot::channel();
        (Self::Request(Box::new(Request { broker: broker.clone(), message, sender })), told)
    }

    /// Takes the message; it is delivered before this returns if `routing` says so.
    pub(crate) fn accept(self, routing: Routing) {
        match self {
            Self::Client(receipt) => receipt.accept(routing),
            Self::Request(request) => {
                let Request { broker, message, sender } = *request;
                if routing == Routing::Route {
                    broker.publish(&message);
                }
                tell(sender, Ok(()));
            }
        }
    }

    /// Refuses the message, with the reason.
    pub(crate) fn reject(self, error: PublishError) {
        match self {
            Self::Client(receipt) => receipt.reject(error),
            Self::Request(request) => tell(request.sender, Err(error)),
        }
    }
}

impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        Self::Client(receipt)
    }
}

fn tell(sender: oneshot::Sender<Result<(), PublishError>>, outcome: Result<(), PublishError>) {
    if sender.send(outcome).is_err() {
        tracing::debug!("a client hung up before its message was answered");
    }
}

//! Whom to tell when a message is on disk.

use fieldline_mqtt::{MessageId, PublishError, Receipt, Routing};
use tokio::sync::{mpsc, oneshot};

/// One waiting sender. Dropping it unanswered tells the sender nothing, so that it sends again.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A device on the listener; its PUBACK.
    Device(Receipt),
    /// A device whose message could not be read: MQTT 5 is told so in the PUBACK, MQTT 3.1.1 has no
    /// word for it and gets a plain one.
    DeviceRefused(Receipt),
    /// A request over HTTP.
    Request(oneshot::Sender<()>),
    /// A message from a broker on site; its PUBACK.
    Source(mpsc::UnboundedSender<MessageId>, MessageId),
    /// Nobody.
    Nobody,
}

impl Completion {
    /// The message was not taken: too much waits for the disk.
    pub(crate) fn refused(self) {
        match self {
            Self::Device(receipt) | Self::DeviceRefused(receipt) => {
                receipt.reject(PublishError::QuotaExceeded)
            }
            Self::Request(_) | Self::Source(..) | Self::Nobody => drop(self),
        }
    }

    /// The message is on disk.
    pub(crate) fn durable(self) {
        match self {
            Self::Device(receipt) => receipt.accept(Routing::Consume),
            Self::DeviceRefused(receipt) => receipt.reject(PublishError::PayloadFormatInvalid),
            // A requester or a connection that is gone needs no answer.
            Self::Request(sender) => drop(sender.send(())),
            Self::Source(sender, id) => drop(sender.send(id)),
            Self::Nobody => {}
        }
    }
}

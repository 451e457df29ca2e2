//! What a client connection reports.

use crate::{DisconnectReason, Message, PublishError, QoS, TlsError};

/// Names one QoS 1 publish of a connection, from [`crate::Connection::publish`] to
/// [`Event::Published`]. Never used twice within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub(crate) u64);

/// Names one subscribe or unsubscribe request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u16);

/// Names an incoming QoS 1 message until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub(crate) u16);

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server has acknowledged this publish.
    Published(Token),
    /// The server has refused this publish (MQTT 5); it is settled all the same.
    Refused(Token, PublishError),
    /// A message for us.
    Message {
        /// The message.
        message: Message,
        /// For [`crate::Connection::acknowledge`]; none on QoS 0.
        id: Option<MessageId>,
        /// The server may have sent it before.
        duplicate: bool,
    },
    /// The answer to a subscribe: for each filter, in order, the QoS granted or the reason code.
    Subscribed {
        /// The request.
        request: RequestId,
        /// The answers.
        granted: Vec<Result<QoS, u8>>,
    },
    /// The answer to an unsubscribe.
    Unsubscribed {
        /// The request.
        request: RequestId,
    },
}

/// Why a client connection failed or cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Resolving, connecting, reading or writing failed. Connect again.
    #[error("the network failed")]
    Network(#[from] std::io::Error),
    /// TCP, TLS and CONNACK took longer than the connect timeout. Connect again.
    #[error("no answer within the connect timeout")]
    ConnectTimeout,
    /// The server does not answer a PINGREQ. Connect again.
    #[error("the server does not answer")]
    PingTimeout,
    /// The server refuses the connection, with its return or reason code.
    #[error("the server refuses the connection with code {code:#04x}")]
    ConnectRefused {
        /// MQTT 3.1.1 return code (1–5) or MQTT 5 reason code (from 0x80).
        code: u8,
    },
    /// The server has ended the connection and said why (MQTT 5).
    #[error("the server ended the connection: {0:?}")]
    Disconnected(DisconnectReason),
    /// The server has closed the connection without a word.
    #[error("the server closed the connection")]
    Closed,
    /// What the server sent is not MQTT, or not now.
    #[error("the server broke the protocol: {reason:?}")]
    Protocol {
        /// What was wrong.
        reason: DisconnectReason,
    },
    /// Certificates, keys or the server's name cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// As many publishes are in flight as are allowed: wait for [`Event::Published`].
    #[error("as many messages are in flight as the server allows")]
    Full,
    /// The packet would be larger than the server takes, or than MQTT allows.
    #[error("the packet is larger than the server takes")]
    TooLarge,
    /// The topic or filter is empty, too long, or has wildcards where none may be; or an option
    /// cannot be expressed.
    #[error("{what} is not valid")]
    Invalid {
        /// What is not valid.
        what: &'static str,
    },
}

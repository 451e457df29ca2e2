//! What the broker asks the application, and what it tells it about a client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Message, Receipt, Version};

/// The application behind a broker. Every call comes from a connection's own task and must not
/// block: take the decision, or hand the work on.
pub trait Application: Send + Sync + 'static {
    /// Whether this client may connect.
    ///
    /// # Errors
    /// The [`Refusal`] that the client is told in its CONNACK.
    fn authenticate(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal>;

    /// Whether `new` may have the session of its client identifier, which `old` has or had last, and
    /// end the connection that serves it. "No" is CONNACK 0x87 (3.1.1: 5), and all stays as it is.
    /// Asked with the broker's lock held: the answer must not call the broker.
    ///
    /// By itself: both without an identity, or with the same certificate, or with certificates of the
    /// same Common Name, so that a certificate can be renewed.
    fn may_take_over(&self, old: &ClientInfo, new: &ClientInfo) -> bool {
        match (old.identity.as_deref(), new.identity.as_deref()) {
            (None, None) => true,
            (Some(old), Some(new)) => old.is_same_owner(new),
            _ => false,
        }
    }

    /// Whether the client may publish to `topic`. "No" is PUBACK or PUBREC 0x87 on MQTT 5 (QoS 0: the message
    /// is dropped and counted) and the end of the connection on 3.1.1. Asked again for a will when
    /// its time has come, the connection being gone: "no" drops it then, and counts it.
    fn authorize_publish(&self, client: &ClientInfo, topic: &str) -> bool;

    /// Whether the client may subscribe to `filter`. "No" is a failure code in the SUBACK.
    /// Of a shared subscription, `filter` is what follows the name of the group.
    fn authorize_subscribe(&self, client: &ClientInfo, filter: &str) -> bool;

    /// Whether the client may receive a message on `topic`, which it has subscribed to. "No" drops the
    /// message for this client, and counts it. Asked for each delivery, with the session's lock held:
    /// the answer must not call the broker.
    fn authorize_receive(&self, _client: &ClientInfo, _topic: &str) -> bool {
        true
    }

    /// The client has subscribed to `filter`; messages published from now on reach it.
    fn subscribed(&self, _client: &ClientInfo, _filter: &str) {}

    /// Takes a message. Called in order for each connection, for every QoS (the receipt of a
    /// QoS 0 message acknowledges nothing, but still routes), and for the will of a client that
    /// broke off. Nothing is delivered to a subscriber before [`Receipt::accept`].
    ///
    /// Of QoS 1 and 2, an application never holds more than the connection's Receive Maximum. QoS 0 has
    /// no such brake: an application that queues such messages bounds its own queue.
    fn publish(&self, client: &ClientInfo, message: Message, receipt: Receipt);

    /// The connection has handed over everything that it had read from its socket: the end of a
    /// burst, a good moment to commit a batch.
    fn publish_done(&self, _client: &ClientInfo) {}

    /// The client is connected (its CONNACK is about to be written).
    fn connected(&self, _client: &ClientInfo) {}

    /// The connection has ended, whoever ended it.
    fn disconnected(&self, _client: &ClientInfo) {}
}

/// What is known of a client when it asks to connect.
#[derive(Clone, Copy)]
pub struct ConnectRequest<'a> {
    /// The client identifier; one that the broker chose when the client sent none.
    pub client_id: &'a str,
    /// The user name, if any.
    pub username: Option<&'a str>,
    /// The password, if any.
    pub password: Option<&'a [u8]>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// Who the client's TLS certificate says it is; none without a verified certificate.
    pub identity: Option<&'a Identity>,
    /// The protocol it speaks.
    pub version: Version,
}

/// Without the password: this may end in a log.
impl fmt::Debug for ConnectRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("peer", &self.peer)
            .field("identity", &self.identity)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A connected client.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// The client identifier.
    pub client_id: Arc<str>,
    /// The user name, if any.
    pub username: Option<Arc<str>>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// Who the client's TLS certificate says it is.
    pub identity: Option<Arc<Identity>>,
    /// The protocol it speaks.
    pub version: Version,
    /// The number of this connection in the broker's life: tells two connections of one client
    /// apart.
    pub connection: u64,
}

/// A TLS client certificate, verified against the configured authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject's Common Name, if it has one.
    pub common_name: Option<String>,
    /// Subject alternative names: DNS names, URIs, e-mail and IP addresses, as text.
    pub alternative_names: Vec<String>,
    /// SHA-256 of the certificate in DER: AWS IoT's certificate id.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// The fingerprint in lower-case hexadecimal, 64 characters.
    pub fn certificate_id(&self) -> String {
        self.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both are one certificate, or name one owner: the same Common Name, which is there.
    pub fn is_same_owner(&self, other: &Self) -> bool {
        let name = self.common_name.as_ref().filter(|name| !name.is_empty());
        self.fingerprint == other.fingerprint || (name.is_some() && name == other.common_name.as_ref())
    }
}

/// Why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// User name or password are wrong.
    BadCredentials,
    /// Known, but not allowed.
    NotAuthorized,
    /// The client identifier is not allowed.
    IdentifierRejected,
    /// Try again later.
    Busy,
    /// Not taking connections.
    Unavailable,
}

impl Refusal {
    /// The return code of an MQTT 3.1.1 CONNACK (section 3.2.2.3).
    pub(crate) fn v3_code(self) -> u8 {
        match self {
            Self::IdentifierRejected => 2,
            Self::Busy | Self::Unavailable => 3,
            Self::BadCredentials => 4,
            Self::NotAuthorized => 5,
        }
    }

    /// The reason code of an MQTT 5 CONNACK (section 3.2.2.2).
    pub(crate) fn v5_code(self) -> u8 {
        match self {
            Self::IdentifierRejected => 0x85,
            Self::BadCredentials => 0x86,
            Self::NotAuthorized => 0x87,
            Self::Unavailable => 0x88,
            Self::Busy => 0x89,
        }
    }
}

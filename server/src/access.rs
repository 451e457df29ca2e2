//! Who may do what: from a certificate to its thing and policies, and to a decision.
//!
//! Without a certificate a client is on this machine (plain listeners are on loopback only) and may do
//! all, but speak for the server. With one, the policies decide that are attached to it in the registry. A
//! certificate that nobody registered does not get in where the site's own authority signs, for that one
//! registers what it signs; of somebody else's authority it stands for the thing that its Common Name names,
//! with the built-in policy for devices.
//!
//! Policies cannot say "all things but other gateways", so that is said here: a gateway's shadows and commands
//! are for its own certificate, whatever the policies of others allow.

mod caller;
mod registered;
mod reserved;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use fieldline_mqtt::{ClientInfo, ConnectRequest, Identity, Refusal};
use fieldline_policy::{Action, Document, Request, Resource, Thing, Variables, builtin, decide};

pub(crate) use caller::{Caller, identify};
pub(crate) use registered::{Registered, turn_away};
pub(crate) use reserved::is_reserved;

/// What the registry knows of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was never registered.
    Unknown,
    /// It is registered and may not be used: inactive or revoked.
    Barred,
    /// It may be used.
    Active {
        /// The things it is attached to.
        things: Vec<Thing>,
        /// The policies that are attached to it or to groups of its things.
        policies: Vec<Arc<Document>>,
    },
}

/// Certificates, as the registry has them. Asked often: an answer comes from memory.
pub(crate) trait Certificates: Send + Sync {
    /// By its id: SHA-256 in lower-case hexadecimal.
    fn standing(&self, certificate_id: &str) -> Standing;

    /// The things that a certificate is attached to, whether it may be used or not; none where it was never
    /// registered.
    fn things(&self, certificate_id: &str) -> Option<Vec<Thing>>;

    /// Whether a thing has a certificate that may speak for other things than itself.
    fn is_gateway(&self, thing: &str) -> bool;

    /// Changes whenever a standing may have changed.
    fn generation(&self) -> u64;
}

/// Nobody registered any.
#[derive(Debug)]
pub(crate) struct NoCertificates;

impl Certificates for NoCertificates {
    fn standing(&self, _: &str) -> Standing {
        Standing::Unknown
    }

    fn things(&self, _: &str) -> Option<Vec<Thing>> {
        None
    }

    fn is_gateway(&self, _: &str) -> bool {
        false
    }

    fn generation(&self) -> u64 {
        0
    }
}

/// Somebody with a certificate.
pub(crate) struct Principal {
    certificates: Arc<dyn Certificates>,
    variables: Variables,
    policies: Vec<Arc<Document>>,
    generation: u64,
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal").field("variables", &self.variables).finish_non_exhaustive()
    }
}

impl Principal {
    pub(crate) fn may(&self, action: Action, resource: Resource<'_>) -> bool {
        let request = Request { action, resource, variables: &self.variables };
        decide(&self.policies, &request).is_allowed() && !self.is_another_gateways(&request.resource)
    }

    fn is_another_gateways(&self, resource: &Resource<'_>) -> bool {
        let own = self.variables.thing.as_ref().map(|thing| thing.name.as_str());
        let other = reserved::thing_of(resource).filter(|thing| Some(*thing) != own);
        other.is_some_and(|thing| self.certificates.is_gateway(thing))
    }
}

/// The access of all clients. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access {
    certificates: Arc<dyn Certificates>,
    /// What an unregistered certificate may do; none where it does not get in.
    stranger: Option<Arc<Document>>,
    /// Who is at the other end of connections, by their number.
    connected: Arc<RwLock<HashMap<u64, Arc<Principal>>>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

impl Access {
    /// `strangers`: whether a certificate that is not registered gets in.
    pub(crate) fn new(certificates: Arc<dyn Certificates>, strangers: bool) -> Self {
        let device = || Document::parse(builtin::DEVICE).expect("a test parses the built-in documents");
        let stranger = strangers.then(|| Arc::new(device()));
        Self { certificates, stranger, connected: Arc::default() }
    }

    /// Whether a client may connect.
    pub(crate) fn connect(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        let Some(identity) = connect.identity else { return Ok(()) };
        let principal = self.principal(identity, Some(connect.client_id), connect.peer.ip());
        let principal = principal.ok_or(Refusal::NotAuthorized)?;
        match principal.may(Action::Connect, Resource::Client(connect.client_id)) {
            true => Ok(()),
            false => Err(Refusal::NotAuthorized),
        }
    }

    /// Whether `new` may have the session of `old`. A session is a thing's: its next certificate takes it up.
    /// One whose certificate may not be used any more keeps nobody out, for its owner cannot come back, and
    /// each message of it is asked about again.
    pub(crate) fn may_take_over(&self, old: &ClientInfo, new: &ClientInfo) -> bool {
        let (before, now) = match (old.identity.as_deref(), new.identity.as_deref()) {
            (None, None) => return true,
            (Some(before), Some(now)) => (before, now),
            _ => return false,
        };
        if before.fingerprint == now.fingerprint || self.principal(before, None, old.peer.ip()).is_none() {
            return true;
        }
        let owner = |identity: &Identity| match self.certificates.things(&identity.certificate_id()) {
            Some(things) => thing_of(things, Some(&new.client_id)).map(|thing| thing.name),
            None => identity.common_name.clone(),
        };
        let owner_before = owner(before);
        owner_before.is_some() && owner_before == owner(now)
    }

    /// A client is there.
    pub(crate) fn connected(&self, client: &ClientInfo) {
        let Some(identity) = &client.identity else { return };
        if let Some(principal) = self.principal(identity, Some(&client.client_id), client.peer.ip()) {
            let mut connected = self.connected.write().unwrap_or_else(PoisonError::into_inner);
            connected.insert(client.connection, Arc::new(principal));
        }
    }

    /// A client is gone.
    pub(crate) fn disconnected(&self, client: &ClientInfo) {
        self.connected.write().unwrap_or_else(PoisonError::into_inner).remove(&client.connection);
    }

    /// The thing that a connected client is bound to, also when its certificate has just been barred: none
    /// without a certificate, or without a thing to it.
    pub(crate) fn thing(&self, client: &ClientInfo) -> Option<String> {
        let connected = self.connected.read().unwrap_or_else(PoisonError::into_inner);
        let principal = connected.get(&client.connection)?;
        principal.variables.thing.as_ref().map(|thing| thing.name.clone())
    }

    /// Connected clients whose certificate may not be used any more.
    pub(crate) fn barred(&self) -> Vec<String> {
        let connected = self.connected.read().unwrap_or_else(PoisonError::into_inner);
        let is_barred = |principal: &Principal| {
            let certificate = principal.variables.certificate_id.as_deref().unwrap_or_default();
            self.certificates.standing(certificate) == Standing::Barred
        };
        let barred = connected.values().filter(|principal| is_barred(principal));
        barred.filter_map(|principal| principal.variables.client_id.clone()).collect()
    }

    pub(crate) fn may_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        !is_reserved(topic) && self.may(client, Action::Publish, Resource::Topic(topic))
    }

    pub(crate) fn may_retain(&self, client: &ClientInfo, topic: &str) -> bool {
        self.may(client, Action::RetainPublish, Resource::Topic(topic))
    }

    pub(crate) fn may_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        self.may(client, Action::Subscribe, Resource::TopicFilter(filter))
    }

    pub(crate) fn may_receive(&self, client: &ClientInfo, topic: &str) -> bool {
        self.may(client, Action::Receive, Resource::Topic(topic))
    }

    fn may(&self, client: &ClientInfo, action: Action, resource: Resource<'_>) -> bool {
        let Some(identity) = &client.identity else { return true };
        self.of(client, identity).is_some_and(|principal| principal.may(action, resource))
    }

    /// Who a client is, by what the registry says now.
    fn of(&self, client: &ClientInfo, identity: &Identity) -> Option<Arc<Principal>> {
        let known = {
            let connected = self.connected.read().unwrap_or_else(PoisonError::into_inner);
            connected.get(&client.connection).cloned()
        };
        let is_connected = known.is_some();
        let generation = self.certificates.generation();
        if let Some(known) = known.filter(|known| known.generation == generation) {
            return Some(known);
        }
        let principal = Arc::new(self.principal(identity, Some(&client.client_id), client.peer.ip())?);
        if is_connected {
            let mut connected = self.connected.write().unwrap_or_else(PoisonError::into_inner);
            connected.insert(client.connection, Arc::clone(&principal));
        }
        Some(principal)
    }

    /// Who a certificate stands for; none where it may not be used.
    pub(crate) fn principal(
        &self,
        identity: &Identity,
        client_id: Option<&str>,
        address: IpAddr,
    ) -> Option<Principal> {
        let generation = self.certificates.generation();
        let certificate_id = identity.certificate_id();
        let (thing, policies) = match self.certificates.standing(&certificate_id) {
            Standing::Barred => return None,
            Standing::Active { things, policies } => (thing_of(things, client_id), policies),
            Standing::Unknown => {
                let name = identity.common_name.clone().filter(|name| is_level(name))?;
                (Some(Thing { name, ..Thing::default() }), vec![self.stranger.clone()?])
            }
        };
        let variables = Variables {
            client_id: client_id.map(str::to_owned),
            thing,
            certificate_id: Some(certificate_id),
            common_name: identity.common_name.clone(),
            source_ip: Some(address.into()),
        };
        Some(Principal { certificates: Arc::clone(&self.certificates), variables, policies, generation })
    }
}

/// A name is one level of a topic and no pattern: whoever were called `+` would hear what all others hear.
fn is_level(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains(['+', '#', '/'])
}

/// The thing that is named as the client is, as AWS IoT has it; by HTTP, where nobody says a client's name, the
/// only one.
fn thing_of(mut things: Vec<Thing>, client_id: Option<&str>) -> Option<Thing> {
    match client_id {
        Some(client_id) => things.into_iter().find(|thing| thing.name == client_id),
        None if things.len() == 1 => things.pop(),
        None => None,
    }
}

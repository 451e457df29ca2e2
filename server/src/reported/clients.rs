//! Which clients are things, and which of them are connected.

use std::collections::{HashMap, HashSet};

use fieldline_model::{GatewayId, ThingName, Timestamp};
use shadow::Presence;

/// Clients of which nothing is known yet, and gateways, that are remembered at most.
const CLIENTS_MAX: usize = 100_000;

/// A client with a certificate is the thing of that name. Another one is a thing as soon as readings of a
/// device of its name have come, or blocks or books of a gateway of its name.
#[derive(Debug)]
pub(super) struct Clients {
    due: HashMap<ThingName, Presence>,
    unproven: HashMap<ThingName, Presence>,
    gateways: HashSet<GatewayId>,
    life: u64,
}

impl Clients {
    /// The connections of a broker are numbered from 1 on in each of its lives; the second in which the life
    /// began makes those of a later one greater.
    pub(super) fn new(now: Timestamp) -> Self {
        let seconds = u64::try_from(now.nanos().div_euclid(1_000_000_000)).unwrap_or_default();
        let life = seconds << 20;
        Self { due: HashMap::new(), unproven: HashMap::new(), gateways: HashSet::new(), life }
    }

    /// Less than the number of any connection of this life, and greater than those of earlier ones.
    pub(super) fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn is_gateway(&mut self, gateway: &GatewayId) {
        if !self.gateways.contains(gateway) && self.gateways.len() < CLIENTS_MAX {
            self.gateways.insert(gateway.clone());
        }
    }

    /// `name` is what the client's certificate vouches for.
    pub(super) fn note(
        &mut self,
        name: Option<&str>,
        client_id: &str,
        connection: u64,
        connected: bool,
        at: Timestamp,
    ) {
        let Ok(thing) = ThingName::new(name.unwrap_or(client_id)) else { return };
        let event = Presence { thing, connected, at, session: self.life.saturating_add(connection) };
        let waiting = if name.is_some() { &mut self.due } else { &mut self.unproven };
        offer(waiting, event);
    }

    pub(super) fn take_back(&mut self, event: Presence) {
        offer(&mut self.due, event);
    }

    /// The last event of each thing since it was asked for.
    pub(super) fn due(&mut self, is_device: impl Fn(&str) -> bool) -> Vec<Presence> {
        let gateways = &self.gateways;
        let proven = self
            .unproven
            .extract_if(|thing, _| gateways.contains(thing.as_str()) || is_device(thing.as_str()));
        let mut due: Vec<Presence> = proven.map(|(_, event)| event).collect();
        due.extend(self.due.drain().map(|(_, event)| event));
        due
    }
}

fn offer(waiting: &mut HashMap<ThingName, Presence>, event: Presence) {
    let room = waiting.len() < CLIENTS_MAX;
    match waiting.get_mut(&event.thing) {
        Some(held) if event.supersedes(held) => *held = event,
        Some(_) => {}
        None if room => drop(waiting.insert(event.thing.clone(), event)),
        None => tracing::debug!(thing = %event.thing, "too many clients to remember that one came or went"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(clients: &mut Clients, device: &str) -> Vec<(String, bool)> {
        let due = clients.due(|client| client == device);
        let mut due: Vec<_> =
            due.into_iter().map(|event| (event.thing.to_string(), event.connected)).collect();
        due.sort();
        due
    }

    #[test]
    fn a_client_is_a_thing_by_its_certificate_or_by_what_it_sends() {
        let mut clients = Clients::new(Timestamp::EPOCH);
        let at = Timestamp::EPOCH;
        clients.note(Some("gw-1"), "gw-1", 1, true, at);
        clients.note(None, "gw-2", 2, true, at);
        clients.note(None, "press-4", 3, true, at);
        clients.note(None, "somebody", 4, true, at);
        clients.note(None, "no thing", 5, true, at);
        clients.note(Some(""), "nameless", 6, true, at);
        assert_eq!(shown(&mut clients, "press-4"), [("gw-1".to_owned(), true), ("press-4".to_owned(), true)]);
        clients.is_gateway(&GatewayId::new("gw-2").unwrap());
        assert_eq!(shown(&mut clients, ""), [("gw-2".to_owned(), true)]);
        assert!(shown(&mut clients, "").is_empty());
    }

    #[test]
    fn the_end_of_an_old_connection_says_nothing_of_the_new_one() {
        let mut clients = Clients::new(Timestamp::EPOCH);
        let at = Timestamp::EPOCH;
        clients.note(Some("gw-1"), "gw-1", 1, true, at);
        clients.note(Some("gw-1"), "gw-1", 2, true, at);
        clients.note(Some("gw-1"), "gw-1", 1, false, at);
        assert_eq!(shown(&mut clients, ""), [("gw-1".to_owned(), true)]);
        clients.note(Some("gw-1"), "gw-1", 2, false, at);
        assert_eq!(shown(&mut clients, ""), [("gw-1".to_owned(), false)]);
    }
}

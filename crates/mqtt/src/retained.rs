//! Retained messages: the last one of each topic that asked for it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use fieldline_model::topic_matches;

use crate::Message;

/// Whose message is retained: what clients retain leaves the server's own room alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// A client's, or whoever publishes for one.
    Clients,
    /// The server's own.
    Own,
}

/// How much is kept, and how much may be.
#[derive(Debug)]
struct Room {
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl Room {
    fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages: 0, bytes: 0, messages_max, bytes_max }
    }

    fn takes(&self, size: usize) -> bool {
        self.messages < self.messages_max && self.bytes + size <= self.bytes_max
    }
}

/// The retained messages of a broker, limited in number and bytes.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Arc<str>, (Message, Instant)>,
    /// The topics of those that are the server's own.
    own_topics: HashSet<Arc<str>>,
    clients: Room,
    own: Room,
}

impl Retained {
    pub(crate) fn new(messages_max: usize, bytes_max: usize, own_bytes_max: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            own_topics: HashSet::new(),
            clients: Room::new(messages_max, bytes_max),
            own: Room::new(messages_max, own_bytes_max),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.clients.bytes + self.own.bytes
    }

    /// Keeps the message as its topic's last, or clears the topic when the payload is empty.
    /// False when there is no room: what was kept of the topic is gone then, for it is outdated.
    pub(crate) fn set(&mut self, message: &Message, now: Instant, keeping: Keeping) -> bool {
        self.clear(&message.topic);
        if message.payload.is_empty() {
            return true;
        }
        let size = message.size_bytes();
        let room = match keeping {
            Keeping::Clients => &mut self.clients,
            Keeping::Own => &mut self.own,
        };
        if !room.takes(size) {
            return false;
        }
        room.messages += 1;
        room.bytes += size;
        if keeping == Keeping::Own {
            self.own_topics.insert(Arc::clone(&message.topic));
        }
        self.messages.insert(Arc::clone(&message.topic), (message.clone(), now));
        true
    }

    /// Keeps nothing of a topic any more; false when nothing was kept.
    pub(crate) fn clear(&mut self, topic: &str) -> bool {
        let Some((old, _)) = self.messages.remove(topic) else { return false };
        let room = if self.own_topics.remove(topic) { &mut self.own } else { &mut self.clients };
        room.messages -= 1;
        room.bytes -= old.size_bytes();
        true
    }

    /// The message of a topic, and since when it is kept.
    pub(crate) fn get(&self, topic: &str) -> Option<&(Message, Instant)> {
        self.messages.get(topic)
    }

    /// The messages of topics behind `after`, by topic, ascending.
    pub(crate) fn after<'a>(
        &'a self,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a (Message, Instant)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.messages.range::<str, _>((start, Bound::Unbounded)).map(|(_, kept)| kept)
    }

    /// The messages whose topic the filter takes, each with the moment since when it is kept.
    /// Only topics that share the filter's beginning, up to its first wildcard, are looked at.
    pub(crate) fn matching<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = &'a (Message, Instant)> {
        let fixed = filter.split(['+', '#']).next().unwrap_or(filter);
        // `sport/#` takes `sport` too, so the last slash is not part of what must be shared.
        let start = fixed.strip_suffix('/').unwrap_or(fixed);
        self.messages
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(start))
            .filter(move |(topic, _)| topic_matches(filter, topic))
            .map(|(_, kept)| kept)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::QoS;

    fn message(topic: &str, payload: &'static str) -> Message {
        Message::new(topic, payload, QoS::AtMostOnce)
    }

    #[test]
    fn the_last_message_of_a_topic_stays_and_an_empty_one_clears() {
        let mut retained = Retained::new(10, 10_000, 0);
        let now = Instant::now();
        assert!(retained.set(&message("a", "1"), now, Keeping::Clients));
        assert!(retained.set(&message("a", "2"), now, Keeping::Clients));
        let kept: Vec<_> = retained.matching("#").map(|(message, _)| message.payload.clone()).collect();
        assert_eq!(kept, ["2"]);
        assert!(retained.set(&message("a", ""), now, Keeping::Clients));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
    }

    #[test]
    fn a_full_store_takes_known_topics_only() {
        let mut retained = Retained::new(2, 10_000, 0);
        let now = Instant::now();
        assert!(retained.set(&message("a", "1"), now, Keeping::Clients));
        assert!(retained.set(&message("b", "1"), now, Keeping::Clients));
        assert!(!retained.set(&message("c", "1"), now, Keeping::Clients));
        assert!(retained.set(&message("a", "2"), now, Keeping::Clients));
        let size = message("a", "1").size_bytes();
        let mut retained = Retained::new(10, size * 2, 0);
        assert!(retained.set(&message("a", "1"), now, Keeping::Clients));
        assert!(retained.set(&message("b", "1"), now, Keeping::Clients));
        assert!(!retained.set(&message("c", "1"), now, Keeping::Clients));
        assert_eq!(retained.bytes(), size * 2);
    }

    #[test]
    fn clients_leave_the_servers_room_alone_and_the_server_theirs() {
        let size = message("a", "1").size_bytes();
        let mut retained = Retained::new(10, size, size);
        let now = Instant::now();
        assert!(retained.set(&message("a", "1"), now, Keeping::Clients));
        assert!(!retained.set(&message("b", "1"), now, Keeping::Clients));
        assert!(retained.set(&message("c", "1"), now, Keeping::Own));
        assert!(!retained.set(&message("d", "1"), now, Keeping::Own));
        assert_eq!((retained.len(), retained.bytes()), (2, size * 2));
        // A topic that changes hands changes rooms.
        assert!(!retained.set(&message("c", "2"), now, Keeping::Clients));
        assert!(retained.set(&message("d", "1"), now, Keeping::Own));
        assert!(retained.clear("a") && !retained.clear("a"));
        assert!(retained.set(&message("b", "1"), now, Keeping::Clients));
        assert_eq!((retained.len(), retained.bytes()), (2, size * 2));
    }

    proptest! {
        #[test]
        fn a_range_scan_finds_what_a_full_scan_finds(
            topics in proptest::collection::vec("[ab$]{0,2}(/[ab]{0,2}){0,2}", 1..12),
            filter in "([ab]{1,2}|\\+)(/([ab]{0,2}|\\+)){0,2}(/#)?",
        ) {
            let mut retained = Retained::new(100, 100_000, 0);
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                retained.set(&message(topic, "x"), Instant::now(), Keeping::Clients);
            }
            let found: Vec<_> = retained.matching(&filter).map(|(message, _)| &message.topic).collect();
            let expected: Vec<_> =
                retained.messages.keys().filter(|topic| topic_matches(&filter, topic)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

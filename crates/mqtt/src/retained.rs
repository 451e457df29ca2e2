//! Retained messages: the last one of each topic that asked for it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use fieldline_model::topic_matches;

use crate::Message;

/// The retained messages of a broker, limited in number and bytes.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Arc<str>, (Message, Instant)>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, messages_max, bytes_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the message as its topic's last, or clears the topic when the payload is empty.
    /// False when there is no room: what was kept of the topic is gone then, for it is outdated.
    pub(crate) fn set(&mut self, message: &Message, now: Instant) -> bool {
        if let Some((old, _)) = self.messages.remove(&message.topic) {
            self.bytes -= old.size_bytes();
        }
        if message.payload.is_empty() {
            return true;
        }
        let size = message.size_bytes();
        if self.messages.len() >= self.messages_max || self.bytes + size > self.bytes_max {
            return false;
        }
        self.bytes += size;
        self.messages.insert(Arc::clone(&message.topic), (message.clone(), now));
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
        let mut retained = Retained::new(10, 10_000);
        let now = Instant::now();
        assert!(retained.set(&message("a", "1"), now));
        assert!(retained.set(&message("a", "2"), now));
        let kept: Vec<_> = retained.matching("#").map(|(message, _)| message.payload.clone()).collect();
        assert_eq!(kept, ["2"]);
        assert!(retained.set(&message("a", ""), now));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
    }

    #[test]
    fn a_full_store_takes_known_topics_only() {
        let mut retained = Retained::new(2, 10_000);
        let now = Instant::now();
        assert!(retained.set(&message("a", "1"), now));
        assert!(retained.set(&message("b", "1"), now));
        assert!(!retained.set(&message("c", "1"), now));
        assert!(retained.set(&message("a", "2"), now));
        let size = message("a", "1").size_bytes();
        let mut retained = Retained::new(10, size * 2);
        assert!(retained.set(&message("a", "1"), now));
        assert!(retained.set(&message("b", "1"), now));
        assert!(!retained.set(&message("c", "1"), now));
        assert_eq!(retained.bytes(), size * 2);
    }

    proptest! {
        #[test]
        fn a_range_scan_finds_what_a_full_scan_finds(
            topics in proptest::collection::vec("[ab$]{0,2}(/[ab]{0,2}){0,2}", 1..12),
            filter in "([ab]{1,2}|\\+)(/([ab]{0,2}|\\+)){0,2}(/#)?",
        ) {
            let mut retained = Retained::new(100, 100_000);
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                retained.set(&message(topic, "x"), Instant::now());
            }
            let found: Vec<_> = retained.matching(&filter).map(|(message, _)| &message.topic).collect();
            let expected: Vec<_> =
                retained.messages.keys().filter(|topic| topic_matches(&filter, topic)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

//! Shared subscriptions (MQTT 5, section 4.8.2): each message goes to one session of a group. MQTT 3.1.1 has no
//! word for them, and gets them as other brokers give them: by the same filters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fieldline_model::valid_filter;

use crate::cell::Cell;
use crate::session::Delivery;

/// A filter as a client gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    /// What topics are matched with.
    pub(crate) topics: &'a str,
    /// The whole `$share/<name>/<filter>`, which names the group; none for a subscription of one's own.
    pub(crate) group: Option<&'a str>,
}

/// Reads a filter; none when it is not valid ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
pub(crate) fn filter(text: &str) -> Option<Filter<'_>> {
    let Some(rest) = text.strip_prefix("$share/") else {
        return valid_filter(text).then_some(Filter { topics: text, group: None });
    };
    let (name, topics) = rest.split_once('/')?;
    let valid = !name.is_empty() && !name.contains(['+', '#']) && valid_filter(topics);
    valid.then_some(Filter { topics, group: Some(text) })
}

/// A session's place in a group.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    group: Arc<str>,
    /// The number of the last message that went here: who has waited longest is next.
    served: Arc<AtomicU64>,
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group
    }
}

impl Share {
    pub(crate) fn new(group: &str) -> Self {
        Self { group: Arc::from(group), served: Arc::default() }
    }
}

/// One who may get a message of a group.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) share: Share,
    pub(crate) cell: Arc<Cell>,
    pub(crate) delivery: Delivery,
}

/// Gives the message to one candidate of each group: to the connected one that has waited longest and takes it;
/// to one without a connection only where no connected one does. Gives how many groups have it, and how many
/// have nobody who takes it.
pub(crate) fn deliver(
    mut candidates: Vec<Candidate>,
    mut number: impl FnMut() -> u64,
    takes: impl Fn(&Candidate, bool) -> bool,
) -> (usize, u64) {
    candidates.sort_by(|one, other| {
        let waited = |candidate: &Candidate| candidate.share.served.load(Ordering::Relaxed);
        let by_group = one.share.group.cmp(&other.share.group);
        by_group.then_with(|| (waited(one), one.cell.number).cmp(&(waited(other), other.cell.number)))
    });
    let (mut delivered, mut dropped) = (0, 0);
    for group in candidates.chunk_by(|one, other| one.share == other.share) {
        let taker = [true, false]
            .into_iter()
            .find_map(|connected| group.iter().find(|candidate| takes(candidate, connected)));
        match taker {
            Some(taker) => {
                taker.share.served.store(number(), Ordering::Relaxed);
                delivered += 1;
            }
            None => dropped += 1,
        }
    }
    (delivered, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_8_2_1_and_2_a_group_has_a_plain_name_and_a_filter() {
        let shared = Some(Filter { topics: "a/+/#", group: Some("$share/g/a/+/#") });
        assert_eq!(filter("$share/g/a/+/#"), shared);
        assert_eq!(filter("$share"), Some(Filter { topics: "$share", group: None }));
        assert_eq!(filter("$share/g//"), Some(Filter { topics: "/", group: Some("$share/g//") }));
        for bad in
            ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/#/a"]
        {
            assert_eq!(filter(bad), None, "{bad}");
        }
    }
}

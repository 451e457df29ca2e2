//! What is subscribed to in the cloud: one filter for a device's classic shadow, one for all its named ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldline_model::{ShadowFilter, ShadowId};

/// So many filters may wait for their answer.
const UNANSWERED_MAX: usize = 64;
/// AWS IoT Core takes so many filters in a SUBSCRIBE.
const AT_ONCE_MAX: usize = 8;

/// What the server has said of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Granted,
    Refused,
}

/// The filters of a gateway.
#[derive(Debug)]
pub(crate) struct Filters {
    /// One pair of filters for the shadows of every thing there is.
    every_thing: bool,
    /// Take that pair when more than `max` are needed.
    widens: bool,
    max: usize,
    /// The shadows that devices here have to do with.
    known: BTreeSet<ShadowFilter>,
    /// Not asked for yet on this connection.
    unasked: VecDeque<ShadowFilter>,
    answers: BTreeMap<ShadowFilter, Answer>,
    unanswered: usize,
}

impl Filters {
    /// At most `max` filters; `every_thing` takes two for all from the beginning, `widens` when `max` is not
    /// enough.
    pub(crate) fn new(every_thing: bool, widens: bool, max: usize) -> Self {
        Self {
            every_thing,
            widens,
            max,
            known: BTreeSet::new(),
            unasked: VecDeque::new(),
            answers: BTreeMap::new(),
            unanswered: 0,
        }
    }

    /// Devices here have to do with these shadows.
    pub(crate) fn know(&mut self, filter: ShadowFilter) {
        if !self.known.insert(filter.clone()) {
            return;
        }
        if self.widens && !self.every_thing && self.known.len() > self.max {
            self.every_thing = true;
            self.unasked.clear();
            let known: Vec<ShadowFilter> = self.known.iter().cloned().collect();
            known.into_iter().for_each(|filter| self.want(filter));
        } else {
            self.want(filter);
        }
    }

    pub(crate) fn knows(&self, shadow: &ShadowId) -> bool {
        self.known.contains(&filter_of(shadow))
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Devices here have nothing to do with these shadows any more.
    pub(crate) fn forget(&mut self, filter: &ShadowFilter) {
        self.known.remove(filter);
        if !self.every_thing {
            self.unasked.retain(|unasked| unasked != filter);
        }
    }

    fn want(&mut self, filter: ShadowFilter) {
        let filter = self.asked_as(filter);
        // What is said of one device came here once only: `known` has seen to that.
        let twice =
            self.every_thing && (self.answers.contains_key(&filter) || self.unasked.contains(&filter));
        if !twice {
            self.unasked.push_back(filter);
        }
    }

    fn asked_as(&self, filter: ShadowFilter) -> ShadowFilter {
        if self.every_thing { ShadowFilter { thing: None, ..filter } } else { filter }
    }

    /// A new connection: nothing is subscribed to.
    pub(crate) fn reset(&mut self) {
        self.answers.clear();
        self.unanswered = 0;
        let asked: BTreeSet<_> = self.known.iter().map(|filter| self.asked_as(filter.clone())).collect();
        self.unasked = asked.into_iter().collect();
    }

    /// What to subscribe to now, in one SUBSCRIBE each.
    pub(crate) fn next(&mut self) -> Vec<Vec<String>> {
        let mut asked = Vec::new();
        while self.unanswered < UNANSWERED_MAX && self.has_room() {
            let Some(filter) = self.unasked.pop_front() else { break };
            asked.push(filter.to_string());
            self.answers.insert(filter, Answer::None);
            self.unanswered += 1;
        }
        asked.chunks(AT_ONCE_MAX).map(<[String]>::to_vec).collect()
    }

    /// The server's answer: the filter, if it is one of these.
    pub(crate) fn answered(&mut self, filter: &str, granted: bool) -> Option<ShadowFilter> {
        let filter: ShadowFilter = filter.parse().ok()?;
        let answer = self.answers.get_mut(&filter)?;
        if *answer == Answer::None {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        *answer = if granted { Answer::Granted } else { Answer::Refused };
        Some(filter)
    }

    /// Whether the answers to requests for this shadow would be heard.
    pub(crate) fn hears(&self, shadow: &ShadowId) -> bool {
        let granted = |filter: &ShadowFilter| self.answers.get(filter) == Some(&Answer::Granted);
        let filter = filter_of(shadow);
        granted(&filter) || granted(&self.asked_as(filter))
    }

    fn has_room(&self) -> bool {
        // The two that replace all others come on top of those of this connection.
        self.answers.len() < self.max + if self.widens && self.every_thing { 2 } else { 0 }
    }

    /// Whether the server still owes an answer.
    pub(crate) fn waits(&self) -> bool {
        self.unanswered > 0
    }

    /// Filters that found no room, or that the server refuses.
    pub(crate) fn unheard(&self) -> usize {
        let refused = self.answers.values().filter(|answer| **answer == Answer::Refused).count();
        refused + if self.has_room() { 0 } else { self.unasked.len() }
    }
}

/// The filter that hears what is said of a shadow.
pub(crate) fn filter_of(shadow: &ShadowId) -> ShadowFilter {
    ShadowFilter { thing: Some(shadow.thing.clone()), named: shadow.name.is_some() }
}

#[cfg(test)]
mod tests {
    use fieldline_model::ThingName;

    use super::*;

    fn classic(thing: &str) -> ShadowFilter {
        ShadowFilter { thing: Some(ThingName::new(thing).unwrap()), named: false }
    }

    #[test]
    fn eight_filters_go_together_and_no_more_than_allowed() {
        let mut filters = Filters::new(false, false, 20);
        (0..30).for_each(|n| filters.know(classic(&format!("d{n}"))));
        filters.know(classic("d0"));
        let asked: Vec<usize> = filters.next().iter().map(Vec::len).collect();
        assert_eq!(asked, [8, 8, 4]);
        assert!(filters.next().is_empty());
        assert_eq!(filters.unheard(), 10);
        let shadow = ShadowId { thing: ThingName::new("d0").unwrap(), name: None };
        assert!(filters.knows(&shadow) && !filters.hears(&shadow));
        assert_eq!(filters.answered("$aws/things/d0/shadow/+/+", true), Some(classic("d0")));
        assert!(filters.hears(&shadow));
        filters.reset();
        assert!(!filters.hears(&shadow));
        assert_eq!(filters.next().iter().map(Vec::len).sum::<usize>(), 20);
    }

    #[test]
    fn two_filters_are_enough_for_every_thing() {
        let mut filters = Filters::new(true, false, 40);
        (0..30).for_each(|n| filters.know(classic(&format!("d{n}"))));
        filters.know(ShadowFilter { named: true, ..classic("d0") });
        let asked = filters.next().concat();
        assert_eq!(asked, ["$aws/things/+/shadow/+/+", "$aws/things/+/shadow/name/+/+/+"]);
        assert!(filters.answered("$aws/things/+/shadow/+/+", true).is_some());
        assert!(filters.hears(&ShadowId { thing: ThingName::new("d7").unwrap(), name: None }));
    }

    #[test]
    fn more_devices_than_filters_are_heard_with_two_wider_ones() {
        let mut filters = Filters::new(false, true, 3);
        (0..3).for_each(|n| filters.know(classic(&format!("d{n}"))));
        for filter in filters.next().concat() {
            filters.answered(&filter, true);
        }
        filters.know(classic("d3"));
        assert_eq!(filters.next().concat(), ["$aws/things/+/shadow/+/+"]);
        let shadow = |thing: &str| ShadowId { thing: ThingName::new(thing).unwrap(), name: None };
        assert!(filters.hears(&shadow("d0")) && !filters.hears(&shadow("d3")));
        filters.answered("$aws/things/+/shadow/+/+", true);
        assert!(filters.hears(&shadow("d3")));
        filters.reset();
        filters.know(ShadowFilter { named: true, ..classic("d3") });
        assert_eq!(filters.next().concat(), ["$aws/things/+/shadow/+/+", "$aws/things/+/shadow/name/+/+/+"]);
        assert_eq!(filters.unheard(), 0);
    }
}

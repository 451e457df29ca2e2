//! Who is subscribed to what: a trie over topic levels.

use std::collections::HashMap;

/// Subscriptions of keys `K`, each with a value `V`. Matching costs as many steps as the topic has
/// levels (times two for each `+` on the way), whatever the number of subscriptions.
///
/// The filters must be valid (see `fieldline_model::valid_filter`); their depth bounds the recursion.
#[derive(Debug)]
pub(crate) struct Subscriptions<K, V> {
    root: Node<K, V>,
    count: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    children: HashMap<Box<str>, Node<K, V>>,
    /// The child `+`.
    any: Option<Box<Node<K, V>>>,
    /// Subscriptions that end here.
    here: Vec<(K, V)>,
    /// Subscriptions that go on with `#`.
    below: Vec<(K, V)>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { children: HashMap::new(), any: None, here: Vec::new(), below: Vec::new() }
    }
}

impl<K, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

impl<K, V> Default for Subscriptions<K, V> {
    fn default() -> Self {
        Self { root: Node::default(), count: 0 }
    }
}

impl<K: PartialEq, V> Subscriptions<K, V> {
    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Adds a subscription; one of the same key to the same filter is replaced.
    pub(crate) fn insert(&mut self, filter: &str, key: K, value: V) {
        let mut node = &mut self.root;
        let mut levels = filter.split('/').peekable();
        let list = loop {
            match levels.next() {
                None => break &mut node.here,
                Some("#") => break &mut node.below,
                Some("+") => node = node.any.get_or_insert_default(),
                Some(level) => node = node.children.entry(Box::from(level)).or_default(),
            }
        };
        match list.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => {
                list.push((key, value));
                self.count += 1;
            }
        }
    }

    /// Takes a subscription away; false when there was none.
    pub(crate) fn remove(&mut self, filter: &str, key: &K) -> bool {
        let levels: Vec<&str> = filter.split('/').collect();
        let removed = remove(&mut self.root, &levels, key);
        if removed {
            self.count -= 1;
        }
        removed
    }

    /// Calls `found` for each subscription that takes `topic`. A key comes once for each of its
    /// filters that match.
    pub(crate) fn matching<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a K, &'a V)) {
        if self.count == 0 {
            return;
        }
        // A filter that opens with a wildcard takes no topic that opens with `$` ([MQTT-4.7.2-1]).
        let wildcards = !topic.starts_with('$');
        visit(&self.root, Some(topic), wildcards, &mut found);
    }
}

fn visit<'a, K, V>(
    node: &'a Node<K, V>,
    rest: Option<&str>,
    wildcards: bool,
    found: &mut impl FnMut(&'a K, &'a V),
) {
    if wildcards {
        node.below.iter().for_each(|(key, value)| found(key, value));
    }
    let Some(rest) = rest else {
        node.here.iter().for_each(|(key, value)| found(key, value));
        return;
    };
    let (level, after) = match rest.split_once('/') {
        Some((level, after)) => (level, Some(after)),
        None => (rest, None),
    };
    if let Some(child) = node.children.get(level) {
        visit(child, after, true, found);
    }
    if let (true, Some(child)) = (wildcards, &node.any) {
        visit(child, after, true, found);
    }
}

fn remove<K: PartialEq, V>(node: &mut Node<K, V>, levels: &[&str], key: &K) -> bool {
    let take = |list: &mut Vec<(K, V)>| match list.iter().position(|(known, _)| known == key) {
        Some(index) => {
            list.swap_remove(index);
            true
        }
        None => false,
    };
    match levels.split_first() {
        None => take(&mut node.here),
        Some((&"#", _)) => take(&mut node.below),
        Some((&"+", rest)) => {
            let Some(child) = node.any.as_deref_mut() else { return false };
            let removed = remove(child, rest, key);
            if child.is_empty() {
                node.any = None;
            }
            removed
        }
        Some((level, rest)) => {
            let Some(child) = node.children.get_mut(*level) else { return false };
            let removed = remove(child, rest, key);
            if child.is_empty() {
                node.children.remove(*level);
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(subscriptions: &Subscriptions<u8, u8>, topic: &str) -> Vec<(u8, u8)> {
        let mut all = Vec::new();
        subscriptions.matching(topic, |key, value| all.push((*key, *value)));
        all.sort_unstable();
        all
    }

    #[test]
    fn subscribing_again_replaces() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert("a/+", 1, 0);
        subscriptions.insert("a/+", 1, 7);
        subscriptions.insert("a/+", 2, 0);
        assert_eq!(subscriptions.len(), 2);
        assert_eq!(found(&subscriptions, "a/b"), [(1, 7), (2, 0)]);
    }

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut subscriptions: Subscriptions<u8, u8> = Subscriptions::default();
        for filter in ["a/b/c", "a/+/c", "a/#", "#", "+/+"] {
            subscriptions.insert(filter, 1, 0);
        }
        for filter in ["a/b/c", "a/+/c", "a/#", "#", "+/+"] {
            assert!(subscriptions.remove(filter, &1), "{filter}");
            assert!(!subscriptions.remove(filter, &1), "{filter}");
        }
        assert!(subscriptions.root.is_empty());
        assert_eq!(subscriptions.len(), 0);
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$s"), Just("+")];
        (proptest::collection::vec(level, 0..5), any::<bool>())
            .prop_map(|(mut levels, all)| {
                if all || levels.is_empty() {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("a filter is not empty", |filter| !filter.is_empty())
    }

    fn topic() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just(""), Just("$s")], 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic is not empty", |topic| !topic.is_empty())
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_the_words_of_the_standard(
            inserts in proptest::collection::vec((filter(), 0u8..4), 0..20),
            removes in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            topics in proptest::collection::vec(topic(), 1..10),
        ) {
            let mut trie = Subscriptions::default();
            let mut model: Vec<(String, u8)> = Vec::new();
            for (filter, key) in &inserts {
                trie.insert(filter, *key, 0u8);
                if !model.contains(&(filter.clone(), *key)) {
                    model.push((filter.clone(), *key));
                }
            }
            for index in removes.iter().filter(|_| !inserts.is_empty()) {
                let (filter, key) = index.get(&inserts);
                let known = model.iter().position(|(f, k)| f == filter && k == key);
                prop_assert_eq!(trie.remove(filter, key), known.is_some());
                if let Some(known) = known {
                    model.remove(known);
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            for topic in topics {
                let mut expected: Vec<(u8, u8)> = model
                    .iter()
                    .filter(|(filter, _)| fieldline_model::topic_matches(filter, &topic))
                    .map(|(_, key)| (*key, 0))
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(found(&trie, &topic), expected, "{}", topic);
            }
        }
    }
}

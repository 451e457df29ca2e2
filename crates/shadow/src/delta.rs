//! What is desired and not reported.

use crate::node::{Fields, Node};

/// The fields of `desired` that `reported` does not have, or has otherwise; with the timestamps of
/// `desired`. Fields that are only reported are never among them.
pub(crate) fn delta(desired: &Fields, reported: &Fields) -> Fields {
    let differing = desired.iter().filter_map(|(name, wanted)| {
        let difference = match (wanted, reported.get(name)) {
            (Node::Object(wanted), Some(Node::Object(found))) => {
                let inner = delta(wanted, found);
                (!inner.is_empty()).then_some(Node::Object(inner))
            }
            (Node::Leaf(wanted, _), Some(Node::Leaf(found, _))) if wanted == found => None,
            _ => Some(wanted.clone()),
        };
        Some((name.clone(), difference?))
    });
    differing.collect()
}

//! How two sides that both changed a section come together, leaf by leaf. Pure functions over JSON.
//!
//! Three trees are needed: what both sides had in common (the base), mine, and theirs. Arrays are leaves, as
//! everywhere in shadows; an empty object is a value.

use serde_json::{Map, Value};

/// A section: `desired` or `reported`.
pub(crate) type Section = Map<String, Value>;

/// Whose leaf counts where both sides have changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Winner {
    /// The device's side.
    Mine,
    /// The cloud's side.
    Theirs,
}

/// Whether two values are the same to whoever uses them. Services write numbers in their own way (`1` for
/// `1.0`), and a decimal that is read and written again may move by the last bit: neither is a change, or two
/// sides would correct each other for ever.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            (one - other).abs() <= 4.0 * f64::EPSILON * one.abs().max(other.abs())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let equal =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(equal)
        }
        (one, other) => one == other,
    }
}

fn agree(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Brings both sides together: a leaf that one side has changed since `base` is that side's, a leaf that
/// both have changed is the winner's.
pub(crate) fn merged(base: &Section, mine: &Section, theirs: &Section, winner: Winner) -> Section {
    let mut names: Vec<&String> = mine.keys().chain(theirs.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let fields = names.into_iter().filter_map(|name| {
        let value = merged_value(base.get(name), mine.get(name), theirs.get(name), winner)?;
        Some((name.clone(), value))
    });
    fields.collect()
}

fn merged_value(
    base: Option<&Value>,
    mine: Option<&Value>,
    theirs: Option<&Value>,
    winner: Winner,
) -> Option<Value> {
    if agree(mine, base) {
        return theirs.cloned();
    }
    if agree(theirs, base) || agree(mine, theirs) {
        return mine.cloned();
    }
    let none = Section::new();
    let fields = |side: Option<&Value>| match side {
        Some(Value::Object(fields)) => Some(fields.clone()),
        // One side has deleted the object and the other has changed something in it: leaf by leaf as well.
        None if matches!(base, Some(Value::Object(_))) => Some(none.clone()),
        _ => None,
    };
    let (Some(my_fields), Some(their_fields)) = (fields(mine), fields(theirs)) else {
        return match winner {
            Winner::Mine => mine.cloned(),
            Winner::Theirs => theirs.cloned(),
        };
    };
    let base = base.and_then(Value::as_object).unwrap_or(&none);
    let together = merged(base, &my_fields, &their_fields, winner);
    let deleted = mine.is_none() || theirs.is_none();
    (!together.is_empty() || !deleted).then_some(Value::Object(together))
}

/// The request that makes `to` of `from`: what differs, with null for what goes.
pub(crate) fn patch(from: &Section, to: &Section) -> Section {
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = to.iter().filter_map(|(name, wanted)| {
        let change = match (from.get(name), wanted) {
            (Some(found), wanted) if same(found, wanted) => return None,
            (Some(Value::Object(found)), Value::Object(wanted)) => Value::Object(patch(found, wanted)),
            _ => wanted.clone(),
        };
        Some((name.clone(), change))
    });
    gone.chain(changed).collect()
}

/// What a patch makes of a section.
pub(crate) fn patched(section: &Section, patch: &Section) -> Section {
    let mut section = section.clone();
    for (name, change) in patch {
        match (change, section.get_mut(name)) {
            (Value::Null, _) => drop(section.remove(name)),
            (Value::Object(change), Some(Value::Object(inner))) => *inner = patched(inner, change),
            (change, _) => drop(section.insert(name.clone(), change.clone())),
        }
    }
    section
}

/// The base to merge with when `hoped` was sent and nobody knows whether it arrived: a leaf that the cloud
/// has as it was hoped is taken for ours, and not for a change of theirs.
pub(crate) fn base_after(base: &Section, hoped: &Section, theirs: &Section) -> Section {
    let mut names: Vec<&String> = base.keys().chain(hoped.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let fields = names.into_iter().filter_map(|name| {
        let value = match (base.get(name), hoped.get(name), theirs.get(name)) {
            (_, hoped, theirs) if agree(hoped, theirs) => hoped.cloned(),
            (base, Some(Value::Object(hoped)), Some(Value::Object(theirs))) => {
                let none = Section::new();
                let base = base.and_then(Value::as_object).unwrap_or(&none);
                Some(Value::Object(base_after(base, hoped, theirs)))
            }
            (base, _, _) => base.cloned(),
        }?;
        Some((name.clone(), value))
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn section(value: Value) -> Section {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn both_sides_come_together_leaf_by_leaf() {
        let base = json!({"a": 1, "o": {"x": 1, "y": 1}, "gone": {"x": 1, "y": 1}});
        for (mine, theirs, with_mine, with_theirs) in [
            (json!({"a": 2}), json!({"a": 3}), json!({"a": 2}), json!({"a": 3})),
            (json!({"a": 1}), json!({"a": 3}), json!({"a": 3}), json!({"a": 3})),
            (json!({}), json!({"a": 1}), json!({}), json!({})),
            (json!({}), json!({"a": 3}), json!({}), json!({"a": 3})),
            (
                json!({"n": {"p": 1}}),
                json!({"n": {"q": 2}}),
                json!({"n": {"p": 1, "q": 2}}),
                json!({"n": {"p": 1, "q": 2}}),
            ),
            (
                json!({"o": {"x": 2, "y": 1}}),
                json!({"o": {"x": 1, "y": 2}}),
                json!({"o": {"x": 2, "y": 2}}),
                json!({"o": {"x": 2, "y": 2}}),
            ),
            (json!({}), json!({"gone": {"x": 1, "y": 2}}), json!({}), json!({"gone": {"y": 2}})),
            (
                json!({"o": 5}),
                json!({"o": {"x": 1, "y": 2}}),
                json!({"o": 5}),
                json!({"o": {"x": 1, "y": 2}}),
            ),
            (json!({"l": [1]}), json!({"l": [2]}), json!({"l": [1]}), json!({"l": [2]})),
        ] {
            let (base, mine, theirs) = (section(base.clone()), section(mine), section(theirs));
            let merge = |winner| Value::Object(merged(&base, &mine, &theirs, winner));
            assert_eq!(merge(Winner::Mine), with_mine, "{mine:?} {theirs:?}");
            assert_eq!(merge(Winner::Theirs), with_theirs, "{mine:?} {theirs:?}");
        }
    }

    #[test]
    fn what_came_back_of_our_own_is_no_change_of_theirs() {
        let base = section(json!({"a": 1, "b": 1, "c": 1}));
        let hoped = section(json!({"a": 2, "b": 2}));
        let theirs = section(json!({"a": 2, "b": 3}));
        assert_eq!(Value::Object(base_after(&base, &hoped, &theirs)), json!({"a": 2, "b": 1}));
    }

    #[test]
    fn a_number_written_otherwise_is_no_change() {
        let next = f64::from_bits(0.1_f64.to_bits() + 1);
        for (one, other, expected) in [
            (json!(1), json!(1.0), true),
            (json!(0.1), json!(next), true),
            (json!({"a": [1.0]}), json!({"a": [1]}), true),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false),
            (json!(0.1), json!(0.1001), false),
            (json!(0.0), json!(1e-300), false),
            (json!(1), json!("1"), false),
            (json!({}), json!({"a": 1}), false),
        ] {
            assert_eq!(same(&one, &other), expected, "{one} {other}");
            let (one, other) = (section(json!({ "x": one })), section(json!({ "x": other })));
            assert_eq!(patch(&one, &other).is_empty(), expected);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![(0..3i64).prop_map(Value::from), Just(json!([1])), Just(json!({}))];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop::collection::hash_map("[ab]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    fn any_section() -> impl Strategy<Value = Section> {
        prop::collection::hash_map("[abc]", value(), 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_patch_leads_from_the_one_to_the_other(from in any_section(), to in any_section()) {
            prop_assert_eq!(patched(&from, &patch(&from, &to)), to);
        }

        #[test]
        fn who_changed_nothing_gets_the_other_side(base in any_section(), other in any_section()) {
            for winner in [Winner::Mine, Winner::Theirs] {
                prop_assert_eq!(&merged(&base, &base, &other, winner), &other);
                prop_assert_eq!(&merged(&base, &other, &base, winner), &other);
                prop_assert_eq!(&merged(&base, &other, &other, winner), &other);
            }
        }

        #[test]
        fn merging_again_changes_nothing(base in any_section(), mine in any_section(), theirs in any_section()) {
            for winner in [Winner::Mine, Winner::Theirs] {
                let once = merged(&base, &mine, &theirs, winner);
                prop_assert_eq!(&merged(&theirs, &once, &theirs, winner), &once);
            }
        }
    }
}

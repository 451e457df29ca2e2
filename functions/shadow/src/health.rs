//! The shadow `health` of a gateway: what its books say of its journal.

use std::collections::BTreeMap;

use fieldline_model::{Books, GatewayId, RangeSet, ThingName, Timestamp};
use serde_json::{Map, Value, json};

use crate::revise::{Revision, id, write};
use crate::{Document, Error, Things, Written};

/// The name of the shadow.
pub(crate) const NAME: &str = "health";

/// Shows how a gateway fares by the books that came at `received`: what waits, by class, what was lost and
/// why, and what nobody can account for. Counts that grow in the ordinary course are not among it, so that
/// a gateway that fares well costs no update. Of two books the later ones stay.
///
/// # Errors
/// See [`Error`].
pub async fn health(
    gateway: &GatewayId,
    books: &Books,
    received: Timestamp,
    things: &dyn Things,
) -> Result<Written, Error> {
    let thing = ThingName::new(gateway.as_str()).expect("a gateway's id is a thing's name");
    let state = state(books);
    let at_ms = received.millis();
    write(id(&thing, NAME), things, |document, _room| revise(document, &state, at_ms)).await
}

fn state(books: &Books) -> Map<String, Value> {
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    let mut dropped: BTreeMap<&str, u64> = BTreeMap::new();
    let mut damaged = 0;
    for lane in &books.lanes {
        *waiting.entry(lane.class.as_str()).or_default() += lane.buffered.count();
        damaged += lane.damaged.count();
        for (policy, ranges) in &lane.dropped {
            *dropped.entry(policy).or_default() += RangeSet::count(ranges);
        }
    }
    let mut state = Map::new();
    state.insert("waiting".to_owned(), json!(waiting));
    state.insert("dropped".to_owned(), json!(dropped));
    state.insert("damaged".to_owned(), json!(damaged));
    state.insert("quarantined".to_owned(), json!(books.quarantined));
    // A JSON reader holds as much exactly, and no gateway comes near.
    state.insert("unaccounted".to_owned(), json!(i64::try_from(books.balance()).unwrap_or(i64::MAX)));
    state
}

fn revise(document: &Document, state: &Map<String, Value>, at_ms: i64) -> Revision {
    let stored_ms = document.reported.get("at").and_then(Value::as_i64);
    if stored_ms.is_some_and(|stored_ms| stored_ms >= at_ms) {
        return Revision::default();
    }
    let mut change = difference(&document.reported, state);
    // What is not told any more goes.
    change.remove("at");
    if !change.is_empty() {
        change.insert("at".to_owned(), json!(at_ms));
    }
    Revision { change, dropped: 0 }
}

/// The update that makes `found` what is `wanted`.
fn difference(found: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut change = Map::new();
    for (name, value) in wanted {
        let differs = match (found.get(name), value) {
            (Some(Value::Object(found)), Value::Object(wanted)) => {
                let inner = difference(found, wanted);
                (!inner.is_empty()).then_some(Value::Object(inner))
            }
            (Some(found), wanted) if found == wanted => None,
            _ => Some(value.clone()),
        };
        change.extend(differs.map(|value| (name.clone(), value)));
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        change.insert(name.clone(), Value::Null);
    }
    change
}

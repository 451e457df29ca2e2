//! Shadows and entries while they are recorded, and what has to be true of them afterwards.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Stored, Update};
use fieldline_store::{Entries, Entry, EntryChange, MemoryStore, Shadows};

use crate::workload::{open, runtime};

/// Steps of the workload, one after the other.
pub(crate) const STEPS: usize = 60;
/// After so many steps the store is closed and opened again.
const RESTARTS: [usize; 2] = [21, 40];
const KINDS: [&str; 2] = ["thing", "command"];
/// The times of the steps: a shadow remembers the time of each leaf.
const BEGAN_S: i64 = 1_795_341_600;

fn shadows() -> Vec<ShadowId> {
    let shadow = |thing: &str, name: Option<&str>| ShadowId {
        thing: ThingName::new(thing).unwrap(),
        name: name.map(|name| ShadowName::new(name).unwrap()),
    };
    vec![shadow("press-4", None), shadow("press-4", Some("config")), shadow("pump", Some("mode"))]
}

/// Step `index`: an update with some 2 KB, now and then a deletion; or some entries that belong together.
async fn step(store: &(impl Shadows + Entries), index: usize, context: &str) {
    let failed = |error| -> ! { panic!("{context}, step {index}: {error:?}") };
    let shadow = &shadows()[index % 3];
    let now_s = BEGAN_S + index as i64;
    if index % 4 == 3 {
        store.write_entries(together(index)).await.unwrap_or_else(|error| failed(error));
    } else if index % 13 == 12 {
        let deleted = store.delete_shadow(shadow, None, now_s).await.unwrap_or_else(|error| failed(error));
        deleted.unwrap_or_else(|refusal| panic!("{context}, step {index}: {refusal}"));
    } else {
        let note = format!("{index:04}").repeat(500);
        let state = serde_json::json!({ "desired": { "n": index }, "reported": { "note": note } });
        let update = Update::parse(serde_json::json!({ "state": state }).to_string().as_bytes()).unwrap();
        let updated = store.update_shadow(shadow, update, now_s).await.unwrap_or_else(|error| failed(error));
        updated.unwrap_or_else(|refusal| panic!("{context}, step {index}: {refusal}"));
    }
}

/// A thing and its command of one step, and the end of an older command.
fn together(index: usize) -> Vec<EntryChange> {
    let put = |kind: &str, key: String| {
        EntryChange::Put(Entry { kind: kind.to_owned(), key, value: format!("step {index}") })
    };
    let old = index.saturating_sub(16).to_string();
    let ended = EntryChange::Delete { kind: KINDS[1].to_owned(), key: old };
    vec![put(KINDS[0], (index % 8).to_string()), put(KINDS[1], index.to_string()), ended]
}

/// The workload.
pub(crate) fn run(folder: &Path, acknowledgements: &Path) {
    let mut file = std::fs::File::create(acknowledgements).unwrap();
    runtime().block_on(async {
        let mut store = open(folder, "recording");
        for index in 0..STEPS {
            step(&store, index, "recording").await;
            file.write_all(format!("{index}\n").as_bytes()).unwrap();
            if RESTARTS.contains(&index) {
                store.close().await.unwrap();
                drop(store);
                store = open(folder, "recording");
            }
        }
        store.close().await.unwrap();
    });
}

/// Everything that one sees.
#[derive(Debug, PartialEq)]
struct Seen {
    shadows: Vec<Stored>,
    names: Vec<ShadowName>,
    entries: Vec<Vec<Entry>>,
}

async fn seen(store: &(impl Shadows + Entries), context: &str) -> Seen {
    let failed = |error| -> ! { panic!("{context}: {error:?}") };
    let mut seen = Seen { shadows: Vec::new(), names: Vec::new(), entries: Vec::new() };
    for shadow in shadows() {
        seen.shadows.push(store.shadow(&shadow).await.unwrap_or_else(|error| failed(error)));
        let names = store.named_shadows(&shadow.thing, None, 10).await;
        seen.names.extend(names.unwrap_or_else(|error| failed(error)));
    }
    for kind in KINDS {
        seen.entries.push(store.entries(kind).await.unwrap_or_else(|error| failed(error)));
    }
    seen
}

/// Opens what a power cut left in `folder`: the steps that were acknowledged are there, the one that was
/// under way whole or not at all, and the store takes another.
pub(crate) fn check(folder: &Path, acknowledged: &BTreeSet<usize>, context: &str) {
    runtime().block_on(async {
        let model = MemoryStore::new();
        for index in acknowledged {
            step(&model, *index, context).await;
        }
        let store = open(folder, context);
        let (found, next) = (seen(&store, context).await, acknowledged.len());
        let mut taken = next;
        if found != seen(&model, context).await && next < STEPS {
            step(&model, next, context).await;
            taken += 1;
        }
        assert_eq!(found, seen(&model, context).await, "{context}: {next} steps were acknowledged");
        step(&store, taken, context).await;
        step(&model, taken, context).await;
        assert_eq!(seen(&store, context).await, seen(&model, context).await, "{context}: after another");
    });
}

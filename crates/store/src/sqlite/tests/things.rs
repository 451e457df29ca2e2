use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Error, Stored, Update};
use serde_json::{Value, json};

use super::*;
use crate::{Entries, Entry, EntryChange, MemoryStore, Shadows};

const NOW: i64 = 1_700_000_000;

fn shadow(thing: &str, name: &str) -> ShadowId {
    let name = (!name.is_empty()).then(|| ShadowName::new(name).unwrap());
    ShadowId { thing: ThingName::new(thing).unwrap(), name }
}

fn update(request: &Value) -> Update {
    Update::parse(request.to_string().as_bytes()).unwrap()
}

async fn set(store: &impl Shadows, id: &ShadowId, value: u64) -> u64 {
    let request = update(&json!({ "state": { "reported": { "n": value } } }));
    store.update_shadow(id, request, NOW).await.unwrap().unwrap().shadow.version()
}

async fn value(store: &impl Shadows, id: &ShadowId) -> Option<Value> {
    let stored = store.shadow(id).await.unwrap();
    Some(stored.shadow("").ok()?.document(NOW, None)["state"]["reported"]["n"].clone())
}

#[tokio::test]
async fn shadows_are_apart_and_survive_a_restart() {
    let mut held = Held::new(SqliteConfig::default());
    let ids = [shadow("a", ""), shadow("a", "x"), shadow("b", "")];
    for (number, id) in (0..).zip(&ids) {
        assert_eq!(set(held.store(), id, number).await, 1);
    }
    assert_eq!(set(held.store(), &ids[0], 9).await, 2);
    held.reopen();
    for (id, expected) in ids.iter().zip([9, 1, 2]) {
        assert_eq!(value(held.store(), id).await, Some(json!(expected)), "{id}");
    }
    assert_eq!(set(held.store(), &ids[0], 10).await, 3);
}

#[tokio::test]
async fn refusals_change_nothing_and_deletions_are_remembered() {
    let mut held = Held::new(SqliteConfig::default());
    let id = shadow("a", "x");
    set(held.store(), &id, 1).await;
    let wrong = update(&json!({ "state": { "reported": { "n": 2 } }, "version": 7 }));
    assert_eq!(held.store().update_shadow(&id, wrong, NOW).await.unwrap().unwrap_err(), Error::Conflict);
    assert_eq!(value(held.store(), &id).await, Some(json!(1)));
    let reply = held.store().delete_shadow(&id, Some("t".to_owned()), NOW).await.unwrap().unwrap();
    assert_eq!(reply, json!({ "version": 1, "timestamp": NOW, "clientToken": "t" }));
    held.reopen();
    assert!(matches!(held.store().shadow(&id).await.unwrap(), Stored::Deleted(_)));
    let again = held.store().delete_shadow(&id, None, NOW).await.unwrap().unwrap_err();
    assert_eq!(again.to_string(), "No shadow exists with name: 'a~x'");
    assert_eq!(set(held.store(), &id, 3).await, 2);
}

#[tokio::test]
async fn updates_at_the_same_moment_are_all_made() {
    let held = Arc::new(Held::new(SqliteConfig::default()));
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let held = Arc::clone(&held);
            tokio::spawn(async move { set(held.store(), &shadow("a", ""), number).await })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn named_shadows_are_listed_page_by_page() {
    let held = Held::new(SqliteConfig::default());
    pages_of_names(held.store()).await;
    pages_of_names(&MemoryStore::new()).await;
}

async fn pages_of_names(store: &impl Shadows) {
    for name in ["", "c", "a", "b", "gone"] {
        set(store, &shadow("t", name), 1).await;
    }
    set(store, &shadow("other", "z"), 1).await;
    store.delete_shadow(&shadow("t", "gone"), None, NOW).await.unwrap().unwrap();
    let thing = ThingName::new("t").unwrap();
    let first = store.named_shadows(&thing, None, 2).await.unwrap();
    assert_eq!(first, [ShadowName::new("a").unwrap(), ShadowName::new("b").unwrap()]);
    let second = store.named_shadows(&thing, first.last(), 2).await.unwrap();
    assert_eq!(second, [ShadowName::new("c").unwrap()]);
    let nobody = ThingName::new("nobody").unwrap();
    assert!(store.named_shadows(&nobody, None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_thing_has_so_many_named_shadows_and_no_more() {
    let held = Held::new(SqliteConfig { named_shadows_max: 3, ..SqliteConfig::default() });
    as_many_as_allowed(held.store(), 3).await;
    as_many_as_allowed(&MemoryStore::new(), crate::NAMED_SHADOWS_MAX).await;
}

async fn as_many_as_allowed(store: &impl Shadows, max: usize) {
    for number in 0..max {
        set(store, &shadow("t", &format!("n{number}")), 1).await;
    }
    let one_more = || async {
        let request = update(&json!({ "state": { "reported": { "n": 1 } } }));
        store.update_shadow(&shadow("t", "more"), request, NOW).await.unwrap().map(|_| ())
    };
    assert_eq!(one_more().await, Err(Error::Crowded));
    assert!(matches!(store.shadow(&shadow("t", "more")).await.unwrap(), Stored::Absent));
    // Neither the classic one counts, nor other things, nor what is there already, nor what is deleted.
    set(store, &shadow("t", ""), 1).await;
    set(store, &shadow("u", "more"), 1).await;
    assert_eq!(set(store, &shadow("t", "n0"), 2).await, 2);
    store.delete_shadow(&shadow("t", "n1"), None, NOW).await.unwrap().unwrap();
    assert_eq!(one_more().await, Ok(()));
    let request = update(&json!({ "state": { "reported": { "n": 1 } } }));
    let again = store.update_shadow(&shadow("t", "n1"), request, NOW).await.unwrap();
    assert_eq!(again.unwrap_err(), Error::Crowded);
}

#[tokio::test]
async fn what_was_deleted_long_ago_is_forgotten_and_nothing_else() {
    forgets(&MemoryStore::new()).await;
    let mut held = Held::new(SqliteConfig::default());
    forgets(held.store()).await;
    held.reopen();
    assert_eq!(set(held.store(), &shadow("t", "a"), 1).await, 1);
}

async fn forgets(store: &impl Shadows) {
    for (name, at_s) in [("a", NOW), ("b", NOW + 1), ("c", NOW + 2), ("d", NOW + 3)] {
        set(store, &shadow("t", name), 1).await;
        store.delete_shadow(&shadow("t", name), None, at_s).await.unwrap().unwrap();
    }
    set(store, &shadow("t", ""), 1).await;
    assert_eq!(set(store, &shadow("t", "c"), 1).await, 2);
    assert_eq!(store.forget_deleted(NOW + 3, 1).await.unwrap(), 1);
    assert_eq!(store.forget_deleted(NOW + 3, 9).await.unwrap(), 1);
    assert_eq!(store.forget_deleted(NOW + 3, 9).await.unwrap(), 0);
    assert!(matches!(store.shadow(&shadow("t", "a")).await.unwrap(), Stored::Absent));
    assert!(matches!(store.shadow(&shadow("t", "d")).await.unwrap(), Stored::Deleted(_)));
    assert_eq!(value(store, &shadow("t", "c")).await, Some(json!(1)));
}

#[tokio::test]
async fn things_are_listed_by_a_shadow_that_they_have() {
    let held = Held::new(SqliteConfig::default());
    things_page_by_page(held.store()).await;
    things_page_by_page(&MemoryStore::new()).await;
}

async fn things_page_by_page(store: &impl Shadows) {
    for thing in ["c", "a", "b", "gone"] {
        set(store, &shadow(thing, "presence"), 1).await;
    }
    set(store, &shadow("d", "other"), 1).await;
    set(store, &shadow("e", ""), 1).await;
    store.delete_shadow(&shadow("gone", "presence"), None, NOW).await.unwrap().unwrap();
    let presence = ShadowName::new("presence").unwrap();
    let names = |things: &[ThingName]| things.iter().map(ToString::to_string).collect::<Vec<_>>();
    let first = store.things_with(&presence, None, 2).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(names(&store.things_with(&presence, first.last(), 2).await.unwrap()), ["c"]);
}

fn entry(kind: &str, key: &str, value: &str) -> Entry {
    Entry { kind: kind.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

async fn entries_change(store: &impl Entries) {
    let put = |key, value| EntryChange::Put(entry("thing", key, value));
    let other = EntryChange::Put(entry("policy", "a", "{}"));
    store
        .write_entries(vec![put("b", "1"), put("a", "2"), other, put("b", "3"), put("c", "4")])
        .await
        .unwrap();
    let gone = |key: &str| EntryChange::Delete { kind: "thing".to_owned(), key: key.to_owned() };
    store.write_entries(vec![gone("c"), gone("never there")]).await.unwrap();
}

async fn entries_are_as_changed(store: &impl Entries) {
    let things = store.entries("thing").await.unwrap();
    assert_eq!(things, [entry("thing", "a", "2"), entry("thing", "b", "3")]);
    assert_eq!(store.entries("policy").await.unwrap(), [entry("policy", "a", "{}")]);
    assert!(store.entries("nothing").await.unwrap().is_empty());
}

#[tokio::test]
async fn entries_are_kept_by_kind_and_key() {
    let memory = MemoryStore::new();
    entries_change(&memory).await;
    entries_are_as_changed(&memory).await;
    let mut held = Held::new(SqliteConfig::default());
    entries_change(held.store()).await;
    entries_are_as_changed(held.store()).await;
    held.reopen();
    entries_are_as_changed(held.store()).await;
}

#[tokio::test]
async fn a_store_of_version_1_gets_its_further_tables() {
    let mut held = Held::new(SqliteConfig::default());
    held.store = None;
    let file = open::file_in(held.folder());
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("DROP TABLE shadow; DROP TABLE entry; PRAGMA user_version = 1;").unwrap();
    drop(connection);
    held.reopen();
    assert_eq!(set(held.store(), &shadow("a", ""), 1).await, 1);
    entries_change(held.store()).await;
    entries_are_as_changed(held.store()).await;
}

//! The numbered rules are those of the table in `docs/formats/shadow.md`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_700_000_000;

fn update(request: &Value) -> Update {
    Update::parse(request.to_string().as_bytes()).unwrap()
}

fn refused(request: &Value) -> String {
    Update::parse(request.to_string().as_bytes()).unwrap_err().to_string()
}

fn applied(stored: &Stored, request: &Value, now_s: i64) -> Applied {
    update(request).apply(stored, now_s).unwrap()
}

/// A shadow after these updates, a second apart.
fn after(requests: &[Value]) -> Stored {
    let mut stored = Stored::Absent;
    for (number, request) in (0..).zip(requests) {
        stored = Stored::Present(applied(&stored, request, NOW + number).shadow);
    }
    stored
}

fn shown(stored: &Stored) -> Value {
    stored.shadow("t").unwrap().document(NOW + 100, None)
}

#[test]
fn rule_4_other_nodes_are_passed_over_at_the_top_and_refused_in_the_state() {
    let request = json!({ "state": { "desired": { "a": 1 } }, "comment": "x" });
    assert_eq!(applied(&Stored::Absent, &request, NOW).accepted["state"], json!({ "desired": { "a": 1 } }));
    let invalid = "State contains an invalid node";
    assert_eq!(refused(&json!({ "state": { "desire": {} } })), invalid);
    assert_eq!(refused(&json!({ "state": { "desired": {}, "delta": {} } })), invalid);
}

#[test]
fn rule_5_fields_merge_arrays_replace_and_nulls_delete() {
    let stored = after(&[
        json!({ "state": { "desired": { "a": { "b": 1, "c": 2 }, "l": [1, 2], "s": "x" } } }),
        json!({ "state": { "desired": { "a": { "b": 3, "n": null }, "l": [3], "s": null } } }),
    ]);
    assert_eq!(
        shown(&stored)["state"],
        json!({
            "desired": { "a": { "b": 3, "c": 2 }, "l": [3] },
            "delta": { "a": { "b": 3, "c": 2 }, "l": [3] },
        })
    );
}

#[test]
fn rule_5_sections_and_the_whole_state_are_deleted_by_null() {
    let both = json!({ "state": { "desired": { "a": 1 }, "reported": { "b": 2 } } });
    let stored = after(&[both.clone(), json!({ "state": { "desired": null } })]);
    assert_eq!(shown(&stored)["state"], json!({ "reported": { "b": 2 } }));
    let stored = after(&[both]);
    let emptied = applied(&stored, &json!({ "state": null }), NOW + 7);
    assert_eq!(emptied.accepted["state"], Value::Null);
    assert_eq!(emptied.accepted["metadata"], json!({ "timestamp": NOW + 7 }));
    let stored = Stored::Present(emptied.shadow);
    assert_eq!((&shown(&stored)["state"], &shown(&stored)["metadata"]), (&json!({}), &json!({})));
    assert_eq!(shown(&stored)["version"], 2);
}

#[test]
fn rule_5_empty_objects_are_values_and_empty_sections_are_none() {
    let stored = after(&[json!({ "state": { "desired": { "d": {} } } })]);
    assert_eq!(shown(&stored)["state"], json!({ "desired": { "d": {} }, "delta": { "d": {} } }));
    let stored = after(&[json!({ "state": { "desired": {} } })]);
    assert_eq!(shown(&stored)["state"], json!({}));
}

#[test]
fn rule_6_arrays_hold_no_null() {
    for array in [json!([1, null]), json!([[null]]), json!([{ "a": [null] }])] {
        let request = json!({ "state": { "reported": { "deep": { "list": array } } } });
        assert_eq!(refused(&request), "State contains an invalid node");
    }
    // An object within an array is not merged, so that its null is a value.
    update(&json!({ "state": { "reported": { "list": [{ "a": null }] } } }));
}

#[test]
fn rule_7_versions_grow_by_one_and_are_checked() {
    let stored = after(&[json!({ "state": { "desired": { "a": 1 } } })]);
    assert_eq!(stored.shadow("t").unwrap().version(), 1);
    let request = |version: u64| json!({ "state": { "desired": { "a": 2 } }, "version": version });
    assert_eq!(applied(&stored, &request(1), NOW).shadow.version(), 2);
    for wrong in [0, 2] {
        assert_eq!(update(&request(wrong)).apply(&stored, NOW), Err(Error::Conflict));
    }
    for wrong in [json!("1"), json!(-1), json!(1.5), json!([])] {
        assert_eq!(refused(&json!({ "state": {}, "version": wrong })), "Invalid version");
    }
}

#[test]
fn rule_7_versions_go_on_for_48_hours_after_a_deletion() {
    let request = json!({ "state": { "desired": { "a": 1 } } });
    let stored = after(&[request.clone(), request.clone()]);
    let (deleted, _) = stored.delete("t", NOW, None).unwrap();
    let kept = 48 * 3600;
    for (later, version) in [(0, 3), (kept - 1, 3), (kept, 1)] {
        assert_eq!(applied(&Stored::Deleted(deleted), &request, NOW + later).shadow.version(), version);
    }
}

#[test]
fn rule_8_replies_echo_what_was_named_and_a_get_shows_all() {
    let stored = after(&[json!({ "state": { "desired": { "a": 1, "b": 2 }, "reported": { "a": 1 } } })]);
    let request = json!({ "state": { "reported": { "b": 3, "x": null } }, "clientToken": "t-1" });
    let done = applied(&stored, &request, NOW + 5);
    assert_eq!(
        done.accepted,
        json!({
            "state": { "reported": { "b": 3, "x": null } },
            "metadata": { "reported": { "b": { "timestamp": NOW + 5 } } },
            "version": 2, "timestamp": NOW + 5, "clientToken": "t-1",
        })
    );
    assert_eq!(
        done.shadow.document(NOW + 9, Some("t-2")),
        json!({
            "state": { "desired": { "a": 1, "b": 2 }, "reported": { "a": 1, "b": 3 }, "delta": { "b": 2 } },
            "metadata": {
                "desired": { "a": { "timestamp": NOW }, "b": { "timestamp": NOW } },
                "reported": { "a": { "timestamp": NOW }, "b": { "timestamp": NOW + 5 } },
            },
            "version": 2, "timestamp": NOW + 9, "clientToken": "t-2",
        })
    );
}

#[test]
fn rule_9_each_leaf_has_the_time_of_its_own_update() {
    let stored = after(&[
        json!({ "state": { "reported": { "a": { "b": 1, "c": 1 } } } }),
        json!({ "state": { "reported": { "a": { "c": 1 } } } }),
    ]);
    let expected = json!({ "a": { "b": { "timestamp": NOW }, "c": { "timestamp": NOW + 1 } } });
    assert_eq!(shown(&stored)["metadata"]["reported"], expected);
}

#[test]
fn rule_10_the_delta_is_all_that_is_desired_and_not_reported() {
    let stored = after(&[json!({ "state": {
        "desired": { "same": 1, "other": 2, "missing": 3, "deep": { "x": 1, "y": 2 }, "list": [1, 2] },
        "reported": { "same": 1, "other": 9, "deep": { "x": 1 }, "list": [2, 1], "only": 7 },
    }})]);
    let done = applied(&stored, &json!({ "state": { "reported": { "other": 8 } } }), NOW + 5);
    assert_eq!(
        done.delta.unwrap(),
        json!({
            "state": { "other": 2, "missing": 3, "deep": { "y": 2 }, "list": [1, 2] },
            "metadata": {
                "other": { "timestamp": NOW }, "missing": { "timestamp": NOW },
                "deep": { "y": { "timestamp": NOW } }, "list": { "timestamp": NOW },
            },
            "version": 2, "timestamp": NOW + 5,
        })
    );
    let stored = after(&[json!({ "state": { "desired": { "a": 1 }, "reported": { "a": 1 } } })]);
    let gone = applied(&stored, &json!({ "state": { "reported": { "a": null } } }), NOW);
    assert_eq!(gone.delta.unwrap()["state"], json!({ "a": 1 }));
    assert!(applied(&stored, &json!({ "state": {} }), NOW).delta.is_none());
}

#[test]
fn rule_11_documents_hold_both_versions() {
    let stored = after(&[json!({ "state": { "desired": { "a": 1 } } })]);
    let request = json!({ "state": { "desired": { "a": 2 } }, "clientToken": "t" });
    let documents = applied(&stored, &request, NOW + 3).documents;
    assert_eq!(documents["previous"]["state"], json!({ "desired": { "a": 1 } }));
    assert_eq!((&documents["previous"]["version"], &documents["current"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(documents["current"]["metadata"]["desired"]["a"]["timestamp"], NOW + 3);
    assert_eq!((&documents["timestamp"], &documents["clientToken"]), (&json!(NOW + 3), &json!("t")));
    let first = applied(&Stored::Absent, &request, NOW).documents;
    assert_eq!(first["previous"], json!({ "state": {}, "metadata": {}, "version": 0 }));
}

#[test]
fn rule_12_what_is_not_there_is_not_found() {
    let stored = after(&[json!({ "state": { "desired": { "a": 1 } } })]);
    let (deleted, reply) = stored.delete("t", NOW + 2, Some("x")).unwrap();
    assert_eq!(reply, json!({ "version": 1, "timestamp": NOW + 2, "clientToken": "x" }));
    for stored in [Stored::Absent, Stored::Deleted(deleted)] {
        let error = stored.shadow("pump").unwrap_err();
        assert_eq!(error.to_string(), "No shadow exists with name: 'pump'");
        assert_eq!(error.code(), 404);
        assert_eq!(stored.delete("pump", NOW, None).unwrap_err(), error);
    }
}

#[test]
fn rule_13_a_state_has_8192_bytes_after_the_merge() {
    let room = STATE_BYTES_MAX - json!({ "desired": { "a": "" } }).to_string().len();
    let request = |bytes: usize| json!({ "state": { "desired": { "a": "x".repeat(bytes) } } });
    let full = after(&[request(room)]);
    assert_eq!(update(&request(room + 1)).apply(&Stored::Absent, NOW), Err(Error::TooLarge));
    let more = update(&json!({ "state": { "reported": { "b": 1 } } }));
    assert_eq!(more.apply(&full, NOW), Err(Error::TooLarge));
    assert_eq!(Error::TooLarge.code(), 413);
    // A large request that makes it smaller is fine.
    applied(&full, &request(room - 1), NOW);
}

#[test]
fn rule_13_a_document_is_eight_names_deep() {
    let nested = |depth: usize| (2..depth).fold(json!(1), |inner, _| json!({ "n": inner }));
    update(&json!({ "state": { "desired": nested(8) } }));
    let too_deep = json!({ "state": { "reported": nested(9) } });
    assert_eq!(refused(&too_deep), "JSON contains too many levels of nesting; maximum is 8");
    let in_an_array = json!({ "state": { "desired": { "list": [nested(8)] } } });
    assert!(refused(&in_an_array).starts_with("JSON contains too many levels"));
}

#[test]
fn rule_14_each_error_has_its_code_and_text() {
    let parse = |payload: &[u8]| Update::parse(payload).unwrap_err();
    let table: [(&[u8], u16, &str); 9] = [
        (b"{", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid JSON"),
        (b"", 400, "Invalid JSON"),
        (b"{}", 400, "Missing required node: state"),
        (b"{\"state\": 1}", 400, "State node must be an object"),
        (b"{\"state\": {\"desired\": 1}}", 400, "Desired node must be an object"),
        (b"{\"state\": {\"reported\": []}}", 400, "Reported node must be an object"),
        (b"{\"state\": {}, \"clientToken\": 5}", 400, "Invalid clientToken"),
        (
            b"{\"state\": {\"desired\": {\"a\": \"\xff\"}}}",
            415,
            "Unsupported documented encoding; supported encoding is UTF-8",
        ),
    ];
    for (payload, code, message) in table {
        let error = parse(payload);
        let expected = json!({ "code": code, "message": message, "timestamp": NOW, "clientToken": "t" });
        assert_eq!(error.document(NOW, Some("t")), expected);
    }
    assert_eq!(Error::Conflict.document(NOW, None)["message"], "Version conflict");
}

#[test]
fn rule_3_tokens_have_64_bytes() {
    let request = |bytes: usize| json!({ "state": {}, "clientToken": "x".repeat(bytes) });
    assert_eq!(update(&request(64)).client_token.unwrap().len(), 64);
    assert_eq!(refused(&request(65)), "Invalid clientToken");
    assert_eq!(Plain::parse(b"").unwrap(), Plain::default());
    assert_eq!(Plain::parse(b"{\"clientToken\": \"a\"}").unwrap().client_token.unwrap(), "a");
    assert_eq!(Update::token_of(b"{\"state\": 1, \"clientToken\": \"a\"}").unwrap(), "a");
    assert_eq!(Update::token_of(b"\xff"), None);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        prop::collection::vec(any::<i8>(), 0..3).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| fields(inner).prop_map(Value::Object))
}

fn fields(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let field = ("[a-d]", prop_oneof![9 => inner, 1 => Just(Value::Null)]);
    prop::collection::vec(field, 0..4).prop_map(|fields| fields.into_iter().collect())
}

fn section() -> impl Strategy<Value = Value> {
    prop_oneof![9 => fields(value()).prop_map(Value::Object), 1 => Just(Value::Null)]
}

fn request() -> impl Strategy<Value = Value> {
    let sections = (prop::option::of(section()), prop::option::of(section()));
    sections.prop_map(|(desired, reported)| {
        let mut state = serde_json::Map::new();
        state.extend(desired.map(|desired| ("desired".to_owned(), desired)));
        state.extend(reported.map(|reported| ("reported".to_owned(), reported)));
        json!({ "state": state })
    })
}

/// The names that lead to the leaves of a state, or to the timestamps of its metadata.
fn paths(value: &Value, metadata: bool, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if metadata && fields.get("timestamp").is_some_and(Value::is_i64) => {
            found.push(at.to_owned());
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| paths(value, metadata, &format!("{at}/{name}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

proptest! {
    #[test]
    fn an_update_twice_is_an_update_once(requests in prop::collection::vec(request(), 1..6)) {
        let stored = after(&requests);
        let again = applied(&stored, requests.last().unwrap(), NOW + 50);
        prop_assert_eq!(&again.shadow.plain()["state"], &stored.shadow("t").unwrap().plain()["state"]);
    }

    #[test]
    fn reporting_the_delta_makes_it_empty(requests in prop::collection::vec(request(), 1..6)) {
        let shadow = after(&requests);
        if let Some(delta) = shadow.shadow("t").unwrap().delta_message(None) {
            let done = applied(&shadow, &json!({ "state": { "reported": delta["state"] } }), NOW + 50);
            prop_assert_eq!(done.delta, None);
        }
    }

    #[test]
    fn versions_grow_by_one_and_metadata_mirrors_the_state(requests in prop::collection::vec(request(), 1..8)) {
        let stored = after(&requests);
        let shadow = stored.shadow("t").unwrap();
        prop_assert_eq!(shadow.version(), requests.len() as u64);
        let (mut leaves, mut stamps) = (Vec::new(), Vec::new());
        paths(&shadow.plain()["state"], false, "", &mut leaves);
        paths(&shadow.plain()["metadata"], true, "", &mut stamps);
        prop_assert_eq!(leaves, stamps);
    }

    #[test]
    fn what_is_stored_reads_back_as_it_was(requests in prop::collection::vec(request(), 1..6)) {
        let stored = after(&requests);
        let shadow = stored.shadow("t").unwrap();
        let text = serde_json::to_string(shadow).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Shadow>(&text).unwrap(), shadow);
    }

    #[test]
    fn any_bytes_are_an_update_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Update::parse(&bytes));
        drop(Plain::parse(&bytes));
    }
}

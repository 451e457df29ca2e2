//! Each rule of docs/formats/shadow.md as a conversation with the server, held by MQTT and by HTTP.

use axum::http::Method;
use fieldline_store::{Shadows as _, SqliteConfig, SqliteStore};

use super::shadows::{ask, http, listener, reply};
use super::*;

/// What is asked, and what is to come back: all of these fields, times left out.
type Step = (&'static str, Value, Value);

/// A rule's number and its conversation, on a thing of its own.
fn rules() -> Vec<(&'static str, Vec<Step>)> {
    let up = |state: Value| ("update", json!({ "state": state }));
    let step = |(operation, request): (&'static str, Value), reply: Value| (operation, request, reply);
    let ok = |version: u64| json!({ "version": version });
    let refused = |code: u64, message: &str| json!({ "code": code, "message": message });
    let get = |reply: Value| ("get", Value::Null, reply);
    vec![
        (
            "3 tokens come back, and have 64 bytes at most",
            vec![
                (
                    "update",
                    json!({ "state": {}, "clientToken": "t".repeat(64) }),
                    json!({ "clientToken": "t".repeat(64) }),
                ),
                (
                    "update",
                    json!({ "state": {}, "clientToken": "t".repeat(65) }),
                    refused(400, "Invalid clientToken"),
                ),
                ("update", json!({ "state": {}, "clientToken": 7 }), refused(400, "Invalid clientToken")),
            ],
        ),
        (
            "4 other nodes are passed over at the top and refused in the state",
            vec![
                ("update", json!({ "state": { "reported": { "a": 1 } }, "other": 1 }), ok(1)),
                step(up(json!({ "other": { "a": 1 } })), refused(400, "State contains an invalid node")),
                get(json!({ "state": { "reported": { "a": 1 } }, "version": 1 })),
            ],
        ),
        (
            "5 fields merge, arrays and scalars replace, null deletes",
            vec![
                step(up(json!({ "reported": { "a": { "x": 1, "y": [1, 2] }, "b": 1, "e": {} } })), ok(1)),
                step(up(json!({ "reported": { "a": { "y": [3], "z": 2 }, "b": null } })), ok(2)),
                get(json!({ "state": { "reported": { "a": { "x": 1, "y": [3], "z": 2 }, "e": {} } } })),
                step(up(json!({ "desired": { "c": 1 } })), ok(3)),
                step(up(json!({ "desired": null })), ok(4)),
                get(json!({ "state": { "reported": { "a": { "x": 1, "y": [3], "z": 2 }, "e": {} } } })),
                ("update", json!({ "state": null }), json!({ "state": null, "version": 5 })),
                get(json!({ "state": {}, "metadata": {}, "version": 5 })),
                step(up(json!({ "desired": {} })), ok(6)),
                get(json!({ "state": {} })),
            ],
        ),
        (
            "6 an array holds no null",
            vec![
                step(
                    up(json!({ "desired": { "a": [1, null] } })),
                    refused(400, "State contains an invalid node"),
                ),
                get(refused(404, "No shadow exists with name: '%'")),
            ],
        ),
        (
            "7 versions grow by one, are checked, and go on after a deletion",
            vec![
                ("update", json!({ "state": { "desired": { "a": 1 } }, "version": 0 }), ok(1)),
                ("update", json!({ "state": { "desired": { "a": 2 } }, "version": 1 }), ok(2)),
                (
                    "update",
                    json!({ "state": { "desired": { "a": 3 } }, "version": 1 }),
                    refused(409, "Version conflict"),
                ),
                ("update", json!({ "state": {}, "version": "2" }), refused(400, "Invalid version")),
                ("delete", Value::Null, ok(2)),
                step(up(json!({ "desired": { "a": 4 } })), ok(3)),
            ],
        ),
        (
            "8 a reply says what was asked, a get says all",
            vec![
                step(up(json!({ "desired": { "a": 1, "b": 2 }, "reported": { "a": 1 } })), ok(1)),
                step(
                    up(json!({ "reported": { "b": 3 } })),
                    json!({ "state": { "reported": { "b": 3 } }, "version": 2 }),
                ),
                get(json!({ "state": {
                "desired": { "a": 1, "b": 2 }, "reported": { "a": 1, "b": 3 }, "delta": { "b": 2 }
            } })),
                step(up(json!({ "reported": { "b": 2 } })), ok(3)),
                get(json!({ "state": { "desired": { "a": 1, "b": 2 }, "reported": { "a": 1, "b": 2 } } })),
            ],
        ),
        (
            "10 the delta is what is desired and not reported",
            vec![
                step(
                    up(
                        json!({ "desired": { "l": [1], "o": { "p": 1, "q": 2 } }, "reported": { "l": [1, 2], "r": 1 } }),
                    ),
                    ok(1),
                ),
                step(up(json!({ "reported": { "o": { "q": 2 } } })), ok(2)),
                get(json!({ "state": {
                "desired": { "l": [1], "o": { "p": 1, "q": 2 } },
                "reported": { "l": [1, 2], "o": { "q": 2 }, "r": 1 },
                "delta": { "l": [1], "o": { "p": 1 } },
            } })),
            ],
        ),
        (
            "12 what is not there is not found, and a deletion says the version",
            vec![
                get(refused(404, "No shadow exists with name: '%'")),
                ("delete", Value::Null, refused(404, "No shadow exists with name: '%'")),
                step(up(json!({ "reported": { "a": 1 } })), ok(1)),
                ("delete", Value::Null, ok(1)),
                get(refused(404, "No shadow exists with name: '%'")),
            ],
        ),
        (
            "13 a state has 8192 bytes after the merge, and eight levels",
            vec![
                step(up(json!({ "desired": { "a": "x".repeat(4_000) } })), ok(1)),
                step(up(json!({ "reported": { "a": "x".repeat(4_152) } })), ok(2)),
                step(
                    up(json!({ "reported": { "a": "x".repeat(4_153) } })),
                    refused(413, "The payload exceeds the maximum size allowed"),
                ),
                step(
                    up(json!({ "desired": { "a": { "b": { "c": { "d": { "e": { "f": 1 } } } } } } })),
                    ok(3),
                ),
                step(
                    up(
                        json!({ "desired": { "a": { "b": { "c": { "d": { "e": { "f": { "g": 1 } } } } } } } }),
                    ),
                    refused(400, "JSON contains too many levels of nesting; maximum is 8"),
                ),
            ],
        ),
        (
            "14 what is wrong is named",
            vec![
                ("update", json!("{"), refused(400, "Invalid JSON")),
                ("update", json!({}), refused(400, "Missing required node: state")),
                ("update", json!({ "state": 1 }), refused(400, "State node must be an object")),
                (
                    "update",
                    json!({ "state": { "desired": 1 } }),
                    refused(400, "Desired node must be an object"),
                ),
                (
                    "update",
                    json!({ "state": { "reported": [] } }),
                    refused(400, "Reported node must be an object"),
                ),
            ],
        ),
    ]
}

/// Whether `found` has everything that is expected; `%` stands for the shadow's name.
fn matches(expected: &Value, found: &Value, name: &str) -> bool {
    match expected {
        Value::Object(fields) => fields.iter().all(|(key, expected)| match expected {
            Value::String(text) if key == "message" => found[key] == json!(text.replace('%', name)),
            expected => &found[key] == expected,
        }),
        _ => expected == found,
    }
}

/// The bytes of a request: a text stands for itself, null for none.
fn payload(request: &Value) -> String {
    match request {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn each_rule_holds_over_mqtt() {
    let site = Site::start().await;
    for (number, (rule, steps)) in rules().into_iter().enumerate() {
        for (name, path) in [("", ""), ("~x", "/name/x")] {
            let thing = format!("m{number}{}", name.len());
            let mut client = listener(&site, &thing, &thing).await;
            let prefix = format!("$aws/things/{thing}/shadow{path}");
            for (operation, request, expected) in &steps {
                ask_bytes(&mut client, &format!("{prefix}/{operation}"), payload(request));
                let found = answer(&mut client, &format!("{prefix}/{operation}")).await;
                assert!(
                    matches(expected, &found, &format!("{thing}{name}")),
                    "rule {rule}: {:.200}: {:.200}",
                    request.to_string(),
                    found.to_string()
                );
            }
        }
    }
    site.server.stop().await;
}

fn ask_bytes(client: &mut Connection, topic: &str, payload: String) {
    client.publish(topic, Bytes::from(payload), QoS::AtLeastOnce, false).unwrap().unwrap();
}

/// The reply to a request; deltas and documents before it are passed over.
async fn answer(client: &mut Connection, topic: &str) -> Value {
    loop {
        let (found, document) = reply(client).await;
        if found == format!("{topic}/accepted") || found == format!("{topic}/rejected") {
            return document;
        }
    }
}

#[tokio::test]
async fn each_rule_holds_over_http() {
    let site = Site::start().await;
    for (number, (rule, steps)) in rules().into_iter().enumerate() {
        for (name, query) in [("", ""), ("~x", "?name=x")] {
            let thing = format!("h{number}{}", name.len());
            let path = format!("/things/{thing}/shadow{query}");
            for (operation, request, expected) in &steps {
                let method = match *operation {
                    "get" => Method::GET,
                    "delete" => Method::DELETE,
                    _ => Method::POST,
                };
                let (status, kind, mut found) = http(&site, method, &path, &payload(request)).await;
                // By HTTP the code is the status, and the exception's name comes with it.
                if status != 200 {
                    found["code"] = json!(status);
                    assert!(kind.ends_with("Exception"), "{kind}");
                }
                assert!(
                    matches(expected, &found, &format!("{thing}{name}")),
                    "rule {rule}: {:.200}: {:.200}",
                    request.to_string(),
                    found.to_string()
                );
            }
        }
    }
    site.server.stop().await;
}

/// Rules 9, 10 and 11: what subscribers are told, whether the update came by MQTT or by HTTP.
#[tokio::test]
async fn subscribers_are_told_of_updates_with_times_delta_and_documents() {
    let site = Site::start().await;
    for by_http in [false, true] {
        let thing = if by_http { "told-http" } else { "told-mqtt" };
        let mut client = listener(&site, thing, thing).await;
        let mut update = async |request: Value| {
            if by_http {
                let path = format!("/things/{thing}/shadow");
                assert_eq!(http(&site, Method::POST, &path, &request.to_string()).await.0, 200);
            } else {
                ask(&mut client, &format!("$aws/things/{thing}/shadow/update"), &request);
            }
            let mut told = std::collections::BTreeMap::new();
            while !told.contains_key("documents") {
                let (topic, document) = reply(&mut client).await;
                told.insert(topic.rsplit('/').next().unwrap().to_owned(), document);
            }
            told
        };
        let first = update(json!({ "state": { "desired": { "a": 1, "b": [1] } }, "clientToken": "t" })).await;
        let delta = &first["delta"];
        assert_eq!((&delta["state"], &delta["version"]), (&json!({ "a": 1, "b": [1] }), &json!(1)));
        assert_eq!((&delta["clientToken"], &first["documents"]["clientToken"]), (&json!("t"), &json!("t")));
        let at = &delta["metadata"]["a"]["timestamp"];
        assert!(
            at.as_i64().unwrap() > 1_700_000_000 && delta["metadata"]["b"]["timestamp"].is_i64(),
            "{delta}"
        );
        let second = update(json!({ "state": { "reported": { "a": 1 } } })).await;
        assert_eq!(second["delta"]["state"], json!({ "b": [1] }));
        assert_eq!(second["delta"]["metadata"]["b"], delta["metadata"]["b"], "of desired's own time");
        let documents = &second["documents"];
        assert_eq!(documents.get("clientToken"), None, "none was given: {documents}");
        assert_eq!(documents["previous"]["state"], json!({ "desired": { "a": 1, "b": [1] } }));
        assert_eq!(
            (&documents["previous"]["version"], &documents["current"]["version"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(documents["current"]["state"]["reported"], json!({ "a": 1 }));
        assert!(documents["current"]["metadata"]["reported"]["a"]["timestamp"].is_i64());
        let third = update(json!({ "state": { "reported": { "b": [1] } } })).await;
        assert!(!third.contains_key("delta"), "nothing differs: {third:?}");
    }
    site.server.stop().await;
}

/// Rule 14: bytes that are no text.
#[tokio::test]
async fn broken_utf_8_is_refused_with_415() {
    let site = Site::start().await;
    let mut client = listener(&site, "t", "t").await;
    let broken = Bytes::from_static(b"{\"state\": {\"desired\": {\"a\": \"\xff\"}}}");
    client.publish("$aws/things/t/shadow/update", broken, QoS::AtLeastOnce, false).unwrap().unwrap();
    let (topic, document) = reply(&mut client).await;
    assert_eq!((topic.as_str(), &document["code"]), ("$aws/things/t/shadow/update/rejected", &json!(415)));
    assert_eq!(document["message"], "Unsupported documented encoding; supported encoding is UTF-8");
    site.server.stop().await;
}

/// Rule 9: a shadow that was stored years ago, of which one leaf changes now.
#[tokio::test]
async fn what_is_not_touched_keeps_its_time() {
    const THEN_S: i64 = 1_600_000_000;
    let folder = tempfile::tempdir().unwrap();
    let shadow: fieldline_model::ShadowTopic = "$aws/things/t/shadow/get".parse().unwrap();
    {
        let at = folder.path().join("server");
        let store = SqliteStore::open(&at, SqliteConfig::default(), Timestamp::EPOCH).unwrap();
        let request =
            br#"{"state": {"desired": {"a": 1, "o": {"p": 1, "q": 2}}, "reported": {"a": 1, "b": [1, 2]}}}"#;
        let update = fieldline_shadow::Update::parse(request).unwrap();
        store.update_shadow(&shadow.shadow, update, THEN_S).await.unwrap().unwrap();
    }
    let site = Site { server: Server::start(config(folder.path())).await.unwrap(), folder };
    let request =
        json!({ "state": { "desired": { "o": { "q": 3 } }, "reported": { "b": [1] } } }).to_string();
    assert_eq!(http(&site, Method::POST, "/things/t/shadow", &request).await.0, 200);
    let (_, _, document) = http(&site, Method::GET, "/things/t/shadow", "").await;
    let metadata = &document["metadata"];
    for (leaf, touched) in [
        (&metadata["desired"]["a"], false),
        (&metadata["desired"]["o"]["p"], false),
        (&metadata["desired"]["o"]["q"], true),
        (&metadata["reported"]["a"], false),
        (&metadata["reported"]["b"], true),
    ] {
        let at = leaf["timestamp"].as_i64().unwrap();
        assert_eq!(at != THEN_S, touched, "{metadata}");
        assert!(!touched || at > 1_700_000_000, "{metadata}");
    }
    site.server.stop().await;
}

//! The shadows that the server keeps by itself: `telemetry`, `presence`, `health`.

use axum::http::Method;

use super::shadows::{http, listener, reply};
use super::*;

const INGEST: &str = "$aws/rules/fieldline_ingest/gw-1";

/// A site that shows telemetry as soon as it may.
async fn site() -> Site {
    Site::start_with(|config| config.shadows.telemetry_every = Some(Duration::from_millis(100))).await
}

/// What one of the thing's shadows comes to report, told by its documents.
async fn until(ear: &mut Connection, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (topic, document) = reply(ear).await;
        if topic.ends_with(&format!("/shadow/name/{name}/update/documents")) {
            let reported = &document["current"]["state"]["reported"];
            if wanted(reported) {
                return reported.clone();
            }
        }
    }
}

async fn shadow(site: &Site, thing: &str, name: &str) -> (u16, Value) {
    let path = format!("/things/{thing}/shadow?name={name}");
    let (status, _, document) = http(site, Method::GET, &path, "").await;
    (status, document["state"]["reported"].clone())
}

#[tokio::test]
async fn readings_of_gateways_and_devices_come_to_the_devices_shadow() {
    let site = site().await;
    let mut ear = listener(&site, "ear", "press-4").await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, INGEST, block("gw-1", 1, 8)).await.unwrap();
    let shown = until(&mut ear, "telemetry", |reported| reported["temperature"]["at"] == 8).await;
    assert_eq!(shown, json!({ "temperature": { "value": 4.0, "at": 8 } }));
    // Late data, and then a last value.
    publish(&mut gateway, INGEST, block("gw-1", 3, 5)).await.unwrap();
    let (status, _) = site.post("/telemetry/press-4", r#"{"temperature": 9, "mode": "on", "ts": 9}"#).await;
    assert!((200..300).contains(&status), "{status}");
    let shown = until(&mut ear, "telemetry", |reported| reported["mode"]["at"] == 9).await;
    assert_eq!(shown["temperature"], json!({ "value": 9, "at": 9 }));
    assert_eq!(shadow(&site, "press-4", "telemetry").await, (200, shown));
    let metrics = Api::new(&site.url()).unwrap().get_text("/metrics").await.unwrap();
    assert!(metrics.contains("fieldline_shadow_values_lost_total 0"), "{metrics}");
    site.server.stop().await;
}

#[tokio::test]
async fn gateways_are_shown_to_come_and_go_and_how_they_fare() {
    let site = site().await;
    let mut ear = listener(&site, "ear", "gw-1").await;
    let mut gateway = site.mqtt("gw-1").await;
    let books = json!({"accepted": 12, "filtered": 2, "quarantined": {}, "lanes": [{
        "epoch": 5, "class": "live", "last_seq": 10, "buffered": [[5, 10]], "stored": [[1, 4]],
        "dropped": {}, "damaged": []}]});
    publish(&mut gateway, "$aws/rules/fieldline_books/gw-1", books.to_string()).await.unwrap();
    let (mut health, mut presence) = (Value::Null, Value::Null);
    while health.is_null() || presence.is_null() {
        let (topic, document) = reply(&mut ear).await;
        let reported = document["current"]["state"]["reported"].clone();
        match topic.split('/').nth(5) {
            Some("health") => health = reported,
            Some("presence") => presence = reported,
            _ => {}
        }
    }
    assert_eq!(health["waiting"], json!({ "live": 6 }));
    assert_eq!(health["unaccounted"], 0);
    assert_eq!(presence["connected"], true);
    drop(gateway);
    let gone = until(&mut ear, "presence", |reported| reported["connected"] == false).await;
    assert!(gone["last_seen"].as_i64() >= presence["last_seen"].as_i64());
    // Somebody who sends nothing of its own is no thing.
    assert_eq!(shadow(&site, "ear", "presence").await.0, 404);
    site.server.stop().await;
}

#[tokio::test]
async fn what_is_left_is_shown_at_the_end() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, INGEST, block("gw-1", 1, 2)).await.unwrap();
    publish(&mut gateway, INGEST, block("gw-1", 3, 4)).await.unwrap();
    // Its period is 10 s: the last value has not been waited for.
    let site = site.restart().await;
    let shown = json!({ "temperature": { "value": 2.0, "at": 4 } });
    assert_eq!(shadow(&site, "press-4", "telemetry").await, (200, shown));
    let (_, presence) = shadow(&site, "gw-1", "presence").await;
    assert_eq!(presence["connected"], false);
    site.server.stop().await;
}

#[tokio::test]
async fn telemetry_can_be_off_and_what_was_not_shown_is_made_good() {
    let site = Site::start_with(|config| config.shadows.telemetry_every = None).await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, INGEST, block("gw-1", 1, 4)).await.unwrap();
    // As a server leaves it that was killed.
    let left = json!({ "state": { "reported": { "connected": true, "last_seen": 5, "session": 7 } } });
    let path = "/things/press-4/shadow?name=presence";
    assert_eq!(http(&site, Method::POST, path, &left.to_string()).await.0, 200);
    let site = site.restart().await;
    // The start goes through all devices; nobody is told before somebody can listen.
    let shown = json!({ "temperature": { "value": 2.0, "at": 4 } });
    let gone = json!({ "connected": false, "last_seen": 5, "session": 7 });
    let all = async {
        while shadow(&site, "press-4", "telemetry").await.1 != shown
            || shadow(&site, "press-4", "presence").await.1 != gone
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    site.server.stop().await;
}

//! Configurations of gateways: pushed, remembered, desired, brought back.

use axum::http::Method;

use super::shadows::http;
use super::*;

const PATH: &str = "/api/v1/things/hall-7/config";

async fn push(site: &Site, document: &Value) -> (u16, Value) {
    let (status, _, body) = http(site, Method::PUT, PATH, &document.to_string()).await;
    (status, body)
}

async fn desired(site: &Site) -> Value {
    site.get("/things/hall-7/shadow?name=config").await["state"]["desired"].clone()
}

#[tokio::test]
async fn a_push_is_desired_whole_and_can_be_taken_back() {
    let site = Site::start().await;
    let first = json!({ "sync": { "linger": "1s", "session": "1h" }, "filter": [{ "metric": "t" }] });
    let second = json!({ "sync": { "linger": "2s" } });
    let (status, body) = push(&site, &first).await;
    assert_eq!((status, &body["number"]), (200, &json!(1)));
    assert_eq!(desired(&site).await, json!({ "config": first }));
    assert_eq!(push(&site, &second).await.1["number"], 2);
    // Nothing of the first is left, though shadows merge.
    assert_eq!(desired(&site).await, json!({ "config": second }));
    let (status, _, body) = http(&site, Method::POST, &format!("{PATH}/rollback"), "").await;
    assert_eq!((status, &body["number"], &body["rollback_of"]), (200, &json!(3), &json!(1)));
    let site = site.restart().await;
    assert_eq!(desired(&site).await, json!({ "config": first }));
    let history = site.get(&format!("{PATH}/history")).await;
    let numbers: Vec<_> =
        history["entries"].as_array().unwrap().iter().map(|entry| &entry["number"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(site.get(&format!("{PATH}/history/2")).await["document"], second);
    assert_eq!(site.get(PATH).await["pushed"]["sha256"], history["entries"][0]["sha256"]);
    site.server.stop().await;
}

#[tokio::test]
async fn a_large_configuration_lies_beside_the_shadow_and_is_there_after_a_restart() {
    let site = Site::start().await;
    let map: Vec<_> = (0..400).map(|at| json!({ "topic": format!("plant/{at}"), "device": "x" })).collect();
    let large = json!({ "map": map });
    let (status, body) = push(&site, &large).await;
    assert_eq!(status, 200, "{body}");
    let sha256 = body["sha256"].as_str().unwrap();
    let reference = desired(&site).await["config_ref"].clone();
    assert_eq!(
        (&reference["sha256"], &reference["bytes"]),
        (&json!(sha256), &json!(large.to_string().len()))
    );
    let topic = format!("fieldline/hall-7/config/{sha256}");
    assert_eq!(reference["topic"], topic.as_str());
    let site = site.restart().await;
    let mut gateway = site.mqtt("hall-7").await;
    gateway.subscribe(&[(topic.as_str(), QoS::AtLeastOnce)]).unwrap();
    let payload = loop {
        if let Event::Message { message, .. } = next(&mut gateway).await {
            break message.payload;
        }
    };
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), large);
    // A small one takes its place.
    assert_eq!(push(&site, &json!({ "limits": { "devices_max": 7 } })).await.0, 200);
    assert_eq!(desired(&site).await, json!({ "config": { "limits": { "devices_max": 7 } } }));
    site.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_pushed_is_refused_with_the_reason() {
    let site = Site::start().await;
    let huge = json!({ "map": [{ "topic": "x".repeat(130_000), "device": "x" }] });
    for (document, word) in [
        (json!({ "journal": { "bytes_max": "1GiB" } }), "the section journal cannot be pushed"),
        (json!([1]), "an object of sections"),
        (huge, "122880 at most"),
    ] {
        let (status, body) = push(&site, &document).await;
        assert_eq!(status, 400);
        assert!(body["detail"].as_str().unwrap().contains(word), "{body}");
    }
    assert_eq!(http(&site, Method::PUT, PATH, "{").await.0, 400);
    assert_eq!(http(&site, Method::POST, &format!("{PATH}/rollback"), "").await.0, 404);
    assert_eq!(http(&site, Method::GET, &format!("{PATH}/history/1"), "").await.0, 404);
    assert_eq!(http(&site, Method::GET, "/api/v1/things/a%20b/config", "").await.0, 400);
    let nothing = site.get(PATH).await;
    assert_eq!((&nothing["pushed"], &nothing["shadow"]), (&Value::Null, &Value::Null));
    site.server.stop().await;
}

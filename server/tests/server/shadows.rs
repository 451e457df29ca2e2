//! Device shadows by MQTT and by HTTP. The numbers of rules are those of docs/formats/shadow.md.

use axum::http::Method;
use fieldline_mqtt::Message;

use super::*;

/// A client that hears everything about a thing's shadows.
pub(super) async fn listener(site: &Site, client_id: &str, thing: &str) -> Connection {
    let mut connection = site.mqtt(client_id).await;
    let filter = format!("$aws/things/{thing}/shadow/#");
    connection.subscribe(&[(filter.as_str(), QoS::AtLeastOnce)]).unwrap();
    loop {
        if matches!(next(&mut connection).await, Event::Subscribed { .. }) {
            return connection;
        }
    }
}

/// The next message that is no request.
pub(super) async fn reply(connection: &mut Connection) -> (String, Value) {
    loop {
        if let Event::Message { message, id, .. } = next(connection).await {
            if let Some(id) = id {
                connection.acknowledge(id);
            }
            let Message { topic, payload, .. } = message;
            if !["get", "update", "delete"].iter().any(|request| topic.ends_with(&format!("/{request}"))) {
                return (topic.to_string(), serde_json::from_slice(&payload).unwrap());
            }
        }
    }
}

pub(super) fn ask(connection: &mut Connection, topic: &str, request: &Value) {
    let payload = Bytes::from(request.to_string());
    connection.publish(topic, payload, QoS::AtLeastOnce, false).unwrap().unwrap();
}

pub(super) async fn http(site: &Site, method: Method, path: &str, body: &str) -> (u16, String, Value) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = axum::http::Request::builder().method(method).uri(format!("{}{path}", site.url()));
    let response = client.request(request.body(Full::new(body.to_owned().into())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn rule_1_an_update_is_answered_and_told_and_a_get_sees_it() {
    let site = Site::start().await;
    for prefix in ["$aws/things/press-4/shadow", "$aws/things/press-4/shadow/name/config"] {
        let mut client = listener(&site, "press-4", "press-4").await;
        let state = json!({ "desired": { "speed": 3 }, "reported": { "speed": 2 } });
        ask(&mut client, &format!("{prefix}/update"), &json!({ "state": state, "clientToken": "t-1" }));
        ask(&mut client, &format!("{prefix}/get"), &json!({ "clientToken": "t-2" }));
        let mut told = std::collections::BTreeMap::new();
        for _ in 0..4 {
            let (topic, document) = reply(&mut client).await;
            told.insert(topic.strip_prefix(prefix).unwrap().to_owned(), document);
        }
        assert_eq!(told["/update/accepted"]["state"], state);
        assert_eq!(told["/update/accepted"]["clientToken"], "t-1");
        assert_eq!(told["/update/delta"]["state"], json!({ "speed": 3 }));
        assert_eq!(told["/update/documents"]["current"]["state"], state);
        assert_eq!(told["/get/accepted"]["state"]["delta"], json!({ "speed": 3 }));
        assert_eq!(
            (&told["/get/accepted"]["version"], &told["/get/accepted"]["clientToken"]),
            (&json!(1), &json!("t-2"))
        );
        ask(&mut client, &format!("{prefix}/delete"), &json!({}));
        assert_eq!(reply(&mut client).await.0, format!("{prefix}/delete/accepted"));
        ask(&mut client, &format!("{prefix}/get"), &json!({}));
        let (topic, document) = reply(&mut client).await;
        assert_eq!((topic, &document["code"]), (format!("{prefix}/get/rejected"), &json!(404)));
    }
    site.server.stop().await;
}

#[tokio::test]
async fn rule_2_http_answers_alike_and_tells_subscribers_of_updates_only() {
    let site = Site::start().await;
    let mut client = listener(&site, "watcher", "pump").await;
    let path = "/things/pump/shadow?name=mode";
    let (status, kind, body) = http(&site, Method::GET, path, "").await;
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    assert_eq!(body["message"], "No shadow exists with name: 'pump~mode'");
    let update = json!({ "state": { "desired": { "on": true } } }).to_string();
    let (status, _, body) = http(&site, Method::POST, path, &update).await;
    assert_eq!((status, &body["version"]), (200, &json!(1)));
    // The refused get has been told to nobody.
    assert_eq!(reply(&mut client).await.0, "$aws/things/pump/shadow/name/mode/update/delta");
    assert_eq!(reply(&mut client).await.0, "$aws/things/pump/shadow/name/mode/update/documents");
    let conflict = json!({ "state": {}, "version": 7 }).to_string();
    assert_eq!(http(&site, Method::POST, path, &conflict).await.1, "ConflictException");
    let large = json!({ "state": { "desired": { "a": "x".repeat(9_000) } } }).to_string();
    let (status, kind, _) = http(&site, Method::POST, path, &large).await;
    assert_eq!((status, kind.as_str()), (413, "RequestEntityTooLargeException"));
    let (status, kind, _) = http(&site, Method::POST, path, &"x".repeat(200_000)).await;
    assert_eq!((status, kind.as_str()), (413, "RequestEntityTooLargeException"));
    assert_eq!(http(&site, Method::POST, path, "{").await.2["message"], "Invalid JSON");
    assert_eq!(http(&site, Method::DELETE, path, "").await.0, 200);
    assert_eq!(http(&site, Method::DELETE, path, "").await.0, 404);
    assert_eq!(http(&site, Method::GET, "/things/a%20b/shadow", "").await.0, 400);
    let list = "/api/things/shadow/ListNamedShadowsForThing/pump";
    for (method, path) in [
        (Method::PUT, path),
        (Method::PATCH, path),
        (Method::POST, list),
        (Method::PUT, "/retainedMessage/a"),
    ] {
        let (status, kind, body) = http(&site, method.clone(), path, "").await;
        assert_eq!((status, kind.as_str()), (405, "MethodNotAllowedException"), "{method} {path}");
        assert!(body["message"].is_string(), "{body}");
    }
    site.server.stop().await;
}

#[tokio::test]
async fn rule_13_a_client_has_ten_requests_under_way() {
    let site = Site::start().await;
    let mut client = listener(&site, "busy", "busy").await;
    let request = Bytes::from(json!({ "state": { "reported": { "n": 1 } } }).to_string());
    for _ in 0..200 {
        let topic = "$aws/things/busy/shadow/update";
        client.publish(topic, request.clone(), QoS::AtMostOnce, false).unwrap();
    }
    let (mut accepted, mut throttled) = (0, 0);
    while accepted + throttled < 200 {
        let (topic, document) = reply(&mut client).await;
        match topic.rsplit('/').next() {
            Some("accepted") => accepted += 1,
            Some("rejected") => {
                assert_eq!(document["code"], 429);
                throttled += 1;
            }
            _ => {}
        }
    }
    assert!(accepted >= 10, "{accepted} accepted, {throttled} throttled");
    let (_, _, body) = http(&site, Method::GET, "/things/busy/shadow", "").await;
    assert_eq!(body["version"], accepted);
    site.server.stop().await;
}

#[tokio::test]
async fn rule_15_named_shadows_are_listed_by_pages() {
    let site = Site::start().await;
    let update = json!({ "state": { "desired": { "a": 1 } } }).to_string();
    for name in ["", "?name=b", "?name=a", "?name=c"] {
        assert_eq!(http(&site, Method::POST, &format!("/things/t/shadow{name}"), &update).await.0, 200);
    }
    let list = "/api/things/shadow/ListNamedShadowsForThing/t";
    let first = site.get(&format!("{list}?pageSize=2")).await;
    assert_eq!(first["results"], json!(["a", "b"]));
    let token = first["nextToken"].as_str().unwrap();
    let second = site.get(&format!("{list}?pageSize=2&nextToken={token}")).await;
    assert_eq!((&second["results"], second.get("nextToken")), (&json!(["c"]), None));
    assert!(second["timestamp"].is_i64());
    let nobody = site.get("/api/things/shadow/ListNamedShadowsForThing/nobody").await;
    assert_eq!(nobody["results"], json!([]));
    for wrong in ["pageSize=0", "pageSize=101", "nextToken=%25"] {
        assert_eq!(http(&site, Method::GET, &format!("{list}?{wrong}"), "").await.0, 400, "{wrong}");
    }
    site.server.stop().await;
}

#[tokio::test]
async fn shadows_survive_a_restart_and_replies_cannot_be_forged() {
    let site = Site::start().await;
    let update = json!({ "state": { "reported": { "a": 1 } } }).to_string();
    assert_eq!(http(&site, Method::POST, "/things/t/shadow", &update).await.0, 200);
    let mut client = site.mqtt("anyone").await;
    for forged in ["$aws/things/t/shadow/update/accepted", "$aws/things/t/shadow/name/x/update/delta"] {
        assert_eq!(publish(&mut client, forged, "{}").await, Err(PublishError::NotAuthorized), "{forged}");
    }
    let site = site.restart().await;
    let (_, _, body) = http(&site, Method::GET, "/things/t/shadow", "").await;
    assert_eq!((&body["state"]["reported"], &body["version"]), (&json!({ "a": 1 }), &json!(1)));
    site.server.stop().await;
}

/// Shadows need no registered thing, and stay when it goes.
#[tokio::test]
async fn rule_12_deleting_the_thing_leaves_its_shadow() {
    let site = Site::start().await;
    let update = json!({ "state": { "reported": { "a": 1 } } }).to_string();
    assert_eq!(http(&site, Method::POST, "/things/t", "{}").await.0, 200);
    assert_eq!(http(&site, Method::POST, "/things/t/shadow?name=x", &update).await.0, 200);
    assert_eq!(http(&site, Method::DELETE, "/things/t", "").await.0, 200);
    assert_eq!(http(&site, Method::GET, "/things/t", "").await.0, 404);
    let (status, _, body) = http(&site, Method::GET, "/things/t/shadow?name=x", "").await;
    assert_eq!((status, &body["version"]), (200, &json!(1)));
    assert_eq!(http(&site, Method::POST, "/things/t/shadow?name=x", &update).await.2["version"], 2);
    site.server.stop().await;
}

/// Without end a thing's shadows would fill the disk.
#[tokio::test]
async fn a_thing_has_as_many_named_shadows_as_the_configuration_says() {
    let site = Site::start_with(|config| config.shadows.named_max = 2).await;
    let update = json!({ "state": { "reported": { "a": 1 } } }).to_string();
    for (query, expected) in
        [("?name=a", 200), ("?name=b", 200), ("?name=c", 400), ("", 200), ("?name=a", 200)]
    {
        let (status, kind, body) =
            http(&site, Method::POST, &format!("/things/t/shadow{query}"), &update).await;
        assert_eq!(status, expected, "{query}: {body}");
        if expected == 400 {
            assert_eq!(kind, "InvalidRequestException");
            assert_eq!(body["message"], "The thing has too many named shadows");
        }
    }
    site.server.stop().await;
}

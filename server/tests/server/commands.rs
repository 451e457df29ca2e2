//! Commands: sent by HTTP, heard and answered by MQTT.

use axum::http::Method;
use fieldline_mqtt::{Message, Version};

use super::shadows::http;
use super::*;

/// A device that hears its commands, and what becomes of its answers.
struct Device {
    name: String,
    connection: Connection,
}

impl Device {
    async fn start(site: &Site, name: &str, version: Version) -> Self {
        let port = site.server.mqtt_address().unwrap().port();
        let options = ClientOptions { version, ..ClientOptions::new("127.0.0.1", port, name) };
        let mut connection = Connection::open(&options).await.unwrap();
        let filters = ["request/json", "response/accepted/json", "response/rejected/json"]
            .map(|part| format!("$aws/commands/things/{name}/executions/+/{part}"));
        for filter in &filters {
            connection.subscribe(&[(filter.as_str(), QoS::AtLeastOnce)]).unwrap();
        }
        Self { name: name.to_owned(), connection }
    }

    /// The next message, acknowledged: the execution, what it is, and its payload.
    async fn hear(&mut self) -> (String, String, Value, Message) {
        loop {
            if let Event::Message { message, id, .. } = next(&mut self.connection).await {
                id.into_iter().for_each(|id| self.connection.acknowledge(id));
                let mut levels = message.topic.splitn(7, '/');
                let (id, part) = (levels.nth(5).unwrap().to_owned(), levels.next().unwrap().to_owned());
                return (id, part, serde_json::from_slice(&message.payload).unwrap(), message);
            }
        }
    }

    /// The next request.
    async fn command(&mut self) -> (String, Value) {
        loop {
            let (id, part, payload, _) = self.hear().await;
            if part == "request/json" {
                return (id, payload);
            }
        }
    }

    /// Answers, and gives what became of the answer: `accepted`, or the code of the rejection.
    async fn answer(&mut self, id: &str, response: &Value) -> String {
        let topic = format!("$aws/commands/things/{}/executions/{id}/response/json", self.name);
        let payload = Bytes::from(response.to_string());
        self.connection.publish(&topic, payload, QoS::AtLeastOnce, false).unwrap();
        loop {
            let (told, part, payload, _) = self.hear().await;
            match part.as_str() {
                "response/accepted/json" => {
                    assert_eq!((told.as_str(), &payload["executionId"]), (id, &json!(id)));
                    return "accepted".to_owned();
                }
                "response/rejected/json" => {
                    assert!(payload["errorMessage"].is_string(), "{payload}");
                    return payload["error"].as_str().unwrap().to_owned();
                }
                _ => {}
            }
        }
    }
}

async fn send(site: &Site, thing: &str, body: &Value) -> Value {
    let (status, answer) = site.post(&format!("/api/v1/things/{thing}/commands"), body.to_string()).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

fn id_of(execution: &Value) -> String {
    execution["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_command_is_heard_and_answered_in_both_versions() {
    let site = Site::start().await;
    for (name, version) in [("press-4", Version::V5), ("press-5", Version::V3_1_1)] {
        let mut device = Device::start(&site, name, version).await;
        let parameters = json!({ "delay_s": 5 });
        let made =
            send(&site, name, &json!({ "command": "reboot", "parameters": parameters, "timeout_s": 30 }))
                .await;
        let id = id_of(&made);
        assert_eq!((&made["status"], &made["thing"]), (&json!("CREATED"), &json!(name)));
        let (heard, _, payload, message) = device.hear().await;
        let expires = made["created"].as_i64().unwrap() + 30_000;
        let expected = json!({ "command": "reboot", "parameters": parameters, "expires": expires });
        assert_eq!((&heard, payload), (&id, expected));
        if version == Version::V5 {
            let properties = message.properties.unwrap();
            let response = format!("$aws/commands/things/{name}/executions/{id}/response/json");
            assert_eq!(properties.response_topic.as_deref(), Some(response.as_str()));
            assert_eq!(properties.correlation_data.as_deref(), Some(id.as_bytes()));
            assert_eq!(properties.content_type.as_deref(), Some("application/json"));
            assert!(matches!(properties.expiry_s, Some(25..=30)), "{properties:?}");
        }
        assert_eq!(device.answer(&id, &json!({ "status": "IN_PROGRESS" })).await, "accepted");
        assert_eq!(site.get(&format!("/api/v1/commands/{id}")).await["status"], "IN_PROGRESS");
        let reason = json!({ "reasonCode": "OK", "reasonDescription": "up again" });
        let done = json!({ "status": "SUCCEEDED", "statusReason": reason, "result": { "boots": 7 } });
        assert_eq!(device.answer(&id, &done).await, "accepted");
        assert_eq!(device.answer(&id, &done).await, "accepted", "a repeat changes nothing");
        let ended = site.get(&format!("/api/v1/commands/{id}")).await;
        assert_eq!((&ended["status"], &ended["settled"]), (&json!("SUCCEEDED"), &json!(true)));
        assert_eq!((&ended["reason"], &ended["result"]), (&reason, &json!({ "boots": 7 })));
        for (response, code) in [
            (json!({ "status": "FAILED" }), "TerminalStateReached"),
            (json!({ "status": "IN_PROGRESS" }), "InvalidStateTransition"),
            (json!({ "status": "CREATED" }), "InvalidRequest"),
            (json!("SUCCEEDED"), "InvalidRequest"),
        ] {
            assert_eq!(device.answer(&id, &response).await, code, "{response}");
        }
        assert_eq!(device.answer("nothing", &json!({ "status": "FAILED" })).await, "ResourceNotFound");
    }
    site.server.stop().await;
}

#[tokio::test]
async fn a_device_that_was_offline_hears_what_has_not_expired_also_after_a_restart() {
    let site = Site::start().await;
    let short = id_of(&send(&site, "pump", &json!({ "command": "late", "timeout_s": 1 })).await);
    let mut waiting = Vec::new();
    for command in ["one", "two", "three"] {
        waiting.push(id_of(&send(&site, "pump", &json!({ "command": command })).await));
    }
    let timed_out = site.get(&format!("/api/v1/commands/{short}?wait=20")).await;
    assert_eq!(timed_out["status"], "TIMED_OUT");
    assert_eq!(timed_out["reason"]["reasonCode"], "$NO_RESPONSE_FROM_DEVICE");

    let site = site.restart().await;
    let mut device = Device::start(&site, "pump", Version::V5).await;
    for (id, command) in waiting.iter().zip(["one", "two", "three"]) {
        let (heard, payload) = device.command().await;
        assert_eq!((&heard, &payload["command"]), (id, &json!(command)));
    }
    assert_eq!(device.answer(&waiting[0], &json!({ "status": "IN_PROGRESS" })).await, "accepted");
    // It comes again: what it has not answered is told once more, in order, and nothing else.
    drop(device);
    let site = site.restart().await;
    let mut device = Device::start(&site, "pump", Version::V3_1_1).await;
    assert_eq!(device.command().await.0, waiting[1]);
    assert_eq!(device.command().await.0, waiting[2]);
    assert_eq!(site.get(&format!("/api/v1/commands/{}", waiting[0])).await["status"], "IN_PROGRESS");
    // What the server has timed out, the device may still end, as at AWS IoT, and once only.
    assert_eq!(device.answer(&short, &json!({ "status": "IN_PROGRESS" })).await, "InvalidStateTransition");
    assert_eq!(device.answer(&short, &json!({ "status": "SUCCEEDED" })).await, "accepted");
    assert_eq!(device.answer(&short, &json!({ "status": "FAILED" })).await, "TerminalStateReached");
    site.server.stop().await;
}

#[tokio::test]
async fn a_session_holds_commands_until_they_expire() {
    let site = Site::start().await;
    let port = site.server.mqtt_address().unwrap().port();
    for (name, version) in [("pump-5", Version::V5), ("pump-3", Version::V3_1_1)] {
        let options = ClientOptions {
            version,
            clean_start: false,
            session_expiry_s: 300,
            ..ClientOptions::new("127.0.0.1", port, name)
        };
        let mut connection = Connection::open(&options).await.unwrap();
        let filter = format!("$aws/commands/things/{name}/executions/+/request/json");
        connection.subscribe(&[(filter.as_str(), QoS::AtLeastOnce)]).unwrap();
        assert!(matches!(next(&mut connection).await, Event::Subscribed { .. }));
        connection.disconnect().await.unwrap();
        let short = id_of(&send(&site, name, &json!({ "command": "short", "timeout_s": 1 })).await);
        let long = id_of(&send(&site, name, &json!({ "command": "long" })).await);
        let timed_out = site.get(&format!("/api/v1/commands/{short}?wait=20")).await;
        assert_eq!(timed_out["status"], "TIMED_OUT");
        // No subscription this time: the session has it, and what it holds comes at once.
        let connection = Connection::open(&options).await.unwrap();
        assert!(connection.session_present());
        let mut device = Device { name: name.to_owned(), connection };
        let (id, payload) = device.command().await;
        assert_eq!((id, &payload["command"]), (long, &json!("long")));
    }
    site.server.stop().await;
}

#[tokio::test]
async fn a_session_gives_up_what_was_canceled_or_has_expired() {
    let site = Site::start().await;
    let port = site.server.mqtt_address().unwrap().port();
    let options = ClientOptions {
        clean_start: false,
        session_expiry_s: 300,
        ..ClientOptions::new("127.0.0.1", port, "crane")
    };
    let mut connection = Connection::open(&options).await.unwrap();
    let filters = [("$aws/commands/things/crane/executions/+/request/json", QoS::AtLeastOnce)];
    connection.subscribe(&filters).unwrap();
    assert!(matches!(next(&mut connection).await, Event::Subscribed { .. }));
    let first = id_of(&send(&site, "crane", &json!({ "command": "lift" })).await);
    // This one is on its way and not acknowledged when the connection ends.
    assert!(matches!(next(&mut connection).await, Event::Message { .. }));
    connection.disconnect().await.unwrap();
    let short = id_of(&send(&site, "crane", &json!({ "command": "turn", "timeout_s": 1 })).await);
    let second = id_of(&send(&site, "crane", &json!({ "command": "lower" })).await);
    let last = id_of(&send(&site, "crane", &json!({ "command": "stop" })).await);
    for id in [&first, &second] {
        assert_eq!(http(&site, Method::DELETE, &format!("/api/v1/commands/{id}"), "").await.0, 200);
    }
    assert_eq!(site.get(&format!("/api/v1/commands/{short}?wait=20")).await["status"], "TIMED_OUT");
    let connection = Connection::open(&options).await.unwrap();
    assert!(connection.session_present());
    let mut device = Device { name: "crane".to_owned(), connection };
    assert_eq!(device.command().await.0, last, "the load must not move");
    site.server.stop().await;
}

#[tokio::test]
async fn another_thing_neither_answers_nor_forges() {
    let site = Site::start().await;
    let mut device = Device::start(&site, "press-4", Version::V5).await;
    let mut other = Device::start(&site, "press-5", Version::V5).await;
    let id = id_of(&send(&site, "press-4", &json!({ "command": "stop" })).await);
    assert_eq!(device.command().await.0, id);
    // Under its own name the execution is not its own; under another's the certificate forbids it.
    assert_eq!(other.answer(&id, &json!({ "status": "SUCCEEDED" })).await, "ResourceNotFound");
    for part in ["request", "response/accepted", "response/rejected"] {
        let topic = format!("$aws/commands/things/press-4/executions/{id}/{part}/json");
        let forged = publish(&mut other.connection, &topic, "{}").await;
        assert_eq!(forged, Err(PublishError::NotAuthorized), "{topic}");
        let (status, _, _) = http(&site, Method::POST, &format!("/topics/{topic}?qos=1"), "{}").await;
        assert_ne!(status, 200, "{topic}");
    }
    assert_eq!(site.get(&format!("/api/v1/commands/{id}")).await["status"], "CREATED");
    site.server.stop().await;
}

#[tokio::test]
async fn commands_are_listed_watched_and_canceled() {
    let site = Site::start().await;
    let mut device = Device::start(&site, "press-4", Version::V5).await;
    let first = id_of(&send(&site, "press-4", &json!({ "command": "first" })).await);
    let second = id_of(&send(&site, "press-4", &json!({ "command": "second" })).await);
    send(&site, "press-5", &json!({ "command": "third" })).await;
    let ids = async |path: &str| -> Vec<String> {
        site.get(path).await["commands"].as_array().unwrap().iter().map(id_of).collect()
    };
    assert_eq!(ids("/api/v1/things/press-4/commands").await, [second.clone(), first.clone()]);
    assert_eq!(ids("/api/v1/commands").await.len(), 3);
    assert_eq!(ids("/api/v1/commands?limit=1&status=CREATED").await.len(), 1);
    assert_eq!(ids("/api/v1/things/press-4/commands?status=FAILED").await, Vec::<String>::new());

    // Who waits hears of each change when it comes.
    let path = format!("/api/v1/commands/{first}?wait=30&while=CREATED");
    let running = json!({ "status": "IN_PROGRESS" });
    let (watched, told) = tokio::join!(site.get(&path), device.answer(&first, &running));
    assert_eq!((&watched["status"], told.as_str()), (&json!("IN_PROGRESS"), "accepted"));
    let path = format!("/api/v1/commands/{first}?wait=30");
    let rejected = json!({ "status": "REJECTED" });
    let (watched, _) = tokio::join!(site.get(&path), device.answer(&first, &rejected));
    assert_eq!(watched["status"], "REJECTED");

    let path = format!("/api/v1/commands/{second}");
    let (status, _, canceled) = http(&site, Method::DELETE, &path, "").await;
    assert_eq!((status, &canceled["status"]), (200, &json!("CANCELED")));
    assert_eq!(device.answer(&second, &json!({ "status": "SUCCEEDED" })).await, "TerminalStateReached");
    let (status, _, problem) = http(&site, Method::DELETE, &path, "").await;
    assert_eq!((status, &problem["title"]), (409, &json!("the command has ended")));
    site.server.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_a_problem_and_a_web_page_sends_nothing() {
    let site = Site::start().await;
    let path = "/api/v1/things/press-4/commands";
    let large = json!({ "command": "x", "parameters": "x".repeat(32 * 1024) }).to_string();
    for (path, body, expected) in [
        (path, "{", 400),
        (path, "{}", 400),
        (path, r#"{"command": ""}"#, 400),
        (path, r#"{"command": "x", "timeout_s": 0}"#, 400),
        (path, r#"{"command": "x", "timeout_s": 604801}"#, 400),
        (path, r#"{"command": "x", "timeout": 5}"#, 400),
        ("/api/v1/things/a%20b/commands", r#"{"command": "x"}"#, 400),
        (path, &large, 413),
        (path, r#"{"command": "x", "timeout_s": 604800}"#, 201),
    ] {
        let (status, answer) = site.post(path, body.to_owned()).await;
        assert_eq!(status, expected, "{path} {answer}");
        assert!(expected == 201 || answer["detail"].is_string(), "{answer}");
    }
    for (path, expected) in [
        ("/api/v1/commands/nothing", 404),
        ("/api/v1/commands/a%20b", 400),
        ("/api/v1/commands/nothing?wait=31", 400),
        ("/api/v1/commands/nothing?while=x", 400),
        ("/api/v1/commands?status=done", 400),
        ("/api/v1/commands?limit=1001", 400),
    ] {
        assert_eq!(http(&site, Method::GET, path, "").await.0, expected, "{path}");
    }
    assert_eq!(http(&site, Method::DELETE, "/api/v1/commands/nothing", "").await.0, 404);
    for _ in 1..100 {
        send(&site, "press-4", &json!({ "command": "x" })).await;
    }
    let (status, problem) = site.post(path, r#"{"command": "one too many"}"#).await;
    assert_eq!((status, &problem["title"]), (429, &json!("too many commands wait")), "{problem}");

    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = axum::http::Request::post(format!("{}/api/v1/things/press-5/commands", site.url()))
        .header("origin", "http://evil.example")
        .body(Full::new(Bytes::from_static(br#"{"command": "x"}"#)));
    assert_eq!(client.request(request.unwrap()).await.unwrap().status(), 403);
    site.server.stop().await;
}

#[tokio::test]
async fn who_waits_does_not_keep_the_server_from_stopping() {
    let site = Site::start().await;
    let id = id_of(&send(&site, "press-4", &json!({ "command": "x" })).await);
    let (api, path) = (Api::new(&site.url()).unwrap(), format!("/api/v1/commands/{id}?wait=30"));
    let waiting = tokio::spawn(async move { api.get(&path).await });
    // The request is there when a later one of the same kind has been answered.
    site.get(&format!("/api/v1/commands/{id}?wait=1")).await;
    let began = std::time::Instant::now();
    site.server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap()["status"], "CREATED");
}

//! Rules: from a reading to an alarm, to whoever is told, to the operator who takes note.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use fieldline_rules::{Alarm, AlarmEvent, AlarmState, Mark, Severity, Transition};
use fieldline_server::config::TargetSettings;

use super::*;

const HOT: &str = r#"
[[rules]]
name = "hot"
devices = ["press-*"]
when = "temperature > 80.0"
severity = "critical"
"#;

fn write(site: &Site, file: &str, text: &str) {
    let folder = site.folder.path().join("server").join("rules");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(file), text).unwrap();
}

async fn reload(site: &Site) -> Value {
    let (status, answer) = site.post("/api/v1/rules/reload", "").await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A reading of now, stored and evaluated.
async fn measure(site: &Site, device: &str, payload: &Value) {
    let (status, answer) = site.post(&format!("/telemetry/{device}"), payload.to_string()).await;
    assert_eq!(status, 204, "{answer}");
}

async fn alarms(site: &Site, query: &str) -> Vec<Value> {
    site.get(&format!("/api/v1/alarms{query}")).await["alarms"].as_array().unwrap().clone()
}

async fn put(site: &Site, path: &str, body: &Value) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = axum::http::Request::put(format!("{}{path}", site.url()));
    let request = request.body(Full::new(body.to_string().into())).unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 200);
}

/// The command, with what it prints; it must succeed.
async fn fieldline(site: &Site, words: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fieldline"));
    command.args(words).args(["--server", &site.url()]).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn an_excursion_is_told_once_acknowledged_by_command_and_kept_over_a_restart() {
    let site = Site::start().await;
    let mut watcher = site.mqtt("panel").await;
    watcher.subscribe(&[("fieldline/alarms/#", QoS::AtLeastOnce)]).unwrap();
    assert!(matches!(next(&mut watcher).await, Event::Subscribed { .. }));
    write(&site, "press.toml", HOT);
    assert_eq!(reload(&site).await["rules"][0]["rule"]["name"], "hot");
    measure(&site, "press-4", &json!({ "temperature": 81.5 })).await;
    measure(&site, "oven-1", &json!({ "temperature": 300.0 })).await;

    let Event::Message { message, .. } = next(&mut watcher).await else { panic!("no alarm was published") };
    let event: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(message.topic.as_ref(), "fieldline/alarms/press-4/hot");
    assert_eq!(
        (&event["type"], &event["source"]),
        (&json!("io.fieldline.alarm.raised"), &json!("/fieldline/server"))
    );
    let found = alarms(&site, "?state=unacknowledged&severity=critical&device=press-4").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(alarms(&site, "?severity=info").await.is_empty());

    let said = fieldline(&site, &["alarms", "ack", "hot", "--by", "eva", "--comment", "cooler is off"]).await;
    assert!(said.contains("active acknowledged"), "{said}");
    let table = fieldline(&site, &["alarms"]).await;
    assert!(table.contains("critical  active acknowledged"), "{table}");

    let site = site.restart().await;
    assert_eq!(alarms(&site, "").await[0]["state"], "active_acknowledged");
    measure(&site, "press-4", &json!({ "temperature": 70.0 })).await;
    assert!(alarms(&site, "").await.is_empty());
    let history = site.get("/api/v1/alarms/history?device=press-4").await;
    let words: Vec<&str> = history["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["transition"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["returned", "acknowledged", "raised"], "{history}");
    assert_eq!(history["history"][1]["by"], "eva");
    let first = site.get("/api/v1/alarms/history?limit=1").await;
    let next = fieldline_server::client::encoded(first["next"].as_str().unwrap());
    let second = site.get(&format!("/api/v1/alarms/history?limit=1&next={next}")).await;
    assert_eq!(second["history"][0]["transition"], "acknowledged");
    site.server.stop().await;
}

#[tokio::test]
async fn what_operators_put_aside_stays_so_by_http_and_by_command_and_over_a_restart() {
    let site = Site::start().await;
    write(&site, "press.toml", HOT);
    reload(&site).await;
    measure(&site, "press-4", &json!({ "temperature": 81.5 })).await;
    let shelve = ["alarms", "shelve", "hot/press-4", "--for", "8h", "--reason", "chatters", "--by", "eva"];
    let said = fieldline(&site, &shelve).await;
    assert!(said.contains("shelved"), "{said}");
    measure(&site, "press-4", &json!({ "temperature": 70.0 })).await;
    measure(&site, "press-4", &json!({ "temperature": 82.0 })).await;
    let site = site.restart().await;
    let shelved = alarms(&site, "?state=shelved").await;
    assert_eq!(shelved.len(), 2, "the one that returned, and the new one: {shelved:?}");
    let rules = site.get("/api/v1/rules").await;
    assert_eq!(rules["aside"][0]["shelved"]["reason"], "chatters", "{rules}");
    assert_eq!(rules["undelivered"], json!({ "refused": 0, "dropped": 0 }));
    fieldline(&site, &["alarms", "unshelve", "hot/press-4", "--by", "eva"]).await;
    assert!(alarms(&site, "?state=shelved").await.is_empty());

    // Out of service, by HTTP, where there is no alarm.
    measure(&site, "press-5", &json!({ "temperature": 70.0 })).await;
    let (status, answer) = site.post("/api/v1/alarms/hot/press-5/suppress", r#"{"by": "eva"}"#).await;
    assert_eq!(status, 400, "{answer}");
    let wish = r#"{"by": "eva", "reason": "being rebuilt"}"#;
    let (status, answer) = site.post("/api/v1/alarms/hot/press-5/suppress", wish).await;
    assert_eq!((status, &answer["suppressed"]), (200, &json!(true)), "{answer}");
    assert_eq!(site.post("/api/v1/alarms/hot/press-5/suppress", wish).await.0, 409);
    assert_eq!(site.post("/api/v1/alarms/hot/press-77/suppress", wish).await.0, 404);
    measure(&site, "press-5", &json!({ "temperature": 90.0 })).await;
    let found = alarms(&site, "?state=suppressed").await;
    assert_eq!((found.len(), &found[0]["device"]), (1, &json!("press-5")), "{found:?}");
    fieldline(&site, &["alarms", "unsuppress", "hot/press-5", "--by", "eva"]).await;
    assert!(alarms(&site, "?state=suppressed").await.is_empty());
    fieldline(&site, &["alarms", "comment", "hot/press-5", "back again", "--by", "eva"]).await;
    let history = site.get("/api/v1/alarms/history?device=press-5").await;
    let lines = history["history"].as_array().unwrap();
    let mut words: Vec<&str> = lines.iter().map(|line| line["transition"].as_str().unwrap()).collect();
    words.sort_unstable();
    assert_eq!(words, ["commented", "raised", "suppressed", "unsuppressed"], "{history}");
    site.server.stop().await;
}

#[tokio::test]
async fn a_rule_for_a_group_keeps_window_and_alarm_over_a_restart() {
    let site = Site::start().await;
    let of_group = r#"
[[rules]]
name = "hot"
groups = ["hall-7"]
when = "count(temperature, 3) >= 3 && temperature > 80.0"
"#;
    write(&site, "group.toml", of_group);
    for (path, body) in [("/things/press-4", json!({})), ("/thing-groups/hall-7", json!({}))] {
        let (status, answer) = site.post(path, body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
    }
    let member = json!({ "thingGroupName": "hall-7", "thingName": "press-4" });
    put(&site, "/thing-groups/addThingToThingGroup", &member).await;
    reload(&site).await;
    for temperature in [90.0, 91.0, 92.0] {
        measure(&site, "press-4", &json!({ "temperature": temperature })).await;
        measure(&site, "press-5", &json!({ "temperature": temperature })).await;
    }
    assert_eq!(alarms(&site, "").await.len(), 1);
    let site = site.restart().await;
    measure(&site, "press-4", &json!({ "temperature": 93.0 })).await;
    let found = alarms(&site, "").await;
    assert_eq!((found.len(), &found[0]["state"]), (1, &json!("active_unacknowledged")), "{found:?}");
    let history = site.get("/api/v1/alarms/history").await;
    assert_eq!(history["history"].as_array().unwrap().len(), 1, "{history}");
    site.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_its_line_and_the_former_version_stays() {
    let site = Site::start().await;
    write(&site, "a.toml", HOT);
    reload(&site).await;
    write(&site, "a.toml", "[[rules]]\nname = \"hot\"\nwen = \"temperature > 90.0\"\n");
    write(&site, "b.json", r#"{"rules": [{"name": "cold", "when": "temperature < 0.0"}]}"#);
    let report = reload(&site).await;
    let error = &report["files"][0]["error"];
    assert_eq!(error["line"], 3, "{report}");
    let names: Vec<&Value> =
        report["rules"].as_array().unwrap().iter().map(|state| &state["rule"]["name"]).collect();
    assert_eq!(names, [&json!("cold"), &json!("hot")], "{report}");
    measure(&site, "press-4", &json!({ "temperature": 81.5 })).await;
    assert_eq!(alarms(&site, "").await.len(), 1);

    let id = "hot/press-4/1";
    for (path, body, status) in [
        (format!("/api/v1/alarms/{id}/ack"), json!({ "by": "eva" }), 404),
        (format!("/api/v1/alarms/{id}/ack"), json!({}), 400),
        (format!("/api/v1/alarms/{id}/burn"), json!({ "by": "eva" }), 400),
        (format!("/api/v1/alarms/{id}/shelve"), json!({ "by": "eva", "reason": "x" }), 400),
        (format!("/api/v1/alarms/{id}/shelve"), json!({ "by": "eva", "reason": "x", "for": "800d" }), 400),
    ] {
        let (found, answer) = site.post(&path, body.to_string()).await;
        assert_eq!((found, &answer["status"]), (status, &json!(status)), "{path} {body}: {answer}");
    }
    site.server.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_windows() {
    let site = Site::start().await;
    let window =
        |above: &str| format!("{HOT}[[rules]]\nname = \"mean\"\nwhen = \"avg(load, 4) > {above}\"\n");
    write(&site, "a.toml", &window("50.0"));
    reload(&site).await;
    for load in [10.0, 90.0, 90.0] {
        measure(&site, "press-4", &json!({ "load": load })).await;
    }
    // Another rule changes, this one does not: it still knows the three values.
    write(&site, "a.toml", &window("50.0").replace("80.0", "85.0"));
    let before = alarms(&site, "").await;
    reload(&site).await;
    assert_eq!(alarms(&site, "").await, before, "a reload raises and ends nothing");
    measure(&site, "press-4", &json!({ "load": 0.0 })).await;
    assert_eq!(alarms(&site, "?state=active").await.len(), 0, "(10 + 90 + 90 + 0) / 4 is below 50");
    measure(&site, "press-4", &json!({ "load": 40.0 })).await;
    assert_eq!(alarms(&site, "?state=active").await.len(), 1, "(90 + 90 + 0 + 40) / 4 is above 50");
    site.server.stop().await;
}

/// A block of one text of class `alarm`.
fn alarm_block(gateway: &str, seq: u64, text: &str) -> Vec<u8> {
    let stream = StreamId { gateway: GatewayId::new(gateway).unwrap(), epoch: 9 };
    let mut builder = BlockBuilder::new(stream, Class::Alarm, seq);
    builder.push(ReadingRef {
        device: "press-4",
        metric: "alarm.relay",
        time: Timestamp::from_nanos(seq as i64),
        value: ValueRef::Text(text),
        quality: Quality::Good,
    });
    builder.finish().unwrap().encode()
}

#[tokio::test]
async fn an_alarm_of_a_gateway_stands_in_the_book_with_its_gateway() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("hall-7").await;
    let topic = "$aws/rules/fieldline_ingest/hall-7";
    let raised_at = Timestamp::from_millis(1_000).unwrap();
    let alarm = Alarm {
        id: "relay/press-4/1000".to_owned(),
        rule: "relay".to_owned(),
        device: fieldline_model::DeviceId::new("press-4").unwrap(),
        severity: Severity::Critical,
        state: AlarmState::ActiveUnacknowledged,
        raised_at,
        returned_at: None,
        mark: Mark::Live,
        values: Vec::new(),
        shelved: None,
        suppressed: false,
    };
    let event = |transition, at, alarm: &Alarm| {
        let event = AlarmEvent { transition, at, by: None, comment: None, alarm: alarm.clone() };
        serde_json::to_string(&event).unwrap()
    };
    let raised = event(Transition::Raised, raised_at, &alarm);
    // The second is a redelivery, the third the same word in another block.
    for seq in [1, 1, 2] {
        publish(&mut gateway, topic, alarm_block("hall-7", seq, &raised)).await.unwrap();
    }
    let found = alarms(&site, "").await;
    assert_eq!((found.len(), &found[0]["gateway"]), (1, &json!("hall-7")), "{found:?}");
    fieldline(&site, &["alarms", "ack", "relay/press-4", "--by", "eva"]).await;
    let site = site.restart().await;
    assert_eq!(alarms(&site, "").await[0]["state"], "active_acknowledged");

    let mut gateway = site.mqtt("hall-7").await;
    let returned_at = Timestamp::from_millis(5_000).unwrap();
    let over = Alarm { state: AlarmState::ReturnedUnacknowledged, returned_at: Some(returned_at), ..alarm };
    let returned = event(Transition::Returned, returned_at, &over);
    publish(&mut gateway, topic, alarm_block("hall-7", 3, &returned)).await.unwrap();
    assert!(alarms(&site, "").await.is_empty(), "it was acknowledged here, and has returned");
    let history = site.get("/api/v1/alarms/history").await;
    assert_eq!(history["history"].as_array().unwrap().len(), 3, "{history}");
    site.server.stop().await;
}

#[tokio::test]
async fn sighup_and_a_look_now_and_then_read_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (data, rules) = (folder.path().join("data"), folder.path().join("rules"));
    std::fs::create_dir(&rules).unwrap();
    for (look_every, told) in [("off", true), ("100ms", false)] {
        std::fs::write(rules.join("a.toml"), "# none yet\n").unwrap();
        let config = folder.path().join("fieldline.toml");
        let text = format!(
            "data = {data:?}\n[mqtt]\nlisten = \"off\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [rules]\nfolder = {rules:?}\nlook_every = \"{look_every}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_fieldline"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == "ready"));
        std::fs::write(rules.join("a.toml"), "[[rules]]\nname = \"hot\"\nwen = \"temperature > 80.0\"\n")
            .unwrap();
        let pid = server.id().to_string();
        if told {
            assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        }
        // Ends when the line is there, or with the server.
        let found = tokio::task::spawn_blocking(move || {
            log.any(|line| line.is_ok_and(|line| line.contains("line 3") && line.contains("a.toml")))
        });
        let found = tokio::time::timeout(PATIENCE, found).await;
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(found.unwrap().unwrap(), "look_every = {look_every}");
    }
}

/// The next message, which must be on this topic.
async fn heard(connection: &mut Connection, topic: &str) -> Value {
    loop {
        if let Event::Message { message, id, .. } = next(connection).await {
            id.into_iter().for_each(|id| connection.acknowledge(id));
            assert_eq!(message.topic.as_ref(), topic);
            return serde_json::from_slice(&message.payload).unwrap();
        }
    }
}

#[tokio::test]
async fn a_block_that_comes_again_notifies_nobody_twice() {
    let site = Site::start_with(|config| {
        let topic = "plant/alarms".to_owned();
        config.targets.insert("panel".to_owned(), TargetSettings::Mqtt { topic });
    })
    .await;
    let mut watcher = site.mqtt("panel").await;
    watcher.subscribe(&[("plant/#", QoS::AtLeastOnce)]).unwrap();
    assert!(matches!(next(&mut watcher).await, Event::Subscribed { .. }));
    // The readings of `block` are old: whoever is to hear of them must say so.
    let rule = "[[rules]]\nname = \"hot\"\nwhen = \"temperature > 1.9\"\nnotify_history = true\n\
                [[rules.then]]\nnotify = { target = \"panel\", message = \"{{device}} is hot\" }\n";
    write(&site, "a.toml", rule);
    reload(&site).await;
    let mut gateway = site.mqtt("gw-1").await;
    let topic = "$aws/rules/fieldline_ingest/gw-1";
    for _ in 0..3 {
        publish(&mut gateway, topic, block("gw-1", 1, 4)).await.unwrap();
    }
    let told = heard(&mut watcher, "plant/alarms").await;
    assert_eq!(told["data"]["message"], "press-4 is hot");
    // What is published last comes last: there was nothing between.
    publish(&mut gateway, "plant/end", "{}").await.unwrap();
    heard(&mut watcher, "plant/end").await;
    let history = site.get("/api/v1/alarms/history").await;
    assert_eq!(history["history"].as_array().unwrap().len(), 1, "{history}");
    let metrics = Api::new(&site.url()).unwrap().get_text("/metrics").await.unwrap();
    assert!(metrics.contains("fieldline_notifications_total{result=\"delivered\"} 1\n"), "{metrics}");
    site.server.stop().await;
}

#[tokio::test]
async fn what_is_derived_is_stored_and_evaluated_and_ends() {
    let site = Site::start().await;
    let rules = "[[rules]]\nname = \"power\"\nwhen = \"volts > 0.0 && amperes > 0.0\"\n\
                 [[rules.then]]\nderive = { metric = \"watts\", value = \"volts * amperes\" }\n\
                 [[rules]]\nname = \"much\"\nwhen = \"watts > 1000.0\"\n\
                 [[rules]]\nname = \"endless\"\nwhen = \"watts > 0.0\"\n\
                 [[rules.then]]\nderive = { metric = \"volts\", value = \"volts + 1.0\" }\n";
    write(&site, "a.toml", rules);
    reload(&site).await;
    measure(&site, "press-4", &json!({ "volts": 230.0, "amperes": 5.0 })).await;
    let found = alarms(&site, "?device=press-4").await;
    assert!(found.iter().any(|alarm| alarm["rule"] == "much"), "{found:?}");
    // Each link of the chain corrects the value of the same time: 230 V and eight times one more.
    assert_eq!(site.points("press-4", "watts").await[0][1], 238.0 * 5.0);
    site.server.stop().await;
}

//! The server as others see it: by MQTT and HTTP, on free ports, in folders of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod commands;
mod data_plane;
mod functions;
mod gateway_config;
mod https;
mod identity;
mod programs;
mod registry;
mod reported;
mod rules;
mod shadow_rules;
mod shadows;
mod stand_in;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fieldline_model::{
    AckMessage, Class, GatewayId, Quality, ReadingRef, SeqRange, StreamId, Timestamp, ValueRef,
};
use fieldline_mqtt::{ClientError, ClientOptions, Connection, Event, PublishError, QoS, TlsClient};
use fieldline_server::app::Server;
use fieldline_server::certs::{
    Authority, CA_CERTIFICATE, DEVICE_VALIDITY, Issued, SERVER_CERTIFICATE, SERVER_KEY,
};
use fieldline_server::client::Api;
use fieldline_server::config::{Config, TlsSettings};
use fieldline_wire::BlockBuilder;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// Far longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

fn config(folder: &Path) -> Config {
    let mut config = Config { data: folder.to_owned(), ..Config::default() };
    config.mqtt.listen = Some("127.0.0.1:0".parse().unwrap());
    config.http.listen = Some("127.0.0.1:0".parse().unwrap());
    config.http.body_bytes_max = 64 * 1024;
    config
}

impl Site {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        Self { server, folder }
    }

    async fn restart(self) -> Self {
        self.server.stop().await;
        let server = Server::start(config(self.folder.path())).await.unwrap();
        Self { server, ..self }
    }

    async fn mqtt(&self, client_id: &str) -> Connection {
        let port = self.server.mqtt_address().unwrap().port();
        Connection::open(&ClientOptions::new("127.0.0.1", port, client_id)).await.unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.http_address().unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        Api::new(&self.url()).unwrap().get(path).await.unwrap()
    }

    async fn points(&self, device: &str, metric: &str) -> Value {
        self.get(&format!("/api/v1/series?device={device}&metric={metric}")).await["points"].clone()
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request =
            axum::http::Request::post(format!("{}{path}", self.url())).body(Full::new(body.into())).unwrap();
        let response = client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

async fn next(connection: &mut Connection) -> Event {
    tokio::time::timeout(PATIENCE, connection.next()).await.unwrap().unwrap()
}

/// Publishes with QoS 1 and waits for the answer to it.
async fn publish(
    connection: &mut Connection,
    topic: &str,
    payload: impl Into<Bytes>,
) -> Result<(), PublishError> {
    let token = connection.publish(topic, payload.into(), QoS::AtLeastOnce, false).unwrap().unwrap();
    loop {
        match next(connection).await {
            Event::Published(done) if done == token => return Ok(()),
            Event::Refused(done, reason) if done == token => return Err(reason),
            _ => {}
        }
    }
}

fn block(gateway: &str, first: u64, last: u64) -> Vec<u8> {
    let stream = StreamId { gateway: GatewayId::new(gateway).unwrap(), epoch: 5 };
    let mut builder = BlockBuilder::new(stream, Class::Live, first);
    for seq in first..=last {
        builder.push(ReadingRef {
            device: "press-4",
            metric: "temperature",
            time: Timestamp::from_nanos(seq as i64 * 1_000_000),
            value: ValueRef::Float(seq as f64 / 2.0),
            quality: Quality::Good,
        });
    }
    builder.finish().unwrap().encode()
}

#[tokio::test]
async fn a_block_is_stored_acknowledged_and_answered_and_again_after_a_restart() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    gateway.subscribe(&[("fieldline/gw-1/ack", QoS::AtLeastOnce)]).unwrap();
    assert!(matches!(next(&mut gateway).await, Event::Subscribed { .. }));
    let topic = "$aws/rules/fieldline_ingest/gw-1";
    gateway.publish(topic, block("gw-1", 1, 4).into(), QoS::AtLeastOnce, false).unwrap();
    let (mut acknowledged, mut published) = (None, false);
    while acknowledged.is_none() || !published {
        match next(&mut gateway).await {
            Event::Message { message, .. } => {
                let ack: AckMessage = serde_json::from_slice(&message.payload).unwrap();
                acknowledged = Some(ack);
            }
            Event::Published(_) => published = true,
            other => panic!("{other:?}"),
        }
    }
    let expected = AckMessage { epoch: 5, stored: vec![SeqRange::new(1, 4)].into() };
    assert_eq!(acknowledged, Some(expected));
    let points = json!([[1, 0.5], [2, 1.0], [3, 1.5], [4, 2.0]]);
    assert_eq!(site.points("press-4", "temperature").await, points);

    let site = site.restart().await;
    assert_eq!(site.points("press-4", "temperature").await, points);
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, topic, block("gw-1", 3, 6)).await.unwrap();
    assert_eq!(site.points("press-4", "temperature").await.as_array().unwrap().len(), 6);
    let ledger = site.get("/api/v1/ledger").await;
    let account =
        ledger["gateways"].as_array().unwrap().iter().find(|entry| entry["gateway"] == "gw-1").unwrap();
    assert_eq!(account["streams"][0]["stored"], json!([[1, 6]]));
    site.server.stop().await;
}

#[tokio::test]
async fn many_blocks_in_flight_are_all_stored() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    let (mut sent, mut settled) = (0, 0);
    while settled < 200 {
        while sent < 200 && gateway.vacancy() > 0 {
            let payload = block("gw-1", sent * 10 + 1, sent * 10 + 10).into();
            gateway.publish("$aws/rules/fieldline_ingest/gw-1", payload, QoS::AtLeastOnce, false).unwrap();
            sent += 1;
        }
        match next(&mut gateway).await {
            Event::Published(_) => settled += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(site.points("press-4", "temperature").await.as_array().unwrap().len(), 2000);
    site.server.stop().await;
}

#[tokio::test]
async fn what_is_no_block_is_refused_and_counted() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    let topic = "$aws/rules/fieldline_ingest/gw-1";
    for bad in [b"not a block".to_vec(), block("gw-2", 1, 2)] {
        assert_eq!(publish(&mut gateway, topic, bad).await, Err(PublishError::PayloadFormatInvalid));
    }
    publish(&mut gateway, topic, block("gw-1", 1, 2)).await.unwrap();
    let ledger = site.get("/api/v1/ledger?gateway=gw-1").await;
    assert_eq!(ledger["gateways"][0]["refused"], json!({"malformed": 1, "bad-name": 1}));
    let metrics = Api::new(&site.url()).unwrap().get_text("/metrics").await.unwrap();
    assert!(metrics.contains("fieldline_quarantined_total{reason=\"malformed\"} 1"), "{metrics}");
    site.server.stop().await;
}

#[tokio::test]
async fn books_and_blocks_make_an_account() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, "$aws/rules/fieldline_ingest/gw-1", block("gw-1", 1, 8)).await.unwrap();
    let books = json!({"accepted": 12, "filtered": 2, "quarantined": {}, "lanes": [{
        "epoch": 5, "class": "live", "last_seq": 10, "buffered": [[5, 10]], "stored": [[1, 4]],
        "dropped": {}, "damaged": []}]});
    publish(&mut gateway, "$aws/rules/fieldline_books/gw-1", books.to_string()).await.unwrap();
    let account = site.get("/api/v1/ledger?gateway=gw-1").await["gateways"][0].clone();
    assert_eq!((&account["stored"], &account["buffered"]), (&json!(8), &json!(2)));
    assert_eq!(account["balanced"], true);
    let answer = publish(&mut gateway, "$aws/rules/fieldline_books/gw-1", "[]").await;
    assert_eq!(answer, Err(PublishError::PayloadFormatInvalid));
    site.server.stop().await;
}

#[tokio::test]
async fn telemetry_without_a_gateway_is_stored_and_shown_to_subscribers() {
    let site = Site::start().await;
    let mut listener = site.mqtt("listener").await;
    listener.subscribe(&[("telemetry/#", QoS::AtMostOnce), ("hall/#", QoS::AtMostOnce)]).unwrap();
    next(&mut listener).await;
    let mut device = site.mqtt("press-4").await;
    publish(&mut device, "telemetry/press-4", r#"{"t": 21.5, "on": true, "bad": null, "ts": 5}"#)
        .await
        .unwrap();
    publish(&mut device, "telemetry/press-4/n", "42").await.unwrap();
    assert_eq!(site.points("press-4", "t").await, json!([[5, 21.5]]));
    assert_eq!(site.points("press-4", "on").await, json!([[5, true]]));
    assert_eq!(site.points("press-4", "n").await[0][1], 42);
    publish(&mut device, "hall/light", "on").await.unwrap();
    for expected in ["telemetry/press-4", "telemetry/press-4/n", "hall/light"] {
        let Event::Message { message, .. } = next(&mut listener).await else { panic!() };
        assert_eq!(&*message.topic, expected);
    }
    for (topic, payload) in [("telemetry/press-4", "{"), ("telemetry/a b", "{}"), ("telemetry/d/m/x", "1")] {
        assert_eq!(
            publish(&mut device, topic, payload).await,
            Err(PublishError::PayloadFormatInvalid),
            "{topic}"
        );
    }
    publish(&mut device, "$aws/rules/some_other_rule/x", "anything").await.unwrap();
    site.server.stop().await;
}

#[tokio::test]
async fn nobody_may_forge_an_acknowledgement() {
    let site = Site::start().await;
    let mut forger = site.mqtt("forger").await;
    let answer = publish(&mut forger, "fieldline/gw-1/ack", r#"{"epoch":5,"stored":[[1,9]]}"#).await;
    assert_eq!(answer, Err(PublishError::NotAuthorized));
    site.server.stop().await;
}

#[tokio::test]
async fn line_protocol_is_durable_before_the_answer_and_bad_lines_are_named() {
    let site = Site::start().await;
    let lines = "cpu,host=web usage=0.5,n=3i 1000000000\ncpu,host=web,core=1 usage=0.7 2000000000\n";
    assert_eq!(site.post("/api/v2/write?org=o&bucket=b&precision=ns", lines).await.0, 204);
    assert_eq!(site.points("web", "cpu.usage").await, json!([[1000, 0.5]]));
    assert_eq!(site.points("web", "cpu.n").await, json!([[1000, 3]]));
    assert_eq!(site.points("web", "cpu.usage%7Bcore%3D1%7D").await, json!([[2000, 0.7]]));
    let (status, answer) =
        site.post("/api/v2/write?precision=s", "m,device=d v=1 7\nnonsense\nm,device=d v=2 8").await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")));
    assert!(answer["message"].as_str().unwrap().contains("line 2"), "{answer}");
    assert_eq!(site.points("d", "m.v").await.as_array().unwrap().len(), 2);
    assert_eq!(site.post("/api/v2/write?precision=h", "m v=1").await.0, 400);
    let site = site.restart().await;
    assert_eq!(site.points("d", "m.v").await.as_array().unwrap().len(), 2);
    site.server.stop().await;
}

#[tokio::test]
async fn telemetry_by_post_tells_what_it_did() {
    let site = Site::start().await;
    assert_eq!(site.post("/telemetry/d", r#"[{"v": 1, "ts": 1}, {"v": 2, "ts": 2}]"#).await.0, 204);
    assert_eq!(site.post("/telemetry/d/w", "7.5").await.0, 204);
    let (status, problem) = site.post("/telemetry/d", r#"{"v": 3, "x": null, "ts": 3}"#).await;
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().starts_with("1 readings stored"), "{problem}");
    assert_eq!(site.points("d", "v").await, json!([[1, 1], [2, 2], [3, 3]]));
    let (status, problem) = site.post("/telemetry/d", "{\"v\": NaN}").await;
    assert_eq!((status, &problem["status"]), (400, &json!(400)));
    let (status, problem) = site.post("/telemetry/d", vec![b' '; 65 * 1024]).await;
    assert_eq!(status, 413);
    assert!(problem["detail"].as_str().unwrap().contains("65536 bytes"), "{problem}");
    site.server.stop().await;
}

#[tokio::test]
async fn a_taken_port_and_a_taken_folder_are_told() {
    let site = Site::start().await;
    let other = tempfile::tempdir().unwrap();
    let mut taken = config(other.path());
    taken.http.listen = site.server.http_address();
    let error = format!("{:#}", Server::start(taken).await.unwrap_err());
    assert!(error.contains("http.listen") && error.contains("in use") && error.contains("--http"), "{error}");
    let error = format!("{:#}", Server::start(config(site.folder.path())).await.unwrap_err());
    assert!(error.contains("in use by another process"), "{error}");
    let mut nowhere = config(other.path());
    nowhere.data = "/proc/nowhere".into();
    let error = format!("{:#}", Server::start(nowhere).await.unwrap_err());
    assert!(error.contains("/proc/nowhere") && error.contains("--data"), "{error}");
    site.server.stop().await;
}

#[tokio::test]
async fn with_mutual_tls_a_gateway_speaks_for_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(&folder.path().join("ca"), &["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str| folder.path().join("ca").join(name);
    let mut config = config(folder.path());
    config.mqtt.tls = Some(TlsSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: Some(file(SERVER_CERTIFICATE)),
        key: Some(file(SERVER_KEY)),
        client_ca: Some(file(CA_CERTIFICATE)),
    });
    let server = Server::start(config).await.unwrap();
    let port = server.mqtts_address().unwrap().port();
    let options = |client_id: &str, identity: Option<Issued>| {
        let mut options = ClientOptions::new("127.0.0.1", port, client_id);
        let (certificate, key) = identity.map(|issued| (issued.certificate, issued.key)).unzip();
        options.tls = Some(TlsClient {
            ca: authority.certificate().into(),
            certificate: certificate.map(String::into_bytes),
            key: key.map(String::into_bytes),
            ..TlsClient::default()
        });
        options
    };
    let identity = || Some(authority.issue("gw-1", DEVICE_VALIDITY).unwrap());
    let mut gateway = Connection::open(&options("gw-1", identity())).await.unwrap();
    publish(&mut gateway, "$aws/rules/fieldline_ingest/gw-1", block("gw-1", 1, 2)).await.unwrap();
    let foreign = publish(&mut gateway, "$aws/rules/fieldline_ingest/gw-2", block("gw-2", 1, 2)).await;
    assert_eq!(foreign, Err(PublishError::NotAuthorized));
    gateway
        .subscribe(&[("fieldline/gw-1/ack", QoS::AtLeastOnce), ("fieldline/gw-2/ack", QoS::AtLeastOnce)])
        .unwrap();
    let Event::Subscribed { granted, .. } = next(&mut gateway).await else { panic!() };
    assert!(granted[0].is_ok() && granted[1].is_err(), "{granted:?}");
    let other_name = Connection::open(&options("gw-2", identity())).await;
    assert!(matches!(other_name, Err(ClientError::ConnectRefused { code: 0x87 })), "{other_name:?}");
    let other = Authority::init(&folder.path().join("other"), &["127.0.0.1".to_owned()]).unwrap();
    let strange = other.issue("gw-1", DEVICE_VALIDITY).unwrap();
    let stranger = Connection::open(&options("gw-1", Some(strange))).await;
    assert!(stranger.is_err());
    assert!(Connection::open(&options("gw-1", None)).await.is_err());
    server.stop().await;
}

//! A certificate that is registered: its thing, its policies, and the end of it.

use axum::http::Request;
use fieldline_mqtt::Message;
use fieldline_policy::builtin;
use fieldline_server::certs;

use super::*;

/// A request to the control plane, as `principal` where one is given.
pub(super) async fn call(site: &Site, method: &str, path: &str, principal: &str, body: &Value) -> Value {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(format!("{}{path}", site.url()));
    let request = request.header("x-amzn-principal", principal);
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let response = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{method} {path}: {status} {body:?}");
    serde_json::from_slice(&body).unwrap_or_default()
}

/// A site with an authority, and what a device needs to connect.
async fn secure() -> (Site, String) {
    let folder = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let authority = certs::Authority::init(&certs::folder(folder.path()), &names).unwrap();
    let mut config = config(folder.path());
    let listen = "127.0.0.1:0".parse().unwrap();
    config.mqtt.tls = Some(TlsSettings { listen, ..TlsSettings::default() });
    let ca = authority.certificate().to_owned();
    (Site { server: Server::start(config).await.unwrap(), folder }, ca)
}

fn options(site: &Site, ca: &str, keys: &Value, client_id: &str) -> ClientOptions {
    let port = site.server.mqtts_address().unwrap().port();
    let mut options = ClientOptions::new("127.0.0.1", port, client_id);
    let pem = |value: &Value| Some(value.as_str().unwrap().as_bytes().to_vec());
    options.tls = Some(TlsClient {
        ca: ca.as_bytes().to_vec(),
        certificate: pem(&keys["certificatePem"]),
        key: pem(&keys["keyPair"]["PrivateKey"]),
        ..TlsClient::default()
    });
    options
}

async fn connect(site: &Site, ca: &str, keys: &Value, client_id: &str) -> Result<Connection, ClientError> {
    Connection::open(&options(site, ca, keys, client_id)).await
}

#[tokio::test]
async fn a_certificate_does_what_its_policies_say_until_it_is_revoked() {
    let (site, ca) = secure().await;
    let keys = call(&site, "POST", "/keys-and-certificate?setAsActive=true", "", &Value::Null).await;
    let (arn, id) = (keys["certificateArn"].as_str().unwrap(), keys["certificateId"].as_str().unwrap());
    // Registered, but nothing allows it anything.
    let refused = connect(&site, &ca, &keys, "press-4").await;
    assert!(matches!(refused, Err(ClientError::ConnectRefused { code: 0x87 })), "{refused:?}");

    let statement = json!([
        { "Effect": "Allow", "Action": "iot:Connect",
          "Resource": "arn:aws:iot:eu-west-1:123456789012:client/${iot:Connection.Thing.ThingName}" },
        { "Effect": "Allow", "Action": ["iot:Publish", "iot:Subscribe", "iot:Receive"],
          "Resource": "arn:aws:iot:eu-west-1:123456789012:topic*/hall/*" },
    ]);
    let document = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
    call(&site, "POST", "/policies/hall", "", &json!({ "policyDocument": document })).await;
    call(&site, "PUT", "/target-policies/hall", "", &json!({ "target": arn })).await;
    call(&site, "POST", "/things/press-4", "", &json!({})).await;
    call(&site, "PUT", "/things/press-4/principals", arn, &Value::Null).await;
    let mut device = connect(&site, &ca, &keys, "press-4").await.unwrap();
    assert_eq!(publish(&mut device, "hall/light", "on").await, Ok(()));
    assert_eq!(publish(&mut device, "telemetry/press-4", "{}").await, Err(PublishError::NotAuthorized));
    let stranger = connect(&site, &ca, &keys, "press-5").await;
    assert!(matches!(stranger, Err(ClientError::ConnectRefused { code: 0x87 })), "{stranger:?}");

    // What is attached counts from the next message on.
    call(&site, "POST", "/target-policies/hall", "", &json!({ "target": arn })).await;
    assert_eq!(publish(&mut device, "hall/light", "on").await, Err(PublishError::NotAuthorized));
    call(&site, "PUT", "/target-policies/hall", "", &json!({ "target": arn })).await;
    assert_eq!(publish(&mut device, "hall/light", "on").await, Ok(()));

    call(&site, "PUT", &format!("/certificates/{id}?newStatus=REVOKED"), "", &Value::Null).await;
    let ended = loop {
        match tokio::time::timeout(PATIENCE, device.next()).await.expect("the connection ends") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(!matches!(ended, ClientError::PingTimeout), "{ended:?}");
    let refused = connect(&site, &ca, &keys, "press-4").await;
    assert!(matches!(refused, Err(ClientError::ConnectRefused { code: 0x87 })), "{refused:?}");
    // Deleted it is unknown, and still stays out.
    call(&site, "POST", "/target-policies/hall", "", &json!({ "target": arn })).await;
    call(&site, "DELETE", "/things/press-4/principals", arn, &Value::Null).await;
    call(&site, "DELETE", &format!("/certificates/{id}"), "", &Value::Null).await;
    let refused = connect(&site, &ca, &keys, "AWS-IoT-Certificate").await;
    assert!(matches!(refused, Err(ClientError::ConnectRefused { code: 0x87 })), "{refused:?}");
    site.server.stop().await;
}

/// A thing with a certificate and the built-in policies, of which a gateway has both.
async fn issued(site: &Site, thing: &str, is_gateway: bool) -> Value {
    let keys = call(site, "POST", "/keys-and-certificate?setAsActive=true", "", &Value::Null).await;
    let arn = keys["certificateArn"].as_str().unwrap();
    call(site, "POST", &format!("/things/{thing}"), "", &json!({})).await;
    call(site, "PUT", &format!("/things/{thing}/principals"), arn, &Value::Null).await;
    for policy in ["device", "gateway"].iter().take(if is_gateway { 2 } else { 1 }) {
        call(site, "PUT", &format!("/target-policies/{policy}"), "", &json!({ "target": arn })).await;
    }
    keys
}

async fn with_policies() -> (Site, String) {
    let (site, ca) = secure().await;
    for (name, document) in [("device", builtin::DEVICE), ("gateway", builtin::GATEWAY)] {
        let body = json!({ "policyDocument": document });
        call(&site, "POST", &format!("/policies/{name}"), "", &body).await;
    }
    (site, ca)
}

/// Each gateway could push to every other one, by the policy that every gateway has.
#[tokio::test]
async fn a_gateway_configures_itself_and_devices_and_no_other_gateway() {
    let (site, ca) = with_policies().await;
    let keys = issued(&site, "gw-1", true).await;
    issued(&site, "gw-2", true).await;
    issued(&site, "press-4", false).await;
    let mut gateway = connect(&site, &ca, &keys, "gw-1").await.unwrap();
    let update = r#"{"state": {"desired": {"config": {}}}}"#;
    let refused = Err(PublishError::NotAuthorized);
    for (thing, expected) in [("gw-1", Ok(())), ("press-4", Ok(())), ("lamp", Ok(())), ("gw-2", refused)] {
        let topic = format!("$aws/things/{thing}/shadow/name/config/update");
        assert_eq!(publish(&mut gateway, &topic, update).await, expected, "{thing}");
        let topic = format!("$aws/commands/things/{thing}/executions/1/response/json");
        let answered = publish(&mut gateway, &topic, r#"{"status": "SUCCEEDED"}"#).await;
        assert_eq!(answered == Err(PublishError::NotAuthorized), thing == "gw-2", "{thing}: {answered:?}");
    }
    let shadow = super::shadows::http(&site, axum::http::Method::GET, "/things/gw-2/shadow?name=config", "");
    assert_eq!(shadow.await.0, 404);
    site.server.stop().await;
}

/// A session was anybody's who said its client identifier.
#[tokio::test]
async fn a_session_goes_to_the_next_certificate_of_its_thing_and_to_no_other() {
    let (site, ca) = secure().await;
    let anyone = json!([{ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }]);
    let document = json!({ "Version": "2012-10-17", "Statement": anyone }).to_string();
    call(&site, "POST", "/policies/device", "", &json!({ "policyDocument": document })).await;
    let own = issued(&site, "press-4", false).await;
    let other = issued(&site, "press-5", false).await;
    let mut device = connect(&site, &ca, &own, "press-4").await.unwrap();
    let refused = connect(&site, &ca, &other, "press-4").await;
    assert!(matches!(refused, Err(ClientError::ConnectRefused { code: 0x87 })), "{refused:?}");
    assert_eq!(publish(&mut device, "site/light", "on").await, Ok(()));
    // Its next certificate is the thing's as well.
    let next_keys = call(&site, "POST", "/keys-and-certificate?setAsActive=true", "", &Value::Null).await;
    let arn = next_keys["certificateArn"].as_str().unwrap();
    call(&site, "PUT", "/things/press-4/principals", arn, &Value::Null).await;
    call(&site, "PUT", "/target-policies/device", "", &json!({ "target": arn })).await;
    let mut renewed = connect(&site, &ca, &next_keys, "press-4").await.unwrap();
    assert_eq!(publish(&mut renewed, "site/light", "on").await, Ok(()));
    site.server.stop().await;
}

/// A revoked certificate had a last word: its will.
#[tokio::test]
async fn the_will_of_a_revoked_certificate_is_not_published() {
    let (site, ca) = with_policies().await;
    let keys = issued(&site, "press-4", false).await;
    let mut watcher = site.mqtt("watcher").await;
    watcher.subscribe(&[("site/#", QoS::AtLeastOnce)]).unwrap();
    while !matches!(next(&mut watcher).await, Event::Subscribed { .. }) {}
    let mut options = options(&site, &ca, &keys, "press-4");
    options.will = Some(Message::new("site/will", "gone", QoS::AtLeastOnce));
    let mut device = Connection::open(&options).await.unwrap();
    let id = keys["certificateId"].as_str().unwrap();
    call(&site, "PUT", &format!("/certificates/{id}?newStatus=REVOKED"), "", &Value::Null).await;
    while tokio::time::timeout(PATIENCE, device.next()).await.expect("the connection ends").is_ok() {}
    let refused = "fieldline_mqtt_messages_refused_total 1";
    let counted = async {
        while !Api::new(&site.url()).unwrap().get_text("/metrics").await.unwrap().contains(refused) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the will is counted as refused");
    assert_eq!(publish(&mut site.mqtt("other").await, "site/mark", "x").await, Ok(()));
    loop {
        if let Event::Message { message, .. } = next(&mut watcher).await {
            assert_eq!(&*message.topic, "site/mark");
            break;
        }
    }
    site.server.stop().await;
}

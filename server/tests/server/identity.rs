//! A certificate that is registered: its thing, its policies, and the end of it.

use axum::http::Request;
use fieldline_server::certs;

use super::*;

/// A request to the control plane, as `principal` where one is given.
async fn call(site: &Site, method: &str, path: &str, principal: &str, body: &Value) -> Value {
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

async fn connect(site: &Site, ca: &str, keys: &Value, client_id: &str) -> Result<Connection, ClientError> {
    let port = site.server.mqtts_address().unwrap().port();
    let mut options = ClientOptions::new("127.0.0.1", port, client_id);
    let pem = |value: &Value| Some(value.as_str().unwrap().as_bytes().to_vec());
    options.tls = Some(TlsClient {
        ca: ca.as_bytes().to_vec(),
        certificate: pem(&keys["certificatePem"]),
        key: pem(&keys["keyPair"]["PrivateKey"]),
        ..TlsClient::default()
    });
    Connection::open(&options).await
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

//! The registry by AWS's control plane and by the API, and devices that appear in it.

use std::collections::BTreeMap;

use axum::http::Method;
use fieldline_server::config::Devices;

use super::*;

/// Status, the error's type, and the body.
type Answer = (u16, String, Value);

/// A request with header lines.
async fn ask(site: &Site, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = axum::http::Request::builder().method(method).uri(format!("{}{path}", site.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default())
}

async fn post(site: &Site, path: &str, body: Value) -> Answer {
    ask(site, Method::POST, path, &[], &body).await
}

async fn fetch(site: &Site, path: &str) -> Answer {
    ask(site, Method::GET, path, &[], &Value::Null).await
}

/// Done, or the test fails.
async fn done(site: &Site, method: Method, path: &str, body: Value) -> Value {
    let (status, kind, answer) = ask(site, method.clone(), path, &[], &body).await;
    assert_eq!(status, 200, "{method} {path}: {kind} {answer}");
    answer
}

/// A self-signed certificate, PEM.
fn certificate(name: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// Everything that AWS's paths say of what [`everything_is_there_after_a_restart`] has made.
async fn everything(site: &Site, certificate_id: &str) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    let certificate = format!("/certificates/{certificate_id}");
    for path in [
        "/things",
        "/things/press-4",
        "/things/press-4/principals",
        "/things/press-4/thing-groups",
        "/thing-types",
        "/thing-groups",
        "/thing-groups/hall-7",
        "/thing-groups/hall-7/things",
        "/certificates",
        &certificate,
        "/policies",
        "/policies/press/version",
    ] {
        let (status, kind, answer) = fetch(site, path).await;
        assert_eq!(status, 200, "{path}: {kind} {answer}");
        told.insert(path.to_owned(), answer);
    }
    told
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let site = Site::start().await;
    let post = Method::POST;
    done(&site, post.clone(), "/thing-types/press", json!({})).await;
    let attributes = json!({ "attributes": { "hall": "7", "line": "2", "a": "1", "b": "1" } });
    let thing = json!({ "thingTypeName": "press", "attributePayload": attributes });
    let created = done(&site, post.clone(), "/things/press-4", thing).await;
    assert_eq!(created["thingArn"], "arn:aws:iot:local:000000000000:thing/press-4");
    done(&site, post.clone(), "/thing-groups/site", json!({})).await;
    done(&site, post.clone(), "/thing-groups/hall-7", json!({ "parentGroupName": "site" })).await;
    let member = json!({ "thingName": "press-4", "thingGroupName": "hall-7" });
    done(&site, Method::PUT, "/thing-groups/addThingToThingGroup", member).await;
    let pem = json!({ "certificatePem": certificate("press-4"), "status": "ACTIVE" });
    let registered = done(&site, post.clone(), "/certificate/register-no-ca", pem).await;
    let arn = registered["certificateArn"].as_str().unwrap();
    let statement = json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" });
    let document = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
    let document = json!({ "policyDocument": document });
    done(&site, post.clone(), "/policies/press", document.clone()).await;
    done(&site, post.clone(), "/policies/press/version?setAsDefault=true", document).await;
    done(&site, Method::PUT, "/target-policies/press", json!({ "target": arn })).await;
    let principal = [("x-amzn-principal", arn)];
    let attached = ask(&site, Method::PUT, "/things/press-4/principals", &principal, &Value::Null).await;
    assert_eq!(attached.0, 200, "{attached:?}");

    let id = registered["certificateId"].as_str().unwrap();
    let before = everything(&site, id).await;
    assert_eq!(before["/things/press-4/principals"]["principals"], json!([arn]));
    let site = site.restart().await;
    assert_eq!(everything(&site, id).await, before);

    let api = fetch(&site, "/api/v1/things/press-4").await.2;
    assert_eq!(api["certificates"][0]["policies"], json!(["press"]));
    assert_eq!((&api["type"], &api["groups"]), (&json!("press"), &json!(["hall-7"])));
    let targets = done(&site, post.clone(), "/policy-targets/press", Value::Null).await;
    assert_eq!(targets["targets"], json!([arn]));
    let attached = format!("/attached-policies/{}", fieldline_server::client::encoded(arn));
    let policies = done(&site, post, &attached, Value::Null).await;
    assert_eq!(policies["policies"][0]["policyName"], "press");
    site.server.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_said_as_aws_says_it() {
    let site = Site::start().await;
    done(&site, Method::POST, "/things/a", json!({})).await;
    let typed = json!({ "thingTypeName": "none" });
    let other = json!({ "attributePayload": { "attributes": { "x": "1" } } });
    let wrong_version = json!({ "expectedVersion": 9 });
    let no_document = json!({ "policyDocument": "{" });
    let no_certificate =
        json!({ "certificatePem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" });
    let null = Value::Null;
    let unknown = format!("/certificates/{}", "0".repeat(64));
    let cases: [(Method, &str, &Value, u16, &str); 15] = [
        (Method::GET, "/things/none", &null, 404, "ResourceNotFoundException"),
        (Method::POST, "/things/b", &typed, 404, "ResourceNotFoundException"),
        (Method::POST, "/things/a", &other, 409, "ResourceAlreadyExistsException"),
        (Method::PATCH, "/things/a", &wrong_version, 409, "VersionConflictException"),
        (Method::POST, "/things/a%20b", &null, 400, "InvalidRequestException"),
        (Method::POST, "/things/b", &json!([1]), 400, "InvalidRequestException"),
        (Method::GET, "/things?maxResults=251", &null, 400, "InvalidRequestException"),
        (Method::GET, "/things?nextToken=%25", &null, 400, "InvalidRequestException"),
        (Method::GET, &unknown, &null, 404, "ResourceNotFoundException"),
        (Method::PUT, "/certificates/x?newStatus=ACTIVE", &null, 400, "InvalidRequestException"),
        (Method::POST, "/certificate/register", &no_certificate, 400, "CertificateValidationException"),
        (Method::POST, "/policies/p", &no_document, 400, "MalformedPolicyException"),
        (Method::DELETE, "/policies/p", &null, 404, "ResourceNotFoundException"),
        (Method::PUT, "/things/a/principals", &null, 400, "InvalidRequestException"),
        (Method::POST, "/keys-and-certificate", &null, 400, "InvalidRequestException"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, kind, answer) = ask(&site, method.clone(), path, &[], body).await;
        assert_eq!((found, kind.as_str()), (status, code), "{method} {path}: {answer}");
        assert!(answer["message"].is_string(), "{answer}");
    }
    let exists = post(&site, "/things/a", other).await.2;
    assert_eq!(exists["resourceArn"], "arn:aws:iot:local:000000000000:thing/a");
    assert_eq!(exists["resourceId"], done(&site, Method::GET, "/things/a", Value::Null).await["thingId"]);
    let no_authority = post(&site, "/keys-and-certificate", Value::Null).await.2;
    assert!(no_authority["message"].as_str().unwrap().contains("fieldline certs init"));
    for path in ["/things/c", "/api/v1/things"] {
        let page = [("origin", "https://evil.example"), ("content-type", "application/json")];
        let told = ask(&site, Method::POST, path, &page, &json!({ "thing": "c" })).await;
        assert_eq!(told.0, 403, "{path}: {told:?}");
    }
    assert_eq!(fetch(&site, "/things/c").await.0, 404);
    site.server.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let site = Site::start().await;
    let names: Vec<String> = (0..60).map(|n| format!("t-{n:02}")).collect();
    for name in &names {
        done(&site, Method::POST, &format!("/things/{name}"), Value::Null).await;
    }
    let (mut found, mut path, mut pages) = (Vec::new(), "/things?maxResults=7".to_owned(), 0);
    loop {
        let page = done(&site, Method::GET, &path, Value::Null).await;
        let things = page["things"].as_array().unwrap();
        found.extend(things.iter().map(|thing| thing["thingName"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(token) = page["nextToken"].as_str() else { break };
        path = format!("/things?maxResults=7&nextToken={}", fieldline_server::client::encoded(token));
    }
    assert_eq!((found, pages), (names, 9));
    let page = done(&site, Method::GET, "/things", Value::Null).await;
    assert_eq!(page["things"].as_array().unwrap().len(), 25);
    let all = done(&site, Method::GET, "/api/v1/things?limit=59", Value::Null).await;
    assert_eq!((all["things"].as_array().unwrap().len(), &all["next"]), (59, &json!("t-58")));
    site.server.stop().await;
}

/// Waits until a thing is there.
async fn appeared(site: &Site, thing: &str) -> Value {
    let asking = async {
        loop {
            let (status, _, answer) = fetch(site, &format!("/api/v1/things/{thing}")).await;
            if status == 200 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test]
async fn devices_that_publish_become_things() {
    let site = Site::start().await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, "$aws/rules/fieldline_ingest/gw-1", block("gw-1", 1, 4)).await.unwrap();
    assert_eq!(appeared(&site, "press-4").await["attributes"], json!({ "gateway": "gw-1" }));
    publish(&mut gateway, "telemetry/oven-1", r#"{"temperature": 200}"#).await.unwrap();
    assert_eq!(appeared(&site, "oven-1").await["attributes"], json!({ "gateway": "server" }));
    // What was removed appears with the next reading.
    let (status, ..) = ask(&site, Method::DELETE, "/api/v1/things/oven-1", &[], &Value::Null).await;
    assert_eq!(status, 204);
    let (status, _, problem) = ask(&site, Method::DELETE, "/api/v1/things/oven-1", &[], &Value::Null).await;
    assert_eq!((status, &problem["detail"]), (404, &json!("Thing oven-1 cannot be found.")));
    publish(&mut gateway, "telemetry/oven-1", r#"{"temperature": 201}"#).await.unwrap();
    assert_eq!(appeared(&site, "oven-1").await["version"], 1);
    site.server.stop().await;
}

#[tokio::test]
async fn where_only_known_devices_may_publish_others_are_refused_but_not_a_gateways_blocks() {
    let site = Site::start_with(|config| config.registry.devices = Devices::Known).await;
    let mut client = site.mqtt("device").await;
    let reading = r#"{"temperature": 200}"#;
    let refused = publish(&mut client, "telemetry/oven-1", reading).await;
    assert_eq!(refused, Err(PublishError::NotAuthorized));
    let (status, problem) = site.post("/telemetry/oven-1", reading).await;
    assert_eq!((status, &problem["title"]), (403, &json!("unknown device")));
    let lines = "m,device=oven-2 t=1 1767225600000000000\nm,device=oven-1 t=1 1767225600000000000";
    assert_eq!(site.post("/api/v2/write", lines).await.0, 403);
    let new = json!({ "thing": "oven-1", "attributes": { "hall": "7" } });
    let headers = [("content-type", "application/json")];
    let (status, _, answer) = ask(&site, Method::POST, "/api/v1/things", &headers, &new).await;
    assert_eq!((status, &answer["attributes"]["hall"]), (201, &json!("7")));
    publish(&mut client, "telemetry/oven-1", reading).await.unwrap();
    assert_eq!(site.post("/telemetry/oven-1", reading).await.0, 204);

    publish(&mut client, "$aws/rules/fieldline_ingest/gw-1", block("gw-1", 1, 4)).await.unwrap();
    assert_eq!(site.points("press-4", "temperature").await.as_array().unwrap().len(), 4);
    assert_eq!(fetch(&site, "/things/press-4").await.0, 404);
    let metrics = text(&site, "/metrics").await;
    assert!(metrics.contains("fieldline_refused_total{reason=\"unknown-device\"} 4"), "{metrics}");
    site.server.stop().await;
}

async fn text(site: &Site, path: &str) -> String {
    Api::new(&site.url()).unwrap().get_text(path).await.unwrap()
}

#[tokio::test]
async fn the_endpoint_is_the_host_that_was_asked_or_the_one_configured() {
    let site = Site::start().await;
    let told = done(&site, Method::GET, "/endpoint?endpointType=iot:Data-ATS", Value::Null).await;
    assert_eq!(told["endpointAddress"], "127.0.0.1");
    assert_eq!(fetch(&site, "/endpoint?endpointType=iot:Jobs").await.0, 400);
    site.server.stop().await;
    let site = Site::start_with(|config| config.registry.endpoint = Some("iot.site".to_owned())).await;
    assert_eq!(fetch(&site, "/endpoint").await.2["endpointAddress"], "iot.site");
    site.server.stop().await;
}

//! `POST /topics/<topic>` as AWS's data plane has it.

use axum::http::{HeaderMap, Request};
use serde_json::json;

use super::*;

/// Posts with headers; gives status, headers and body.
async fn post(site: &Site, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, HeaderMap, Value) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::post(format!("{}{path}", site.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_publish_reaches_subscribers_with_everything_it_carries() {
    let site = Site::start().await;
    let mut listener = site.mqtt("listener").await;
    listener.subscribe(&[("hall/#", QoS::AtLeastOnce)]).unwrap();
    next(&mut listener).await;
    let user = "W3siYSI6ICIxIn0sIHsiYiI6ICIyIn1d"; // [{"a": "1"}, {"b": "2"}]
    let headers = [
        ("x-amz-mqtt5-user-properties", user),
        ("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA"),
        ("x-amz-mqtt5-correlation-data", "AQI="),
    ];
    let query = "qos=1&retain=true&contentType=text%2Fplain&responseTopic=re%2Fply&messageExpiry=60";
    let (status, _, answer) =
        post(&site, &format!("/topics/hall%2Fdoor%201?{query}"), &headers, b"open".to_vec()).await;
    assert_eq!((status, &answer["message"]), (200, &json!("OK")));
    assert_eq!(answer["traceId"].as_str().unwrap().len(), 36);
    let Event::Message { message, .. } = next(&mut listener).await else { panic!() };
    assert_eq!(
        (&*message.topic, &*message.payload, message.qos),
        ("hall/door 1", &b"open"[..], QoS::AtLeastOnce)
    );
    let properties = message.properties.unwrap();
    assert_eq!(properties.utf8, Some(true));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.as_deref(), Some("re/ply"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&[1, 2][..]));
    assert_eq!(properties.user, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    let mut late = site.mqtt("late").await;
    late.subscribe(&[("hall/#", QoS::AtMostOnce)]).unwrap();
    next(&mut late).await;
    let Event::Message { message, .. } = next(&mut late).await else { panic!() };
    assert!(message.retain);
    site.server.stop().await;
}

#[tokio::test]
async fn basic_ingest_and_telemetry_go_the_way_of_an_mqtt_publish() {
    let site = Site::start().await;
    let path = "/topics/$aws/rules/fieldline_ingest/gw-1?qos=1";
    assert_eq!(post(&site, path, &[], block("gw-1", 1, 4)).await.0, 200);
    assert_eq!(site.points("press-4", "temperature").await.as_array().unwrap().len(), 4);
    let (status, headers, _) = post(&site, path, &[], b"no block".to_vec()).await;
    assert_eq!((status, &headers["x-amzn-errortype"]), (400, &"InvalidRequestException".parse().unwrap()));
    assert_eq!(post(&site, "/topics/telemetry%2Fd", &[], br#"{"t": 5, "ts": 1}"#.to_vec()).await.0, 200);
    assert_eq!(site.points("d", "t").await, json!([[1, 5]]));
    site.server.stop().await;
}

#[tokio::test]
async fn errors_are_those_of_aws() {
    let site = Site::start().await;
    let long = format!("/topics/{}", "x".repeat(257));
    let table = [
        (long.as_str(), 400, "InvalidRequestException"),
        ("/topics/a/b/c/d/e/f/g/h/i", 400, "InvalidRequestException"),
        ("/topics/%24aws%2Fthings%2Fx%2Fshadow%2Fupdate", 400, "InvalidRequestException"),
        ("/topics/$SYS/x", 400, "InvalidRequestException"),
        ("/topics/a%2F%2B", 400, "InvalidRequestException"),
        ("/topics/%ff", 400, "InvalidRequestException"),
        ("/topics/a?qos=2", 400, "InvalidRequestException"),
        ("/topics/a?qos=x", 400, "InvalidRequestException"),
        ("/topics/fieldline%2Fgw-1%2Fack", 403, "ForbiddenException"),
    ];
    for (path, status, code) in table {
        let (told, headers, body) = post(&site, path, &[], b"x".to_vec()).await;
        assert_eq!((told, headers["x-amzn-errortype"].to_str().unwrap()), (status, code), "{path}: {body}");
        assert!(body["message"].is_string() && body["traceId"].is_string(), "{body}");
    }
    for header in [
        ("x-amz-mqtt5-user-properties", "%"),
        ("x-amz-mqtt5-user-properties", "e30="),
        ("x-amz-mqtt5-payload-format-indicator", "x"),
        ("origin", "http://example.test"),
    ] {
        assert!(matches!(post(&site, "/topics/a", &[header], vec![]).await.0, 400 | 403), "{header:?}");
    }
    assert_eq!(post(&site, "/topics/a", &[], vec![b'x'; 128 * 1024]).await.0, 200);
    let (status, headers, _) = post(&site, "/topics/a", &[], vec![b'x'; 128 * 1024 + 1]).await;
    assert_eq!(
        (status, &headers["x-amzn-errortype"]),
        (413, &"RequestEntityTooLargeException".parse().unwrap())
    );
    site.server.stop().await;
}

#[tokio::test]
async fn retained_messages_are_listed_and_read() {
    let site = Site::start().await;
    for topic in ["hall/a", "hall/b", "hall/c"] {
        let user = [("x-amz-mqtt5-user-properties", "W3siYSI6ICIxIn1d")]; // [{"a": "1"}]
        let path = format!("/topics/{topic}?qos=1&retain=true");
        assert_eq!(post(&site, &path, &user, topic.as_bytes().to_vec()).await.0, 200);
    }
    let one = site.get("/retainedMessage/hall%2Fb").await;
    assert_eq!(
        (&one["topic"], &one["payload"], &one["qos"]),
        (&json!("hall/b"), &json!("aGFsbC9i"), &json!(1))
    );
    assert_eq!(one["userProperties"], "W3siYSI6IjEifV0=");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    assert!((now - one["lastModifiedTime"].as_i64().unwrap()).abs() < 60_000, "{one}");
    let first = site.get("/retainedMessage?maxResults=2").await;
    let topics = |page: &Value| -> Vec<String> {
        let topics = page["retainedTopics"].as_array().unwrap();
        topics.iter().map(|topic| topic["topic"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (topics(&first), &first["retainedTopics"][0]["payloadSize"]),
        (vec!["hall/a".into(), "hall/b".into()], &json!(6))
    );
    let token = first["nextToken"].as_str().unwrap();
    let second = site.get(&format!("/retainedMessage?maxResults=2&nextToken={token}")).await;
    assert_eq!((topics(&second), second.get("nextToken")), (vec!["hall/c".into()], None));
    for (path, status) in [("/hall/none", 404), ("?maxResults=0", 400), ("?nextToken=%25", 400)] {
        let answer =
            shadows::http(&site, axum::http::Method::GET, &format!("/retainedMessage{path}"), "").await;
        assert_eq!(answer.0, status, "{path}");
    }
    site.server.stop().await;
}

//! `--functions`: the broker here, the functions elsewhere.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::stand_in::{Act, Call, StandIn};
use super::*;

const INGEST: &str = "$aws/rules/fieldline_ingest/gw-1";

async fn site(functions: &StandIn) -> Site {
    site_with(functions, |_| {}).await
}

async fn site_with(functions: &StandIn, change: impl FnOnce(&mut Config)) -> Site {
    Site::start_with(|config| {
        config.functions = Some(functions.endpoint.clone());
        change(config);
    })
    .await
}

fn payload(call: &Call) -> Vec<u8> {
    STANDARD.decode(call.event["block"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_block_is_acknowledged_when_its_invocation_is_taken_and_not_before() {
    let mut functions = StandIn::start().await;
    let (open, gate) = oneshot::channel();
    functions.then([Act::Gate(gate)]);
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    let sent = block("gw-1", 1, 4);
    gateway.publish(INGEST, sent.clone().into(), QoS::AtLeastOnce, false).unwrap();
    assert!(gateway.next().now_or_never().is_none());
    let call = tokio::select! {
        call = functions.calls.recv() => call.unwrap(),
        event = gateway.next() => panic!("{event:?} before the function was called"),
    };
    // Others are not held up, and this one is still not acknowledged after them.
    let mut other = site.mqtt("gw-2").await;
    publish(&mut other, "$aws/rules/fieldline_ingest/gw-2", block("gw-2", 1, 2)).await.unwrap();
    publish(&mut other, "hall/door", "open").await.unwrap();
    assert!(gateway.next().now_or_never().is_none());
    open.send(()).unwrap();
    assert!(matches!(next(&mut gateway).await, Event::Published(_)));

    assert_eq!((call.function.as_str(), call.mode.as_str()), ("ingest", "Event"));
    assert_eq!(payload(&call), sent);
    assert_eq!(call.event["gateway"], "gw-1");
    assert!(call.event["received"].as_i64().unwrap() > 1_767_225_600_000, "{}", call.event);
    assert_eq!(call.event.as_object().unwrap().len(), 3);
    site.server.stop().await;
}

#[tokio::test]
async fn books_go_the_same_way_and_unknown_rules_nowhere() {
    let functions = StandIn::start().await;
    functions.then([Act::TakeAtOnce]);
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, "$aws/rules/fieldline_books/gw-1", r#"{"any": 1}"#).await.unwrap();
    publish(&mut gateway, "$aws/rules/another/gw-1", "x").await.unwrap();
    let taken = functions.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].event["books"], STANDARD.encode(r#"{"any": 1}"#));
    site.server.stop().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_also_when_it_had_been_taken() {
    let functions = StandIn::start().await;
    functions.then([
        Act::Fail(500),
        Act::Fail(429),
        Act::FunctionError,
        Act::Hang,
        Act::TakeAndFail(502),
        Act::TakeAndHang,
    ]);
    let site = site_with(&functions, |config| config.invoke.timeout_ms = 100).await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, INGEST, block("gw-1", 1, 4)).await.unwrap();
    let taken = functions.taken();
    assert_eq!(taken.len(), 3, "twice taken without an answer, and once with");
    assert!(taken.iter().all(|call| payload(call) == block("gw-1", 1, 4)));
    site.server.stop().await;
}

#[tokio::test]
async fn what_is_not_taken_is_refused_and_may_come_again() {
    let functions = StandIn::start().await;
    // A function that is not there: trying again soon would not help.
    functions.then([Act::Fail(404), Act::Fail(413)]);
    let site = site_with(&functions, |config| config.invoke.patience_ms = 300).await;
    let mut gateway = site.mqtt("gw-1").await;
    for _ in 0..2 {
        let answer = publish(&mut gateway, INGEST, block("gw-1", 1, 4)).await;
        assert_eq!(answer, Err(PublishError::ImplementationSpecific));
    }
    functions.then((0..50).map(|_| Act::Fail(503)));
    let answer = publish(&mut gateway, INGEST, block("gw-1", 1, 4)).await;
    assert_eq!(answer, Err(PublishError::ImplementationSpecific), "failing longer than the patience");
    assert!(functions.taken().is_empty());
    site.server.stop().await;

    let functions = StandIn::start().await;
    let site = site_with(&functions, |config| {
        config.functions = Some("http://127.0.0.1:9".parse().unwrap());
        config.invoke.patience_ms = 300;
    })
    .await;
    let mut gateway = site.mqtt("gw-1").await;
    let answer = publish(&mut gateway, INGEST, block("gw-1", 1, 4)).await;
    assert_eq!(answer, Err(PublishError::ImplementationSpecific), "nobody listens there");
    let metrics = Api::new(&site.url()).unwrap().get_text("/metrics").await.unwrap();
    assert!(metrics.contains("fieldline_deferred_total 1"), "{metrics}");
    site.server.stop().await;
}

#[tokio::test]
async fn a_mqtt_3_client_gets_no_puback_for_what_was_not_taken() {
    let functions = StandIn::start().await;
    functions.then([Act::Fail(404)]);
    let site = site(&functions).await;
    let port = site.server.mqtt_address().unwrap().port();
    let mut options = ClientOptions::new("127.0.0.1", port, "gw-1");
    options.version = fieldline_mqtt::Version::V3_1_1;
    let mut gateway = Connection::open(&options).await.unwrap();
    let first =
        gateway.publish(INGEST, block("gw-1", 1, 4).into(), QoS::AtLeastOnce, false).unwrap().unwrap();
    let second = gateway.publish("hall/door", "open".into(), QoS::AtLeastOnce, false).unwrap().unwrap();
    // PUBACKs come in order, so the first one's would have come before.
    assert_eq!(next(&mut gateway).await, Event::Published(second), "not {first:?}");
    assert!(functions.taken().is_empty());
    site.server.stop().await;
}

/// Publishes blocks, up to the window at a time, and sends again what is refused, as an agent does.
/// Gives the first numbers of the blocks in the order of their acknowledgements.
async fn push_through(gateway: &mut Connection, count: u64) -> Vec<u64> {
    let mut waiting: Vec<u64> = (0..count).rev().collect();
    let mut in_flight = Vec::new();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < count as usize {
        while gateway.vacancy() > 0
            && let Some(number) = waiting.pop()
        {
            let bytes = block("gw-1", number * 10 + 1, number * 10 + 10).into();
            let token = gateway.publish(INGEST, bytes, QoS::AtLeastOnce, false).unwrap().unwrap();
            in_flight.push((token, number));
        }
        let (token, taken) = match next(gateway).await {
            Event::Published(token) => (token, true),
            Event::Refused(token, _) => (token, false),
            other => panic!("{other:?}"),
        };
        let index = in_flight.iter().position(|(sent, _)| *sent == token).unwrap();
        let (_, number) = in_flight.remove(index);
        if taken { acknowledged.push(number) } else { waiting.push(number) }
    }
    acknowledged
}

fn first_number(call: &Call) -> u64 {
    let decoded = fieldline_wire::Block::decode(&payload(call), &Default::default()).unwrap();
    (decoded.first_seq - 1) / 10
}

#[tokio::test]
async fn a_gateways_blocks_arrive_in_the_order_sent() {
    let functions = StandIn::start().await;
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    let acknowledged = push_through(&mut gateway, 300).await;
    assert_eq!(acknowledged, (0..300).collect::<Vec<_>>());
    let arrived: Vec<u64> = functions.taken().iter().map(first_number).collect();
    assert_eq!(arrived, acknowledged);
    site.server.stop().await;
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_taken() {
    let functions = StandIn::start().await;
    // A fixed mixture; each is one of 7 calls.
    functions.then((0..200_u32).map(|n| match n.wrapping_mul(2_654_435_761) >> 29 {
        0 => Act::Fail(404),
        1 => Act::Fail(500),
        2 => Act::TakeAndFail(500),
        3 => Act::FunctionError,
        4 if n % 16 == 0 => Act::Hang,
        4 if n % 16 == 1 => Act::TakeAndHang,
        5 => Act::TakeAtOnce,
        _ => Act::Take(None),
    }));
    let site = site_with(&functions, |config| {
        config.invoke.timeout_ms = 50;
        config.invoke.patience_ms = 900;
    })
    .await;
    let mut gateway = site.mqtt("gw-1").await;
    let acknowledged = push_through(&mut gateway, 60).await;
    let taken: BTreeSet<u64> = functions.taken().iter().map(first_number).collect();
    assert!(acknowledged.iter().all(|number| taken.contains(number)));
    assert_eq!(taken, (0..60).collect());
    site.server.stop().await;
}

#[tokio::test]
async fn calls_under_way_and_bytes_that_wait_are_bounded() {
    let mut functions = StandIn::start().await;
    let (gates, acts): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
    functions.then(acts.into_iter().map(Act::Gate));
    let site = site_with(&functions, |config| {
        config.invoke.in_flight_max = 2;
        config.mqtt.limits.packet_bytes_max = 4096;
        config.mqtt.waiting_bytes_max = 4096;
    })
    .await;
    let mut gateways = Vec::new();
    for number in 0..6 {
        let name = format!("gw-{number}");
        let mut gateway = site.mqtt(&name).await;
        let topic = format!("$aws/rules/fieldline_ingest/{name}");
        gateway.publish(&topic, vec![7; 300].into(), QoS::AtLeastOnce, false).unwrap();
        gateway.flush().await.unwrap();
        gateways.push(gateway);
    }
    for _ in 0..2 {
        functions.calls.recv().await.unwrap();
    }
    // Five of about 812 bytes fit under the bound; one was refused, whichever came last.
    let refused = {
        let waiting = gateways.iter_mut().map(|gateway| Box::pin(next(gateway)));
        futures_util::future::select_all(waiting).await.0
    };
    assert!(matches!(refused, Event::Refused(_, PublishError::QuotaExceeded)), "{refused:?}");
    gates.into_iter().for_each(|gate| gate.send(()).unwrap());
    for _ in 0..3 {
        functions.calls.recv().await.unwrap();
    }
    assert_eq!(functions.under_way_max(), 2);
    site.server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_function_that_hangs_and_acknowledges_nothing() {
    let mut functions = StandIn::start().await;
    functions.then([Act::Hang]);
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    gateway.publish(INGEST, block("gw-1", 1, 2).into(), QoS::AtLeastOnce, false).unwrap();
    gateway.flush().await.unwrap();
    functions.calls.recv().await.unwrap();
    tokio::time::timeout(PATIENCE, site.server.stop()).await.unwrap();
    let told = gateway.next().await;
    assert!(!matches!(told, Ok(Event::Published(_))), "{told:?}");
}

#[tokio::test]
async fn a_payload_beyond_aws_iots_limit_and_telemetry_without_a_gateway_are_refused() {
    let functions = StandIn::start().await;
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    publish(&mut gateway, INGEST, vec![1; 128 * 1024]).await.unwrap();
    let answer = publish(&mut gateway, INGEST, vec![1; 128 * 1024 + 1]).await;
    assert_eq!(answer, Err(PublishError::PayloadFormatInvalid));
    let answer = publish(&mut gateway, "telemetry/d", r#"{"t": 1}"#).await;
    assert_eq!(answer, Err(PublishError::NotAuthorized), "nothing would store it");
    assert_eq!(functions.taken().len(), 1);
    site.server.stop().await;
}

#[tokio::test]
async fn a_query_is_passed_on_and_its_answer_is_the_functions() {
    let functions = StandIn::start().await;
    functions.then([Act::Take(Some(json!({
        "statusCode": 200,
        "headers": {"content-type": "application/json", "x-next": "7"},
        "body": STANDARD.encode(r#"{"points": [[1, 2.5]]}"#),
        "isBase64Encoded": true,
    })))]);
    let site = site(&functions).await;
    let answer = site.get("/api/v1/series?device=press-4&metric=cpu.usage%7Bcore%3D1%7D").await;
    assert_eq!(answer, json!({"points": [[1, 2.5]]}));
    let call = functions.taken().remove(0);
    assert_eq!((call.function.as_str(), call.mode.as_str()), ("query", "RequestResponse"));
    assert_eq!(call.event["rawPath"], "/api/v1/series");
    assert_eq!(call.event["rawQueryString"], "device=press-4&metric=cpu.usage%7Bcore%3D1%7D");
    assert_eq!(call.event["queryStringParameters"]["metric"], "cpu.usage{core=1}");
    let http = &call.event["requestContext"]["http"];
    assert_eq!((&http["method"], &http["sourceIp"]), (&json!("GET"), &json!("127.0.0.1")));

    let problem = json!({"status": 400, "title": "x", "detail": "no such device"}).to_string();
    functions.then([Act::Take(Some(json!({"statusCode": 400, "body": problem})))]);
    let (status, problem) = site.post("/api/v1/devices", "body").await;
    assert_eq!((status, &problem["detail"]), (400, &json!("no such device")));
    assert_eq!(functions.taken().last().unwrap().event["body"], "body");
    site.server.stop().await;
}

#[tokio::test]
async fn a_query_that_fails_is_a_problem_document() {
    let functions = StandIn::start().await;
    let site = site_with(&functions, |config| config.invoke.timeout_ms = 100).await;
    for (act, status, said) in [
        (Act::FunctionError, 502, "out of memory"),
        (Act::Fail(500), 502, "status 500"),
        (Act::Take(Some(json!({"statusCode": 9999}))), 502, "status or headers"),
        (Act::Hang, 504, "no answer"),
    ] {
        functions.then([act]);
        let (told, problem) = site.post("/api/v1/ledger", "").await;
        assert_eq!((told, &problem["status"]), (status, &json!(status)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let (status, problem) = site.post("/api/v2/write", "m v=1").await;
    assert_eq!((status, &problem["title"]), (404, &json!("not found")), "there is no store here");
    let health = Api::new(&site.url()).unwrap().get_text("/healthz").await.unwrap();
    assert_eq!(health, "ok\n");
    site.server.stop().await;
}

#[tokio::test]
async fn the_ack_of_a_storage_elsewhere_reaches_the_gateway() {
    let functions = StandIn::start().await;
    let site = site(&functions).await;
    let mut gateway = site.mqtt("gw-1").await;
    gateway.subscribe(&[("fieldline/gw-1/ack", QoS::AtLeastOnce)]).unwrap();
    next(&mut gateway).await;
    let ack = json!({"epoch": 5, "stored": [[1, 4]]});
    let (status, answer) = site.post("/topics/fieldline%2Fgw-1%2Fack?qos=1", ack.to_string()).await;
    assert_eq!((status, &answer["message"]), (200, &json!("OK")));
    let Event::Message { message, .. } = next(&mut gateway).await else { panic!() };
    assert_eq!(serde_json::from_slice::<Value>(&message.payload).unwrap(), ack);
    // By MQTT it stays the server's own word.
    let answer = publish(&mut gateway, "fieldline/gw-1/ack", ack.to_string()).await;
    assert_eq!(answer, Err(PublishError::NotAuthorized));
    site.server.stop().await;
}

#[tokio::test]
async fn a_block_by_the_data_plane_is_answered_as_its_invocation_is() {
    let functions = StandIn::start().await;
    functions.then([Act::Take(None), Act::Fail(404)]);
    let site = site(&functions).await;
    let path = "/topics/%24aws%2Frules%2Ffieldline_ingest%2Fgw-1?qos=1";
    assert_eq!(site.post(path, block("gw-1", 1, 4)).await.0, 200);
    let (status, answer) = site.post(path, block("gw-1", 5, 6)).await;
    assert_eq!(status, 500, "{answer}");
    assert_eq!(functions.taken().len(), 1);
    site.server.stop().await;
}

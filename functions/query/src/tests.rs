use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fieldline_model::{
    Books, Class, GatewayId, LaneBooks, Quality, RangeSet, ReadingRef, SeqRange, StreamId, Timestamp,
    ValueRef,
};
use fieldline_store::{Ledger, MemoryStore, ReceivedBlock, TimeSeriesStore};
use fieldline_wire::BlockBuilder;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{State, router};

const MINUTE: i64 = 60_000_000_000;

fn gateway() -> GatewayId {
    GatewayId::new("gw-1").unwrap()
}

/// Ten temperatures a minute apart of two presses, and a state of one of them.
async fn filled() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let mut builder = BlockBuilder::new(StreamId { gateway: gateway(), epoch: 7 }, Class::Live, 1);
    let mut push = |device, metric, minute: i64, value| {
        let time = Timestamp::from_nanos(minute * MINUTE);
        builder.push(ReadingRef { device, metric, time, value, quality: Quality::Good });
    };
    for minute in 0..10 {
        push("press-4", "temperature", minute, ValueRef::Float(20.5 + minute as f64));
        push("press-5", "temperature", minute, ValueRef::Integer(minute));
    }
    push("press-4", "running", 3, ValueRef::Boolean(true));
    push("press-4", "mode", 4, ValueRef::Text("auto \"x\""));
    push("press-4", "broken", 5, ValueRef::Float(f64::NAN));
    let block = ReceivedBlock::new(builder.finish().unwrap(), Timestamp::EPOCH);
    store.write(Arc::new(block)).await.unwrap();
    store
}

async fn get(store: &Arc<MemoryStore>, path: &str) -> (StatusCode, String, String) {
    asked(State::new(store.clone(), store.clone(), || Timestamp::from_nanos(99 * MINUTE)), path).await
}

async fn asked(state: State, path: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn answer(path: &str) -> Value {
    let (status, kind, body) = get(&filled().await, path).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn problem(path: &str) -> (StatusCode, String) {
    let (status, kind, body) = get(&filled().await, path).await;
    assert_eq!(kind, "application/problem+json", "{path}: {body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["title"].is_string());
    (status, problem["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn devices_are_listed_by_name() {
    let found = answer("/api/v1/devices").await;
    let devices = found["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0], json!({"device": "press-4", "series": 4, "last": "1970-01-01T00:09:00Z"}));
    let first = answer("/api/v1/devices?limit=1").await;
    assert_eq!(first["next"], "press-4");
    let second = answer("/api/v1/devices?limit=1&next=press-4").await;
    assert_eq!(second["devices"][0]["device"], "press-5");
}

#[tokio::test]
async fn the_latest_value_is_the_newest_by_time() {
    let found = answer("/api/v1/devices/press-4/latest").await;
    assert_eq!(found["device"], "press-4");
    let metric = |name: &str| {
        found["metrics"].as_array().unwrap().iter().find(|entry| entry["metric"] == name).unwrap().clone()
    };
    assert_eq!(metric("temperature")["value"], 29.5);
    assert_eq!(metric("temperature")["time"], "1970-01-01T00:09:00Z");
    assert_eq!(metric("mode")["value"], "auto \"x\"");
    assert_eq!(metric("running")["quality"], "good");
    assert_eq!(metric("broken")["value"], Value::Null);
}

#[tokio::test]
async fn a_series_is_answered_with_its_points() {
    let (_, _, body) =
        get(&filled().await, "/api/v1/series?device=press-4&metric=temperature&to=120000").await;
    assert_eq!(body, r#"{"device":"press-4","metric":"temperature","points":[[0,20.5],[60000,21.5]]}"#);
    let (_, _, body) = get(
        &filled().await,
        "/api/v1/series?device=press-5&metric=temperature&limit=1&precision=ns&from=60000",
    )
    .await;
    assert_eq!(
        body,
        r#"{"device":"press-5","metric":"temperature","points":[[60000000000,1]],"next":"60000000000/press-5/temperature"}"#
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_a_hole() {
    let mut path = "/api/v1/series?device=press-4&metric=temperature&limit=3".to_owned();
    let mut times = Vec::new();
    loop {
        let page = answer(&path).await;
        times.extend(page["points"].as_array().unwrap().iter().map(|point| point[0].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/series?device=press-4&metric=temperature&limit=3&next={next}");
    }
    assert_eq!(times, (0..10).map(|minute| minute * 60_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_ends_where_the_answer_would_be_too_long() {
    let store = filled().await;
    let state = State::new(store.clone(), store, || Timestamp::EPOCH).with_page_bytes_max(200);
    let mut path = "/api/v1/series?device=press-*&metric=*".to_owned();
    let (mut points, mut pages) = (0, 0);
    loop {
        let (_, _, body) = asked(state.clone(), &path).await;
        assert!(body.len() <= 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let series = page["series"].as_array().unwrap();
        points += series.iter().map(|series| series["points"].as_array().unwrap().len()).sum::<usize>();
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/series?device=press-*&metric=*&next={next}");
    }
    assert_eq!(points, 23);
    assert!(pages > 3, "{pages} pages");
}

#[tokio::test]
async fn buckets_are_answered_by_step_and_aggregate() {
    let path = "/api/v1/series?device=press-4&metric=temperature&step=5m&agg=max";
    assert_eq!(answer(path).await["points"], json!([[0, 24.5], [300_000, 29.5]]));
    let path = "/api/v1/series?device=press-4&metric=temperature&step=5m";
    assert_eq!(answer(path).await["points"], json!([[0, 22.5], [300_000, 27.5]]));
}

#[tokio::test]
async fn a_pattern_answers_many_series() {
    let found = answer("/api/v1/series?device=press-*&metric=temperature&step=10m&agg=count").await;
    let expected = json!([
        {"device": "press-4", "metric": "temperature", "points": [[0, 10]]},
        {"device": "press-5", "metric": "temperature", "points": [[0, 10]]},
    ]);
    assert_eq!(found["series"], expected);
}

#[tokio::test]
async fn a_series_without_points_is_an_empty_list() {
    let found = answer("/api/v1/series?device=nobody&metric=nothing").await;
    assert_eq!(found, json!({"device": "nobody", "metric": "nothing", "points": []}));
    assert_eq!(answer("/api/v1/series?device=nobody*&metric=nothing").await, json!({"series": []}));
}

#[tokio::test]
async fn each_mistake_is_a_problem_document_that_names_it() {
    let table = [
        ("/api/v1/series?metric=t", StatusCode::BAD_REQUEST, "device is missing"),
        ("/api/v1/series?device=d&metric=t&from=soon", StatusCode::BAD_REQUEST, "from=soon"),
        ("/api/v1/series?device=d&metric=t&from=2&to=1", StatusCode::BAD_REQUEST, "`to` lies before `from`"),
        ("/api/v1/series?device=d&metric=t&colour=red", StatusCode::BAD_REQUEST, "unknown field `colour`"),
        ("/api/v1/devices?limit=0", StatusCode::BAD_REQUEST, "limit=0"),
        ("/api/v1/devices?limit=many", StatusCode::BAD_REQUEST, "limit"),
        ("/api/v1/devices/a%20b/latest", StatusCode::BAD_REQUEST, "device=a b"),
        ("/api/v1/devices/nobody/latest", StatusCode::NOT_FOUND, "nobody has sent nothing"),
        ("/api/v1/ledger?gateway=a%20b", StatusCode::BAD_REQUEST, "gateway=a b"),
        ("/api/v2/nothing", StatusCode::NOT_FOUND, "nothing at /api/v2/nothing"),
    ];
    for (path, status, expected) in table {
        let (found, detail) = problem(path).await;
        assert_eq!(found, status, "{path}");
        assert!(detail.contains(expected), "{path}: {detail}");
    }
}

#[tokio::test]
async fn another_method_is_a_problem_document_too() {
    let store = filled().await;
    let state = State::new(store.clone(), store, || Timestamp::EPOCH);
    let request = Request::post("/api/v1/series").body(Body::empty()).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn the_ledger_sets_the_books_against_the_store() {
    let store = filled().await;
    let lane = LaneBooks {
        epoch: 7,
        last_seq: 25,
        buffered: RangeSet::from(vec![SeqRange::new(20, 25)]),
        stored: RangeSet::from(vec![SeqRange::new(1, 19)]),
        ..LaneBooks::default()
    };
    let books = Books { accepted: 30, filtered: 5, lanes: vec![lane], ..Books::default() };
    store.record_books(&gateway(), books, Timestamp::from_nanos(MINUTE)).await.unwrap();
    let (_, _, body) = get(&store, "/api/v1/ledger").await;
    let found: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(found["as_of"], "1970-01-01T01:39:00Z");
    let account = &found["gateways"][0];
    assert_eq!(account["reported"], "1970-01-01T00:01:00Z");
    assert_eq!((&account["accepted"], &account["stored"]), (&json!(30), &json!(23)));
    assert_eq!((&account["buffered"], &account["balance"]), (&json!(2), &json!(0)));
    assert_eq!(account["balanced"], true);
    assert_eq!(account["streams"][0]["stored"], json!([[1, 23]]));
    assert_eq!(account["streams"][0]["gaps"], json!([[24, 25]]));
    let (_, _, body) = get(&store, "/api/v1/ledger?gateway=gw-9").await;
    assert!(body.contains("\"gateways\":[]"), "{body}");
}

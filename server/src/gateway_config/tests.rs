use fieldline_model::Timestamp;
use fieldline_mqtt::BrokerConfig;
use fieldline_store::MemoryStore;

use super::*;

async fn open(store: &Arc<MemoryStore>) -> Service {
    let broker = crate::nobody::broker();
    let shadows = shadows::Service { store: store.clone(), broker: broker.clone() };
    Service::open(store.clone(), shadows, broker).await.unwrap()
}

/// A crash right after the history was written, and before the shadow was touched.
#[tokio::test]
async fn a_push_that_was_cut_short_is_desired_after_the_next_start() {
    let store = Arc::new(MemoryStore::new());
    let gateway = GatewayId::new("hall-7").unwrap();
    let service = open(&store).await;
    service.push(&gateway, json!({ "sync": { "linger": "1s" } }), None).await.unwrap();
    let document = json!({ "sync": { "linger": "2s" } });
    let sha256 = sha256(document.to_string().as_bytes());
    let pushed_ms = Timestamp::EPOCH.millis();
    let cut = Pushed { number: 2, sha256, pushed_ms, rollback_of: None, document };
    service.write(&gateway, &cut, false).await.unwrap();
    let service = open(&store).await;
    let shadow = service.shadow(&gateway).await.unwrap().unwrap();
    assert_eq!(shadow["desired"], json!({ "config": { "sync": { "linger": "2s" } } }));
    let version = shadow["version"].clone();
    // Once is enough.
    let again = open(&store).await.shadow(&gateway).await.unwrap().unwrap();
    assert_eq!(again["version"], version);
}

#[tokio::test]
async fn a_hundred_pushes_are_remembered() {
    let store = Arc::new(MemoryStore::new());
    let gateway = GatewayId::new("hall-7").unwrap();
    let service = open(&store).await;
    for number in 1..=HISTORY_MAX + 3 {
        let document = json!({ "limits": { "devices_max": number } });
        service.push(&gateway, document, None).await.unwrap();
    }
    let history = service.history(&gateway).await.unwrap();
    let numbers: Vec<u64> = history.iter().map(|pushed| pushed.number).collect();
    assert_eq!(numbers, (4..=HISTORY_MAX as u64 + 3).collect::<Vec<_>>());
}

/// What makes the shadow so full that little more fits into it.
async fn fill(service: &Service, gateway: &GatewayId, bytes: usize) {
    let request = json!({ "state": { "reported": { "x": "x".repeat(bytes) } } }).to_string();
    service.shadows.update(&shadow(gateway), request.as_bytes()).await.unwrap();
}

/// A push that the shadow had refused stood in the history all the same, and the next start made it desired.
#[tokio::test]
async fn what_the_shadow_refuses_leaves_nothing_behind() {
    let store = Arc::new(MemoryStore::new());
    let gateway = GatewayId::new("hall-7").unwrap();
    let service = open(&store).await;
    let first = json!({ "sync": { "linger": "1s" } });
    service.push(&gateway, first.clone(), None).await.unwrap();
    fill(&service, &gateway, 5_000).await;
    let deep = json!({ "sync": { "a": { "b": { "c": { "d": { "e": { "f": 1 } } } } } } });
    let large = json!({ "filter": [{ "metric": "m".repeat(4_000) }] });
    for (document, refusal) in
        [(deep, fieldline_shadow::Error::Depth), (large.clone(), fieldline_shadow::Error::TooLarge)]
    {
        let error = service.push(&gateway, document, None).await.unwrap_err();
        assert!(matches!(&error, Error::Shadow(found) if *found == refusal), "{error:?}");
        assert_eq!(service.history(&gateway).await.unwrap().len(), 1);
        assert_eq!(store.entries(PENDING).await.unwrap(), []);
    }
    // The room that it wanted comes free, and nothing comes back.
    fill(&service, &gateway, 10).await;
    let service = open(&store).await;
    assert_eq!(service.shadow(&gateway).await.unwrap().unwrap()["desired"], json!({ "config": first }));
    // So it is when a crash came before the shadow had refused it.
    fill(&service, &gateway, 5_000).await;
    let sha256 = sha256(large.to_string().as_bytes());
    let cut = Pushed { number: 2, sha256, pushed_ms: 0, rollback_of: None, document: large };
    service.write(&gateway, &cut, false).await.unwrap();
    let service = open(&store).await;
    assert_eq!(service.history(&gateway).await.unwrap().len(), 1);
    fill(&service, &gateway, 10).await;
    let service = open(&store).await;
    assert_eq!(service.shadow(&gateway).await.unwrap().unwrap()["desired"], json!({ "config": first }));
}

fn large(name: &str) -> Value {
    json!({ "map": [{ "topic": "x".repeat(100_000), "device": name }] })
}

/// Every large push took its part of 16 MiB for good, and the 131st was silently not there for its gateway.
#[tokio::test]
async fn what_lies_beside_a_shadow_goes_when_something_newer_is_desired() {
    let store = Arc::new(MemoryStore::new());
    let gateway = GatewayId::new("hall-7").unwrap();
    let service = open(&store).await;
    for number in 0..200 {
        let pushed = service.push(&gateway, large(&number.to_string()), None).await.unwrap();
        assert!(service.broker.retained(&topic(&gateway, &pushed)).is_some(), "{number}");
        assert_eq!(service.broker.stats().retained, 1);
    }
    // The same again is the same topic; one that is brought back is there again.
    service.push(&gateway, large("199"), None).await.unwrap();
    assert_eq!(service.broker.stats().retained, 1);
    let back = service.roll_back(&gateway, Some(150)).await.unwrap();
    assert!(service.broker.retained(&topic(&gateway, &back)).is_some());
    service.push(&gateway, json!({}), None).await.unwrap();
    assert_eq!(service.broker.stats().retained, 0);
}

#[tokio::test]
async fn a_push_for_which_there_is_no_room_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let config = BrokerConfig { retained_own_bytes_max: 150_000, ..BrokerConfig::default() };
    let broker = crate::nobody::broker_with(config);
    let shadows = shadows::Service { store: store.clone(), broker: broker.clone() };
    let service = Service::open(store.clone(), shadows, broker).await.unwrap();
    let [hall, dock] = ["hall-7", "dock-1"].map(|name| GatewayId::new(name).unwrap());
    let kept = service.push(&hall, large("a"), None).await.unwrap();
    let error = service.push(&dock, large("b"), None).await.unwrap_err();
    assert!(matches!(error, Error::NoRoom), "{error:?}");
    assert_eq!(service.history(&dock).await.unwrap(), []);
    assert!(service.shadow(&dock).await.unwrap().is_none());
    // The newer one of a gateway takes the place of the older one only once it is desired.
    let error = service.push(&hall, large("b"), None).await.unwrap_err();
    assert!(matches!(error, Error::NoRoom), "{error:?}");
    assert!(service.broker.retained(&topic(&hall, &kept)).is_some());
}

#[test]
fn a_patch_names_what_is_gone() {
    let old = json!({ "sync": { "linger": "1s", "server": "a" }, "filter": [1], "limits": {} });
    let new = json!({ "sync": { "linger": "2s" }, "filter": [2, 3] });
    let expected = json!({ "sync": { "linger": "2s", "server": null }, "filter": [2, 3], "limits": null });
    assert_eq!(patch(&old, &new), expected);
    assert_eq!(patch(&Value::Null, &new), new);
    assert_eq!(patch(&old, &json!({}))["sync"], Value::Null);
}

use fieldline_model::Timestamp;
use fieldline_mqtt::{Application, BrokerConfig, ClientInfo, ConnectRequest, Receipt, Refusal};
use fieldline_store::MemoryStore;

use super::*;

/// Nobody connects here.
struct Nobody;

impl Application for Nobody {
    fn authenticate(&self, _: &ConnectRequest<'_>) -> Result<(), Refusal> {
        Err(Refusal::Unavailable)
    }
    fn authorize_publish(&self, _: &ClientInfo, _: &str) -> bool {
        false
    }
    fn authorize_subscribe(&self, _: &ClientInfo, _: &str) -> bool {
        false
    }
    fn publish(&self, _: &ClientInfo, _: Message, _: Receipt) {}
}

async fn open(store: &Arc<MemoryStore>) -> Service {
    let broker = Broker::new(BrokerConfig::default(), Arc::new(Nobody));
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
    let history = service.history(&gateway).await.unwrap();
    let document = json!({ "sync": { "linger": "2s" } });
    let sha256 = sha256(document.to_string().as_bytes());
    let pushed_ms = Timestamp::EPOCH.millis();
    let cut = Pushed { number: 2, sha256, pushed_ms, rollback_of: None, document };
    service.write(&gateway, &history, &cut, false).await.unwrap();
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

#[test]
fn a_patch_names_what_is_gone() {
    let old = json!({ "sync": { "linger": "1s", "server": "a" }, "filter": [1], "limits": {} });
    let new = json!({ "sync": { "linger": "2s" }, "filter": [2, 3] });
    let expected = json!({ "sync": { "linger": "2s", "server": null }, "filter": [2, 3], "limits": null });
    assert_eq!(patch(&old, &new), expected);
    assert_eq!(patch(&Value::Null, &new), new);
    assert_eq!(patch(&old, &json!({}))["sync"], Value::Null);
}

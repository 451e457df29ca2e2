//! What is delivered twice, since the server was killed in between, is done once.

use fieldline_model::{CommandStatus, GatewayId, Metric, Quality, Value as Measured};
use fieldline_mqtt::Broker;
use fieldline_rules::{Alarm, AlarmEvent, AlarmState, Mark, Severity, Transition};
use fieldline_store::{Entries, Entry, EntryChange, MemoryStore, Shadows, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

use super::*;
use crate::rules_desk::Bounds;
use crate::rules_desk::history::HistoryQuery;

/// A store whose disk is full when it is told so.
struct Disk {
    store: MemoryStore,
    full: AtomicBool,
}

#[async_trait]
impl Entries for Disk {
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(kind).await
    }

    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError> {
        match self.full.load(Ordering::Acquire) {
            true => Err(StoreError::Full),
            false => self.store.write_entries(changes).await,
        }
    }
}

/// The outlet as after a start, and the broker behind it.
async fn start(disk: &Arc<Disk>, shadows: &Arc<MemoryStore>) -> (Router, Broker, watch::Sender<bool>) {
    let broker = crate::nobody::broker();
    let (commands, line) = CommandDesk::new();
    let (stop, stopping) = watch::channel(false);
    let limits = commands_desk::Limits::default();
    let service = commands_desk::Service::open(disk.clone(), broker.clone(), limits).await.unwrap();
    tokio::spawn(service.run(line, stopping));
    let own = GatewayId::new("server").unwrap();
    let bounds = Bounds { lines_max: 100, days_max: 1 };
    let book = AlarmBook::open(disk.clone(), broker.clone(), own, bounds).await.unwrap();
    let shadows: Arc<dyn Shadows> = shadows.clone();
    let service = shadows::Service { store: shadows, broker: broker.clone() };
    (Router::new(book, Couriers::default(), commands, service), broker, stop)
}

fn device() -> DeviceId {
    DeviceId::new("press-4").unwrap()
}

fn effect(id: &str, kind: EffectKind) -> Effect {
    let at = Timestamp::from_millis(1_000).unwrap();
    Effect { id: EffectId(id.to_owned()), rule: "hot".to_owned(), device: device(), at, kind }
}

fn raised() -> EffectKind {
    let at = Timestamp::from_millis(1_000).unwrap();
    let alarm = Alarm {
        id: "hot/press-4/1000".to_owned(),
        rule: "hot".to_owned(),
        device: device(),
        severity: Severity::Critical,
        state: AlarmState::ActiveUnacknowledged,
        raised_at: at,
        returned_at: None,
        mark: Mark::Live,
        values: vec![("temperature".to_owned(), "81.5".to_owned())],
        shelved: None,
        suppressed: false,
    };
    EffectKind::Alarm(Box::new(AlarmEvent {
        transition: Transition::Raised,
        at,
        by: None,
        comment: None,
        alarm,
    }))
}

#[tokio::test]
async fn what_is_delivered_again_after_a_restart_is_done_once() {
    let disk = Arc::new(Disk { store: MemoryStore::new(), full: AtomicBool::new(false) });
    let shadows = Arc::new(MemoryStore::new());
    let command = |name: &str| EffectKind::Command {
        device: device(),
        command: name.to_owned(),
        payload: json!({ "delay_s": 5 }),
    };
    let effects = [
        effect("a", raised()),
        effect("b", command("stop")),
        effect("c", command("stop")),
        effect(
            "d",
            EffectKind::Desired {
                device: device(),
                state: json!({ "speed": 0 }).as_object().cloned().unwrap(),
            },
        ),
    ];
    for _ in 0..2 {
        let (outlet, broker, stop) = start(&disk, &shadows).await;
        for effect in &effects {
            outlet.deliver(effect).await.unwrap();
        }
        let which = HistoryQuery { limit: 9, ..HistoryQuery::default() };
        assert_eq!(outlet.book.history(&which).await.0.len(), 1);
        let ids: Vec<ExecutionId> = ["b", "c"]
            .map(|id| execution_id(&EffectId(id.to_owned()), Timestamp::from_millis(1_000).unwrap()))
            .into();
        assert_ne!(ids[0], ids[1], "two effects are two commands");
        for id in ids {
            let execution = outlet.commands.get(id).await.unwrap();
            assert_eq!(execution.status, CommandStatus::Created);
        }
        stop.send_replace(true);
        drop(broker);
    }
    let kept = disk.entries("command").await.unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let shadow = ShadowId { thing: ThingName::new("press-4").unwrap(), name: None };
    let stored = shadows.shadow(&shadow).await.unwrap();
    let document = stored.shadow("press-4").unwrap().document(0, None);
    assert_eq!(document["state"]["desired"]["speed"], 0);
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_offered_again_and_what_makes_no_sense_is_not() {
    let disk = Arc::new(Disk { store: MemoryStore::new(), full: AtomicBool::new(true) });
    let (outlet, _broker, _stop) = start(&disk, &Arc::new(MemoryStore::new())).await;
    let command =
        |name: &str| EffectKind::Command { device: device(), command: name.to_owned(), payload: Value::Null };
    for kind in [raised(), command("stop")] {
        let refused = outlet.deliver(&effect("a", kind)).await;
        assert!(matches!(refused, Err(DeliveryError::Later(_))), "{refused:?}");
    }
    let refused = outlet.deliver(&effect("a", command("\n"))).await;
    assert!(matches!(refused, Err(DeliveryError::Never(_))), "{refused:?}");
    disk.full.store(false, Ordering::Release);
    outlet.deliver(&effect("a", raised())).await.unwrap();
    let reading = Reading {
        device: device(),
        metric: Metric::new("power").unwrap(),
        time: Timestamp::EPOCH,
        value: Measured::Float(1.0),
        quality: Quality::Good,
    };
    outlet.deliver(&effect("b", EffectKind::Derived(reading.clone()))).await.unwrap();
    assert_eq!(outlet.derived.take(), [reading]);
}

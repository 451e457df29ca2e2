use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use fieldline_model::{CommandName, ThingName};
use fieldline_store::{Entry, EntryChange, MemoryStore};

use super::*;
use crate::commands_desk::CommandDesk;
use crate::commands_desk::desk::Which;
use crate::commands_desk::execution::Order;

/// A store whose disk is full now and then.
struct Flaky {
    store: MemoryStore,
    full: AtomicBool,
}

#[async_trait]
impl Entries for Flaky {
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(kind).await
    }

    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError> {
        if self.full.load(Ordering::Acquire) {
            return Err(StoreError::Full);
        }
        self.store.write_entries(changes).await
    }
}

async fn start(store: &Arc<Flaky>) -> (CommandDesk, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let (desk, line) = CommandDesk::new();
    let (stop, stopping) = watch::channel(false);
    let broker = crate::nobody::broker();
    let service = Service::open(store.clone(), broker, Limits::default()).await.unwrap();
    (desk, stop, tokio::spawn(service.run(line, stopping)))
}

fn order(timeout_ms: i64) -> Order {
    let (thing, command) = (ThingName::new("press-4").unwrap(), CommandName::new("reboot").unwrap());
    Order { thing, command, parameters: None, timeout_ms, id: None }
}

async fn ids(desk: &CommandDesk) -> Vec<ExecutionId> {
    let which = Which { limit: 99, ..Which::default() };
    desk.list(which).await.unwrap().iter().map(|execution| execution.id.clone()).collect()
}

#[tokio::test]
async fn what_cannot_be_written_is_not_there_and_work_goes_on_when_it_can() {
    let store = Arc::new(Flaky { store: MemoryStore::new(), full: AtomicBool::new(false) });
    let (desk, stop, task) = start(&store).await;
    let first = desk.create(order(60_000)).await.unwrap();
    let short = desk.create(order(50)).await.unwrap();

    store.full.store(true, Ordering::Release);
    assert_eq!(desk.create(order(60_000)).await, Err(Refused::Unavailable));
    assert_eq!(desk.cancel(first.id.clone()).await, Err(Refused::Unavailable));
    store.full.store(false, Ordering::Release);

    // Who waits hears of what comes to pass after the disk has room again.
    let ended = desk.wait(short.id.clone(), None).await.unwrap();
    assert_eq!(ended.status, CommandStatus::TimedOut);
    assert_eq!(ids(&desk).await, [short.id.clone(), first.id.clone()]);
    assert_eq!(desk.get(first.id.clone()).await.unwrap().status, CommandStatus::Created);
    let third = desk.create(order(60_000)).await.unwrap();

    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(desk.get(third.id.clone()).await, Err(Refused::Unavailable));
    let (desk, _stop, _task) = start(&store).await;
    assert_eq!(ids(&desk).await, [third.id.clone(), short.id.clone(), first.id.clone()]);
}

#[tokio::test]
async fn what_is_handed_in_before_a_stop_is_done() {
    let store = Arc::new(Flaky { store: MemoryStore::new(), full: AtomicBool::new(false) });
    let (desk, stop, task) = start(&store).await;
    let made = futures_util::future::join_all((0..50).map(|_| desk.create(order(60_000))));
    let (made, _) = tokio::join!(made, async { stop.send_replace(true) });
    task.await.unwrap();
    let made = made.into_iter().filter(Result::is_ok).count();
    assert_eq!(store.entries(KIND).await.unwrap().len(), made);
}

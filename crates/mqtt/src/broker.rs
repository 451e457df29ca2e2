//! The broker: what all its connections share, and how a message finds its subscribers.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::cell::{Cell, CellKey};
use crate::link::lock;
use crate::retained::{Keeping, Retained};
use crate::session::Delivery;
use crate::share::{self, Candidate};
use crate::stats::{Counters, add};
use crate::subscriptions::Subscriptions;
use crate::{Application, BrokerConfig, DisconnectReason, Message, Stats, TlsServer, listener};

/// An MQTT broker. Cheap to clone; all clones are one broker.
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

impl Broker {
    /// A broker without connections. Sessions and retained messages live in memory.
    pub fn new(config: BrokerConfig, application: Arc<dyn Application>) -> Self {
        let config = config.sane();
        let retained = Retained::new(
            config.retained_messages_max,
            config.retained_bytes_max,
            config.retained_own_bytes_max,
        );
        let shared = Shared {
            config,
            application,
            counters: Counters::default(),
            cells: Mutex::default(),
            subscriptions: RwLock::default(),
            retained: Mutex::new(retained),
            numbers: AtomicU64::new(1),
            names: RandomState::new(),
            next_due: Mutex::new(None),
            due_changed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes connections until `shutdown` is ready; then tells every client (MQTT 5: 0x8B), closes
    /// and waits for them. Several listeners may be served at once, with and without TLS.
    ///
    /// # Errors
    /// The listener failed for good. (A connection that fails only ends itself.)
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<TlsServer>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        listener::serve(&self.shared, listener, tls, shutdown).await
    }

    /// Publishes from the server itself: no hook is asked. Returns how many sessions it matched.
    pub fn publish(&self, message: &Message) -> usize {
        self.shared.route(message, None)
    }

    /// Retains a message of the server's own, in the room that clients cannot fill, and publishes it. False
    /// when there is no room: then nothing is published, and nothing is kept of the topic.
    pub fn keep(&self, message: &Message) -> bool {
        let kept = lock(&self.shared.retained).set(message, Instant::now(), Keeping::Own);
        if kept {
            self.shared.deliver(message, None);
        }
        kept
    }

    /// Retains nothing of a topic any more, and tells nobody. False when nothing was retained.
    pub fn let_go(&self, topic: &str) -> bool {
        lock(&self.shared.retained).clear(topic)
    }

    /// Ends a client's connection (MQTT 5: 0x98); false when it is not connected.
    pub fn disconnect(&self, client_id: &str) -> bool {
        let cell = lock(&self.shared.cells).get(client_id).cloned();
        cell.is_some_and(|cell| cell.close(DisconnectReason::AdministrativeAction))
    }

    /// The retained message of a topic, and since when it is kept.
    pub fn retained(&self, topic: &str) -> Option<(Message, Instant)> {
        lock(&self.shared.retained).get(topic).cloned()
    }

    /// Retained messages of topics behind `after`, by topic, ascending; at most `limit`.
    pub fn retained_after(&self, after: Option<&str>, limit: usize) -> Vec<(Message, Instant)> {
        lock(&self.shared.retained).after(after).take(limit).cloned().collect()
    }

    /// Counters and what is held now.
    pub fn stats(&self) -> Stats {
        let (retained, retained_bytes) = {
            let retained = lock(&self.shared.retained);
            (retained.len() as u64, retained.bytes() as u64)
        };
        Stats {
            sessions: lock(&self.shared.cells).len() as u64,
            subscriptions: self.shared.read_subscriptions(Subscriptions::len) as u64,
            retained,
            retained_bytes,
            ..self.shared.counters.snapshot()
        }
    }
}

/// What one subscription wants of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) options: crate::packet::SubscribeOptions,
    pub(crate) id: Option<u32>,
}

/// What the connections of a broker share.
///
/// Locks are taken in this order, and none is held while a message is delivered or the application is
/// called, but where its trait says so: `cells`, a cell's own, `subscriptions`; `retained` and `next_due`
/// stand alone.
pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) counters: Counters,
    pub(crate) cells: Mutex<HashMap<Arc<str>, Arc<Cell>>>,
    pub(crate) subscriptions: RwLock<Subscriptions<CellKey, Wanted>>,
    pub(crate) retained: Mutex<Retained>,
    numbers: AtomicU64,
    names: RandomState,
    /// The earliest moment at which a will or a session's end is due, as the janitor knows it.
    pub(crate) next_due: Mutex<Option<Instant>>,
    pub(crate) due_changed: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// A number never given before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A client identifier for a client without one, not to be guessed by others.
    pub(crate) fn invent_client_id(&self) -> String {
        let number = self.number();
        let (high, low) = (self.names.hash_one((number, 0)), self.names.hash_one((number, 1)));
        format!("auto-{high:016x}{low:016x}")
    }

    pub(crate) fn count_refused(&self) {
        add(&self.counters.messages_refused, 1);
    }

    pub(crate) fn count_dropped(&self, count: u64) {
        add(&self.counters.messages_dropped, count);
    }

    fn read_subscriptions<T>(&self, read: impl FnOnce(&Subscriptions<CellKey, Wanted>) -> T) -> T {
        read(&self.subscriptions.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write_subscriptions<T>(
        &self,
        write: impl FnOnce(&mut Subscriptions<CellKey, Wanted>) -> T,
    ) -> T {
        write(&mut self.subscriptions.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Delivers a message to every session that it matches, and retains it when it asks for it.
    pub(crate) fn route(&self, message: &Message, publisher: Option<&str>) -> usize {
        if message.retain && !lock(&self.retained).set(message, Instant::now(), Keeping::Clients) {
            self.count_dropped(1);
        }
        self.deliver(message, publisher)
    }

    fn deliver(&self, message: &Message, publisher: Option<&str>) -> usize {
        let now = Instant::now();
        let (mut targets, candidates) = self.read_subscriptions(|subscriptions| {
            let mut targets: Vec<(Arc<Cell>, Delivery)> = Vec::new();
            let mut candidates = Vec::new();
            subscriptions.matching(&message.topic, |CellKey { cell, share }, wanted| {
                if let Some(share) = share.clone() {
                    let (cell, delivery) = (Arc::clone(cell), delivery(message, wanted, now));
                    candidates.push(Candidate { share, cell, delivery });
                } else if !(wanted.options.no_local && publisher == Some(&*cell.client_id)) {
                    targets.push((Arc::clone(cell), delivery(message, wanted, now)));
                }
            });
            (targets, candidates)
        });
        merge(&mut targets);
        let count = targets.len();
        for (cell, delivery) in targets {
            self.count_dropped(cell.deliver(delivery));
        }
        let (shared, dropped) = share::deliver(
            candidates,
            || self.number(),
            |candidate, connected| candidate.cell.offer(self, &candidate.delivery, connected),
        );
        self.count_dropped(dropped);
        count + shared
    }
}

fn delivery(message: &Message, wanted: &Wanted, since: Instant) -> Delivery {
    Delivery {
        message: message.clone(),
        qos: message.qos.min(wanted.options.qos),
        // A fresh message says RETAIN only to who asked for it as published ([MQTT-3.3.1-12]).
        retain: message.retain && wanted.options.retain_as_published,
        subscription_ids: wanted.id.into_iter().collect(),
        since,
    }
}

/// Overlapping subscriptions of one session make one delivery, with the highest QoS of them and
/// the identifiers of all ([MQTT-3.3.4-2]).
fn merge(targets: &mut Vec<(Arc<Cell>, Delivery)>) {
    if targets.len() < 2 {
        return;
    }
    targets.sort_by_key(|(cell, _)| cell.number);
    targets.dedup_by(|(cell, later), (kept, first)| {
        if cell.number != kept.number {
            return false;
        }
        first.qos = first.qos.max(later.qos);
        first.retain |= later.retain;
        first.subscription_ids.append(&mut later.subscription_ids);
        true
    });
}

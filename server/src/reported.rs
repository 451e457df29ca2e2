//! What things report without saying so, on its way into their shadows: the newest readings, that they are
//! connected, and how gateways fare. The function `shadow` does the work; here is when.
//!
//! Whoever brings news leaves them in a map under a lock and goes on: they take the place of older ones, so
//! nothing queues and nothing of importance is dropped. A task looks every second for what is due.

mod catch_up;
mod clients;
mod noting;
mod round;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fieldline_model::{Books, GatewayId, Timestamp};
use fieldline_mqtt::ClientInfo;
use fieldline_store::ReceivedBlock;
use shadow::{Keeper, KeeperConfig, Things};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::broker::now;
use crate::counters::Counters;
use crate::stop;
pub(crate) use catch_up::Stored;
use clients::Clients;
pub(crate) use noting::Noting;
use round::{Tally, Task};

/// How often the task looks for what is due, at most.
const LOOK: Duration = Duration::from_secs(1);
/// Devices whose shadows are updated before it looks again.
const DEVICES_MAX: usize = 4_096;
/// Gateways whose books wait to be shown; those of others come again.
const GATEWAYS_MAX: usize = 10_000;
/// How long the last round may take at shutdown. What it does not reach is made good at the next start.
const LAST_ROUND: Duration = Duration::from_secs(10);
/// The period of what is not telemetry, where telemetry is off.
const PERIOD: Duration = Duration::from_secs(10);

/// Where news of things is left. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reported(Arc<News>);

struct News {
    counters: Counters,
    began: Instant,
    period: Duration,
    /// None where telemetry is not shown.
    telemetry: Option<Mutex<Keeper>>,
    clients: Mutex<Clients>,
    health: Mutex<HashMap<GatewayId, (Books, Timestamp)>>,
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reported")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reported {
    /// A device's telemetry is shown at most once in `telemetry_every`; none: not at all.
    pub(crate) fn new(telemetry_every: Option<Duration>, counters: Counters) -> Self {
        let period_ms = |period: Duration| i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        let keeper = |period| KeeperConfig { period_ms: period_ms(period), ..KeeperConfig::default() };
        Self(Arc::new(News {
            counters,
            began: Instant::now(),
            period: telemetry_every.unwrap_or(PERIOD),
            telemetry: telemetry_every.map(|period| Mutex::new(Keeper::new(keeper(period)))),
            clients: Mutex::new(Clients::new(now())),
            health: Mutex::default(),
        }))
    }

    /// A block has been stored.
    pub(crate) fn block(&self, block: &ReceivedBlock) {
        lock(&self.0.clients).is_gateway(&block.block.stream.gateway);
        if let Some(keeper) = &self.0.telemetry {
            lock(keeper).note(&block.block, block.received);
        }
    }

    /// A gateway's books have been recorded.
    pub(crate) fn books(&self, gateway: &GatewayId, books: Books, received: Timestamp) {
        lock(&self.0.clients).is_gateway(gateway);
        let mut health = lock(&self.0.health);
        let known = health.get(gateway);
        let newer = known.map_or(health.len() < GATEWAYS_MAX, |(_, held)| *held < received);
        if newer {
            health.insert(gateway.clone(), (books, received));
        }
    }

    /// A client has come or gone.
    pub(crate) fn presence(&self, client: &ClientInfo, thing: Option<String>, connected: bool) {
        let name = client.identity.as_ref().map(|_| thing.as_deref().unwrap_or_default());
        lock(&self.0.clients).note(name, &client.client_id, client.connection, connected, now());
    }

    /// What is due, at most so many devices; books only where `health` says so.
    fn due(&self, health: bool) -> Vec<Task> {
        let now_ms = i64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut tasks = self.clients_due();
        if let Some(keeper) = &self.0.telemetry {
            tasks.extend(lock(keeper).due(now_ms, DEVICES_MAX).into_iter().map(Task::Telemetry));
        }
        if health {
            tasks.extend(self.health_due());
        }
        tasks
    }

    /// Everything, at the end.
    fn rest(&self) -> Vec<Task> {
        let mut tasks = self.clients_due();
        if let Some(keeper) = &self.0.telemetry {
            tasks.extend(lock(keeper).rest().into_iter().map(Task::Telemetry));
        }
        tasks.extend(self.health_due());
        tasks
    }

    fn clients_due(&self) -> Vec<Task> {
        let keeper = self.0.telemetry.as_ref().map(lock);
        let is_device = |client: &str| keeper.as_ref().is_some_and(|keeper| keeper.knows(client));
        lock(&self.0.clients).due(is_device).into_iter().map(Task::Presence).collect()
    }

    fn health_due(&self) -> Vec<Task> {
        let taken = std::mem::take(&mut *lock(&self.0.health));
        taken.into_iter().map(|(gateway, (books, at))| Task::Health(gateway, books, at)).collect()
    }

    /// What could not be shown is shown another time.
    fn take_back(&self, task: Task) {
        match task {
            Task::Telemetry(due) => {
                if let Some(keeper) = &self.0.telemetry {
                    lock(keeper).take_back(due);
                }
            }
            Task::Presence(event) => lock(&self.0.clients).take_back(event),
            Task::Health(gateway, books, received) => self.books(&gateway, books, received),
        }
    }

    /// Shows what is due until `stopping`, and then what is left. First it makes good what an end without
    /// notice left undone.
    pub(crate) async fn run(
        self,
        things: Arc<dyn Things>,
        stored: Stored,
        mut stopping: watch::Receiver<bool>,
    ) {
        let life = lock(&self.0.clients).life();
        let shows_telemetry = self.0.telemetry.is_some();
        let catch_up = catch_up::run(&stored, things.as_ref(), life, shows_telemetry);
        let mut catch_up = std::pin::pin!(catch_up);
        let mut caught_up = false;
        let mut ticks = tokio::time::interval(self.0.period.min(LOOK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut health_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop::told(&mut stopping) => break,
                _ = ticks.tick() => {
                    let health = health_at.elapsed() >= self.0.period;
                    if health {
                        health_at = Instant::now();
                    }
                    self.round(self.due(health), things.as_ref()).await;
                }
                () = &mut catch_up, if !caught_up => caught_up = true,
            }
        }
        let last = self.round(self.rest(), things.as_ref());
        if tokio::time::timeout(LAST_ROUND, last).await.is_err() {
            tracing::warn!("not all shadows show the last readings; the next start makes it good");
        }
    }

    async fn round(&self, tasks: Vec<Task>, things: &dyn Things) {
        let mut tally = Tally::default();
        for failed in round::run(tasks, things, &mut tally).await {
            self.take_back(failed);
        }
        tally.tell(&self.0.counters);
        let lost = self.0.telemetry.as_ref().map_or(0, |keeper| lock(keeper).lost());
        self.0.counters.shadow_values_lost.absolute(lost);
    }
}

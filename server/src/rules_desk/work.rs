//! The one task that owns the rules: blocks in the order in which they were stored, those that wait
//! together in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fieldline_rules::{Alarm, Limits, Operation};
use fieldline_store::{Entries, ReceivedBlock};
use rules::Runner;
use tokio::sync::{oneshot, watch};

use super::desk::{Ask, Line, NotEvaluated, Refused};
use super::files::{self, Files};
use super::outlet::Router;
use super::upkeep::{Failed, Lost};
use crate::broker::now;
use crate::counters::Counters;
use crate::direct::Direct;
use crate::registry::RegistryHandle;
use crate::stop;
use crate::waiting::Waiting;

/// Requests that share a commit at most.
const TOGETHER_MAX: usize = 256;
/// The clock is looked at this often at least, so that a step of it goes unnoticed no longer.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a failure the next try comes by itself.
const AGAIN: Duration = Duration::from_secs(1);

/// What the task works with.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Entries>,
    pub(crate) registry: RegistryHandle,
    pub(crate) direct: Direct,
    pub(crate) waiting: Waiting,
    pub(crate) counters: Counters,
    pub(crate) folders: Vec<PathBuf>,
    /// None: only when told to.
    pub(crate) look_every: Option<Duration>,
    pub(crate) targets: BTreeSet<String>,
}

/// The rules, their files, and where what comes of them goes.
pub(crate) struct Service {
    pub(super) parts: Parts,
    pub(super) outlet: Router,
    pub(super) limits: Limits,
    /// None while they are being read.
    pub(super) files: Option<Files>,
    /// None after a failure: what is durable is read again.
    pub(super) runner: Option<Runner>,
    /// There is something to evaluate.
    pub(super) engaged: Arc<AtomicBool>,
    /// What the rules were told of groups.
    pub(super) groups: BTreeMap<String, Vec<String>>,
    /// What was not delivered.
    pub(super) undelivered: Lost,
    /// When history was let go of.
    pub(super) pruned: Instant,
}

type Evaluated = Result<(), NotEvaluated>;

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Service {
    /// Reads what is stored, and the files.
    pub(crate) async fn open(parts: Parts, outlet: Router, line: &Line) -> anyhow::Result<Self> {
        let limits = Limits::default();
        let kept = parts.store.entries(files::KIND).await?;
        let files = Files::new(parts.folders.clone(), kept, parts.targets.clone(), limits.clone());
        let engaged = Arc::clone(&line.engaged);
        let mut service = Self {
            parts,
            outlet,
            limits,
            files: Some(files),
            runner: None,
            engaged,
            groups: BTreeMap::new(),
            undelivered: Lost::default(),
            pruned: Instant::now(),
        };
        service.look(false).await;
        if service.ready().await.is_err() {
            anyhow::bail!("the state of rules cannot be read; the log says why");
        }
        for alarm in service.alarms() {
            service.outlet.book.tell_again(None, alarm);
        }
        Ok(service)
    }

    /// Does what is asked until `stopping`, and then what is left.
    pub(crate) async fn run(mut self, mut line: Line, mut stopping: watch::Receiver<bool>) {
        let mut groups = self.parts.registry.changes();
        let every = self.parts.look_every;
        let mut looks = tokio::time::interval(every.unwrap_or(LOOK));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        let mut asks = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop::told(&mut stopping), if open => {
                    open = false;
                    line.asks.close();
                }
                Ok(()) = groups.changed(), if open => self.set_groups(),
                _ = looks.tick(), if open => {
                    if every.is_some() && self.look(false).await {
                        // What failed was told, and is tried again.
                        drop(self.load().await);
                    }
                    self.count();
                    self.prune().await;
                }
                count = line.asks.recv_many(&mut asks, TOGETHER_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.work(asks.drain(..)).await;
                    if self.is_due() {
                        self.tick().await;
                    }
                }
                () = tokio::time::sleep(self.until_next()), if open => {
                    if self.is_due() {
                        self.tick().await;
                    }
                }
            }
        }
    }
}

impl Service {
    async fn work(&mut self, asks: impl Iterator<Item = Ask>) {
        let (mut blocks, mut waiters) = (Vec::new(), Vec::new());
        for ask in asks {
            match ask {
                Ask::Blocks(more, reply) => {
                    blocks.extend(more);
                    waiters.push(reply);
                }
                other => {
                    // In its turn: what came before it is seen first.
                    self.evaluate(std::mem::take(&mut blocks), std::mem::take(&mut waiters)).await;
                    self.answer(other).await;
                }
            }
        }
        self.evaluate(blocks, waiters).await;
    }

    async fn evaluate(&mut self, blocks: Vec<Arc<ReceivedBlock>>, waiters: Vec<oneshot::Sender<Evaluated>>) {
        if waiters.is_empty() {
            return;
        }
        let outcome = self.try_evaluate(&blocks).await;
        for waiter in waiters {
            if waiter.send(outcome).is_err() {
                tracing::debug!("whoever handed in blocks has gone away");
            }
        }
    }

    async fn try_evaluate(&mut self, blocks: &[Arc<ReceivedBlock>]) -> Evaluated {
        self.ready().await.map_err(|Failed| NotEvaluated)?;
        let runner = self.runner.as_mut().ok_or(NotEvaluated)?;
        let done = runner.blocks(now(), blocks.iter().map(|block| &block.block)).await;
        self.done(done).await.map_err(|Failed| NotEvaluated)
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            // Taken together in `work`.
            Ask::Blocks(..) => {}
            Ask::Alarms(reply) => {
                let ready = self.ready().await;
                send(reply, ready.map(|()| self.alarms()));
            }
            Ask::Operate { id, by, operation, reply } => {
                let outcome = self.operate(&id, &by, &operation).await;
                drop(reply.send(outcome));
            }
            Ask::Rules(reply) => {
                let ready = self.ready().await;
                send(reply, ready.map(|()| self.report()));
            }
            Ask::Reload(reply) => {
                self.look(true).await;
                let loaded = self.load().await;
                send(reply, loaded.map(|()| self.report()));
            }
        }
    }

    async fn operate(&mut self, id: &str, by: &str, operation: &Operation) -> Result<Alarm, Refused> {
        self.ready().await.map_err(|Failed| Refused::Unavailable)?;
        let runner = self.runner.as_mut().ok_or(Refused::Unavailable)?;
        match runner.operate(now(), id, by, operation).await {
            Ok(outcome) => {
                self.done(Ok(())).await.map_err(|Failed| Refused::Unavailable)?;
                outcome.map_err(Refused::from)
            }
            Err(error) => {
                self.done(Err(error)).await.map_or(Err(Refused::Unavailable), |()| Err(Refused::Unavailable))
            }
        }
    }

    async fn tick(&mut self) {
        if self.ready().await.is_ok()
            && let Some(runner) = self.runner.as_mut()
        {
            let done = runner.tick(now()).await;
            // What failed was told, and is tried again.
            drop(self.done(done).await);
        }
    }

    /// Whether something is due, also when that is to begin again after a failure.
    fn is_due(&self) -> bool {
        self.runner.as_ref().is_none_or(|runner| runner.wake_at().is_some_and(|at| at <= now()))
    }

    fn until_next(&self) -> Duration {
        let Some(runner) = &self.runner else { return AGAIN };
        let wait = runner.wake_at().map(|at| at.nanos().saturating_sub(now().nanos()).max(0).unsigned_abs());
        wait.map_or(LOOK, Duration::from_nanos).min(LOOK)
    }
}

fn send<T>(reply: oneshot::Sender<Result<T, Refused>>, outcome: Result<T, Failed>) {
    // Whoever has gone away needs no answer.
    drop(reply.send(outcome.map_err(|Failed| Refused::Unavailable)));
}

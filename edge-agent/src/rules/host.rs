//! The host of the rules on the gateway: part of the thread that commits.
//!
//! A commit of the journal is preceded by one of the rules, so that no reading is acknowledged that rules have
//! not seen. What rules make of it (alarm events, derived readings) goes into the same commit of the journal; it
//! leaves the rules' outbox with their next one.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::rules::{CommitError, PortError, Runner, StateStore};
use async_trait::async_trait;
use fieldline_journal::Fs;
use fieldline_model::{Class, Reading, Timestamp};
use fieldline_rules::{Change, Effect, EffectId, EffectKind, Limits};

use super::desk::{Desk, lock};
use super::local::COMMAND_LASTS_MS;
use super::log::StateLog;
use super::outlet::LocalOutlet;
use super::recent::{self, Recent};
use crate::clock;
use crate::committer::chain;
use crate::intake::Batch;

/// How long the clock is trusted to go on as it does: timers are looked at anew after that.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) fs: Arc<dyn Fs>,
    /// Where the state is kept.
    pub(crate) folder: PathBuf,
    pub(crate) outlet: Arc<LocalOutlet>,
    pub(crate) desk: Arc<Desk>,
    /// None without rules.
    pub(crate) store: Mutex<Option<Arc<LogStore>>>,
}

impl Host {
    /// Until when the committer may wait for readings; none: for ever.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.desk.new_ones().is_some() {
            return Some(now);
        }
        let at = lock(&self.desk.runner).as_ref()?.wake_at()?;
        let wait = at.nanos().saturating_sub(clock::now().nanos()).max(0);
        Some(now + Duration::from_nanos(wait.unsigned_abs()).min(SLEEP_MAX))
    }

    /// Opens the state and puts the rules in force.
    ///
    /// # Errors
    /// The state cannot be read or written; why, for a person.
    pub(crate) fn start(&self) -> Result<(), String> {
        let mut runner = lock(&self.desk.runner);
        let loaded = self.load(&mut runner);
        if loaded.is_err() {
            *runner = None;
            self.desk.unsettle();
        }
        loaded.map_err(|error| told(&error))
    }

    /// Evaluates readings that are about to be committed, and what is due by the clock. Gives what rules add to
    /// that commit. After an error it is to be called again with the same readings.
    ///
    /// # Errors
    /// The state cannot be read or written; why, for a person.
    pub(crate) fn round(&self, batch: &Batch) -> Result<Vec<(Class, Reading)>, String> {
        let desk = Arc::clone(&self.desk);
        let mut runner = lock(&desk.runner);
        let done = self.evaluate(&mut runner, batch);
        if done.is_err() {
            *runner = None;
            desk.unsettle();
        }
        done.map_err(|error| told(&error))
    }

    fn evaluate(
        &self,
        runner: &mut Option<Runner>,
        batch: &Batch,
    ) -> Result<Vec<(Class, Reading)>, CommitError> {
        self.load(runner)?;
        let Some(runner) = runner else { return Ok(Vec::new()) };
        let Some(store) = lock(&self.store).clone() else { return Ok(Vec::new()) };
        let new = || {
            let recent = lock(&store.recent);
            batch.readings().filter(move |(_, reading)| !recent.knows(*reading))
        };
        store.stage(new().map(|(_, reading)| recent::hash(reading)).collect());
        self.outlet.gather();
        let done = at_once(runner.readings(clock::now(), new().collect::<Vec<_>>().into_iter()));
        let made = self.outlet.take();
        store.stage(Vec::new());
        done.map(|()| made)
    }

    /// Puts other rules in force, if others are wanted.
    fn load(&self, runner: &mut Option<Runner>) -> Result<(), CommitError> {
        let Some(documents) = self.desk.new_ones() else { return Ok(()) };
        if runner.is_none() && (!documents.rules.is_empty() || self.has_state()?) {
            *runner = Some(self.open()?);
        }
        if let Some(runner) = runner {
            let loaded = at_once(runner.load(clock::now(), &documents))?;
            tracing::info!(rules = loaded.rules.len(), "rules are in force");
            for (rule, reason) in loaded.refused {
                tracing::error!(rule, reason, "a rule cannot be used");
            }
        }
        self.desk.settle(&documents);
        Ok(())
    }

    fn has_state(&self) -> Result<bool, CommitError> {
        match self.fs.read_dir(&self.folder) {
            Ok(names) => Ok(!names.is_empty()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(CommitError::Unavailable(error.into())),
        }
    }

    /// State that is none of ours is set aside: a gateway takes readings whatever becomes of its rules.
    fn open(&self) -> Result<Runner, CommitError> {
        let unavailable = |error: std::io::Error| CommitError::Unavailable(error.into());
        let log = StateLog::open(Arc::clone(&self.fs), self.folder.clone()).map_err(unavailable)?;
        if log.is_damaged {
            self.desk.trouble("a part of the state of rules was damaged".to_owned());
        }
        let readable = log.load().map_err(unavailable)?;
        match self.runner(log) {
            Err(error) if !readable.is_empty() => {
                tracing::error!(error = chain(&error), "the state of rules cannot be used; they begin anew");
                self.desk.trouble(format!("the state of rules was set aside: {}", chain(&error)));
                let log = StateLog::renew(Arc::clone(&self.fs), self.folder.clone()).map_err(unavailable)?;
                self.runner(log)
            }
            opened => opened,
        }
    }

    fn runner(&self, log: StateLog) -> Result<Runner, CommitError> {
        let store =
            Arc::new(LogStore { log: Mutex::new(log), recent: Mutex::default(), staged: Mutex::default() });
        let outlet = Arc::clone(&self.outlet) as Arc<dyn ::rules::Outlet>;
        let host = fieldline_rules::Host::Edge;
        let opening = Runner::open(
            host,
            Limits::default(),
            Arc::clone(&store) as Arc<dyn StateStore>,
            outlet,
            clock::now(),
        );
        let mut runner = at_once(opening)?;
        self.outlet.forget_commands(&store.stale_commands(clock::now())?);
        *lock(&self.store) = Some(store);
        runner.measure(clock::stopwatch);
        Ok(runner)
    }
}

fn told(error: &CommitError) -> String {
    format!("cannot keep the state of rules: {}", chain(error))
}

/// What the runner does here waits for nothing but the disk.
fn at_once<T>(work: impl Future<Output = Result<T, CommitError>>) -> Result<T, CommitError> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(CommitError::Unavailable("a port of the rules waits".into())),
    }
}

/// The log behind the runner's port, and what goes into it with each commit.
#[derive(Debug)]
pub(crate) struct LogStore {
    log: Mutex<StateLog>,
    recent: Mutex<Recent>,
    /// The readings of the batch that is being evaluated.
    staged: Mutex<Vec<u64>>,
}

impl LogStore {
    fn stage(&self, batch: Vec<u64>) {
        *lock(&self.staged) = batch;
    }

    /// Commands that were to be sent when the gateway stopped, a while ago: a relay must not move hours later.
    fn stale_commands(&self, now: Timestamp) -> Result<Vec<EffectId>, CommitError> {
        let Some(last_ms) = lock(&self.recent).last_ms else { return Ok(Vec::new()) };
        if now.millis() - last_ms < COMMAND_LASTS_MS {
            return Ok(Vec::new());
        }
        let state = lock(&self.log).load().map_err(|error| CommitError::Unavailable(error.into()))?;
        let effects = state.iter().filter(|(key, _)| key.starts_with("outbox/"));
        let effects = effects.filter_map(|(_, value)| serde_json::from_slice::<Effect>(value).ok());
        let commands = effects.filter(|effect| matches!(effect.kind, EffectKind::Command { .. }));
        Ok(commands.map(|effect| effect.id).collect())
    }
}

#[async_trait]
impl StateStore for LogStore {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
        let state = lock(&self.log).load()?;
        Ok(lock(&self.recent).restore(state))
    }

    async fn commit(&self, mut changes: Vec<Change>) -> Result<(), CommitError> {
        let (batch, now_ms) = (std::mem::take(&mut *lock(&self.staged)), clock::now().millis());
        let mut recent = lock(&self.recent);
        changes.extend(recent.changes(&batch, now_ms));
        lock(&self.log).commit(&changes).map_err(|error| CommitError::Unavailable(error.into()))?;
        recent.take(batch, now_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

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
use fieldline_model::{Class, Reading};
use fieldline_rules::{Change, Limits};

use super::desk::{Desk, lock};
use super::log::StateLog;
use super::outlet::LocalOutlet;
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
        self.load(&mut lock(&self.desk.runner)).map_err(|error| told(&error))
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
        self.outlet.gather();
        let done = at_once(runner.readings(clock::now(), batch.readings()));
        let made = self.outlet.take();
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
        let store: Arc<dyn StateStore> = Arc::new(LogStore(Mutex::new(log)));
        match self.runner(&store) {
            Err(error) if !readable.is_empty() => {
                tracing::error!(error = chain(&error), "the state of rules cannot be used; they begin anew");
                self.desk.trouble(format!("the state of rules was set aside: {}", chain(&error)));
                let log = StateLog::renew(Arc::clone(&self.fs), self.folder.clone()).map_err(unavailable)?;
                self.runner(&(Arc::new(LogStore(Mutex::new(log))) as Arc<dyn StateStore>))
            }
            opened => opened,
        }
    }

    fn runner(&self, store: &Arc<dyn StateStore>) -> Result<Runner, CommitError> {
        let outlet = Arc::clone(&self.outlet) as Arc<dyn ::rules::Outlet>;
        let host = fieldline_rules::Host::Edge;
        let opening = Runner::open(host, Limits::default(), Arc::clone(store), outlet, clock::now());
        let mut runner = at_once(opening)?;
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

/// The log behind the runner's port.
#[derive(Debug)]
struct LogStore(Mutex<StateLog>);

#[async_trait]
impl StateStore for LogStore {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
        Ok(lock(&self.0).load()?)
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        lock(&self.0).commit(&changes).map_err(|error| CommitError::Unavailable(error.into()))
    }
}

#[cfg(test)]
mod tests;

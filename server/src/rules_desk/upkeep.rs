//! What the task does beside evaluating: files, groups, derived readings, and starting over after a failure.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fieldline_model::Reading;
use fieldline_registry::ThingFilter;
use fieldline_rules::{Alarm, Host};
use fieldline_wire::Rows;
use rules::{Runner, Undelivered};
use tokio::sync::oneshot;

use super::desk::RulesReport;
use super::files::{Files, Scan};
use super::state::EntryState;
use super::work::Service;
use crate::broker::now;
use crate::direct::Done;

/// How often history is let go of.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What was not delivered since the server started, whichever runners there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lost(Undelivered);

impl Lost {
    /// With what this runner tells.
    fn sum(self, runner: Option<&Runner>) -> Undelivered {
        let more = runner.map(Runner::undelivered).unwrap_or_default();
        let Undelivered { refused, dropped } = self.0;
        Undelivered { refused: refused + more.refused, dropped: dropped + more.dropped }
    }

    /// This runner has ended.
    fn add(&mut self, runner: Option<&Runner>) {
        self.0 = self.sum(runner);
    }
}

/// It did not work; why is in the log.
#[derive(Debug)]
pub(super) struct Failed;

impl Service {
    /// Looks at the files, at `all` also at those that seem the same; whether other rules are in force now.
    pub(super) async fn look(&mut self, all: bool) -> bool {
        let Some(mut files) = self.files.take() else { return false };
        let looked = tokio::task::spawn_blocking(move || {
            let scan = files.scan(all);
            (files, scan)
        });
        let Ok((files, Scan { changed, keep })) = looked.await else {
            tracing::error!("looking at the files of rules ended badly");
            return false;
        };
        self.files = Some(files);
        if !keep.is_empty()
            && let Err(error) = self.parts.store.write_entries(keep).await
        {
            // The files are there; only after a restart would a broken one have no former version.
            tracing::error!(error = &error as &dyn std::error::Error, "rules were not kept");
        }
        changed
    }

    /// Puts the rules of the files in force.
    pub(super) async fn load(&mut self) -> Result<(), Failed> {
        if self.runner.is_none() {
            return self.ready().await;
        }
        // Known before the rules: what is kept of a rule for a group would belong to nobody.
        self.set_groups();
        let documents = self.files.as_ref().map(Files::documents).unwrap_or_default();
        let engaged = documents.rules.iter().any(|rule| rule.runs == Host::Server);
        let Some(runner) = self.runner.as_mut() else { return Err(Failed) };
        let done = runner.load(now(), &documents).await;
        let done = done.map(|loaded| {
            for (rule, reason) in loaded.refused {
                tracing::warn!(rule, reason, "a rule cannot be used");
            }
        });
        self.engaged.store(engaged, Ordering::Release);
        self.done(done).await
    }
}

impl Service {
    /// Whether the rules can be asked: after a failure what is durable is read again.
    pub(super) async fn ready(&mut self) -> Result<(), Failed> {
        if self.runner.is_some() {
            return Ok(());
        }
        let state = Arc::new(EntryState(Arc::clone(&self.parts.store)));
        let opened =
            Runner::open(Host::Server, self.limits.clone(), state, Arc::new(self.outlet.clone()), now());
        match opened.await {
            Ok(mut runner) => {
                runner.measure(stopwatch);
                self.runner = Some(runner);
                self.groups.clear();
                Box::pin(self.load()).await
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the state of rules cannot be read"
                );
                Err(Failed)
            }
        }
    }

    /// After each call of the runner: what was calculated is stored before anything more is committed. After a
    /// failure the runner is ahead of the disk, and is opened again.
    pub(super) async fn done(&mut self, done: Result<(), rules::CommitError>) -> Result<(), Failed> {
        if let Err(error) = done {
            tracing::error!(error = &error as &dyn std::error::Error, "the rules could not keep their state");
            return self.start_over();
        }
        let derived = self.outlet.derived.take();
        match derived.is_empty() || self.store(&derived).await.is_ok() {
            true => Ok(()),
            false => self.start_over(),
        }
    }

    fn start_over(&mut self) -> Result<(), Failed> {
        // What it held comes out of the outbox again.
        drop(self.outlet.derived.take());
        self.undelivered.add(self.runner.take().as_ref());
        Err(Failed)
    }

    /// Stores readings in the server's own stream.
    async fn store(&self, readings: &[Reading]) -> Result<(), Failed> {
        let mut rows = Rows::new();
        readings.iter().for_each(|reading| rows.push(reading.as_ref()));
        let place = self.parts.waiting.place(0).ok_or(Failed)?;
        let (sender, stored) = oneshot::channel();
        self.parts.direct.offer(rows, Done::Derived(sender), place);
        match stored.await {
            Ok(Ok(())) => Ok(()),
            _ => {
                tracing::error!(count = readings.len(), "readings that rules have derived were not stored");
                Err(Failed)
            }
        }
    }

    /// Tells the rules in which groups devices are, where a rule asks for that.
    pub(super) fn set_groups(&mut self) {
        let asked =
            self.files.as_ref().is_some_and(|files| files.rules().any(|rule| !rule.groups.is_empty()));
        let Some(runner) = self.runner.as_mut().filter(|_| asked) else { return };
        let known = &mut self.groups;
        self.parts.registry.read(|registry| {
            let Ok(things) = registry.list_things(&ThingFilter::default(), None, usize::MAX) else { return };
            let mut gone = std::mem::take(known);
            for thing in things.items {
                let groups: Vec<String> = registry.groups_of(thing).map(|group| group.name.clone()).collect();
                if gone.remove(&thing.name).unwrap_or_default() != groups {
                    runner.set_groups(now(), &thing.name, &groups);
                }
                if !groups.is_empty() {
                    known.insert(thing.name.clone(), groups);
                }
            }
            // Things that are no more are in no group.
            gone.keys().for_each(|thing| runner.set_groups(now(), thing, &[]));
        });
    }

    /// This server's alarms that are not normal.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        self.runner.as_ref().map(Runner::alarms).unwrap_or_default()
    }

    /// The rules, and how they fare.
    pub(super) fn report(&self) -> RulesReport {
        let edge = self.files.iter().flat_map(Files::rules).filter(|rule| rule.runs == Host::Edge);
        RulesReport {
            folder: self.parts.folders.first().map(|path| path.display().to_string()).unwrap_or_default(),
            edge: edge.map(|rule| rule.name.clone()).collect(),
            rules: self.runner.as_ref().map(Runner::rules).unwrap_or_default(),
            files: self.files.as_ref().map(Files::states).unwrap_or_default(),
            outbox: self.runner.as_ref().map(Runner::outbox).unwrap_or_default(),
            undelivered: self.undelivered.sum(self.runner.as_ref()),
            aside: self.runner.as_ref().map(Runner::aside).unwrap_or_default(),
        }
    }

    /// Lets go of history, now and then.
    pub(super) async fn prune(&mut self) {
        if self.pruned.elapsed() < PRUNE_EVERY {
            return;
        }
        self.pruned = Instant::now();
        if let Err(error) = self.outlet.book.prune().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old alarm history is still there");
        }
    }

    /// Shows on `/metrics` how the rules fare.
    pub(super) fn count(&self) {
        if let Some(runner) = &self.runner {
            let undelivered = self.undelivered.sum(Some(runner));
            self.parts.counters.rules(&runner.rules(), runner.outbox());
            self.parts.counters.rules_lost(undelivered, runner.crowding());
        }
    }
}

/// Nanoseconds since it was asked first.
fn stopwatch() -> u64 {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

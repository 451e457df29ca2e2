//! The engine with its state, its outbox, and how far the streams have been read.

use std::fmt;
use std::sync::Arc;

use fieldline_model::{Class, ReadingRef, Timestamp};
use fieldline_rules::{
    Alarm, Aside, Crowding, Documents, Effect, Engine, Host, Limits, Loaded, OperateError, Operation,
    RuleState,
};
use fieldline_wire::Block;

use crate::outbox::{self, Outbox};
use crate::positions::{self, Positions};
use crate::{CommitError, DeliveryError, Outlet, StateStore, Undelivered, order};

/// By less than this a clock is corrected, not set: five seconds, in nanoseconds.
const CLOCK_SET: i64 = 5_000_000_000;

/// See the crate's documentation. After an error of any call it is to be opened anew: what it holds is ahead of
/// what is durable.
pub struct Runner {
    engine: Engine,
    positions: Positions,
    outbox: Outbox,
    state: Arc<dyn StateStore>,
    outlet: Arc<dyn Outlet>,
    failed: bool,
    /// It was said that there is no room for more.
    crowded: bool,
    stopwatch: Option<fn() -> u64>,
    /// Nanoseconds by which the host's clock is ahead of the stopwatch.
    ahead: Option<i64>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("outbox", &self.outbox.len()).finish_non_exhaustive()
    }
}

impl Runner {
    /// Takes the state up where it was left; [`Runner::load`] comes next.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn open(
        host: Host,
        limits: Limits,
        state: Arc<dyn StateStore>,
        outlet: Arc<dyn Outlet>,
        _now: Timestamp,
    ) -> Result<Self, CommitError> {
        let mut engine = Engine::new(host, limits);
        let (mut positions, mut outbox) = (Positions::default(), Outbox::default());
        for (key, value) in state.load().await.map_err(CommitError::Unavailable)? {
            let read = if key.starts_with(positions::PREFIX) {
                positions.restore(&key, &value).ok_or_else(|| format!("{key} is no position"))
            } else if key.starts_with(outbox::PREFIX) {
                outbox.restore(&key, &value).ok_or_else(|| format!("{key} is no effect"))
            } else {
                engine.restore(&key, &value).map_err(|error| error.to_string())
            };
            read.map_err(|reason| CommitError::Unavailable(reason.into()))?;
        }
        Ok(Self {
            engine,
            positions,
            outbox,
            state,
            outlet,
            failed: false,
            crowded: false,
            stopwatch: None,
            ahead: None,
        })
    }

    /// Measures evaluations, see [`Engine::measure`]. By the same clock it is noticed when the host's is set.
    pub fn measure(&mut self, stopwatch: fn() -> u64) {
        self.engine.measure(stopwatch);
        self.stopwatch = Some(stopwatch);
    }

    /// Both clocks go on by the same, unless the host's was set in between.
    fn look_at_clock(&mut self, now: Timestamp) {
        let Some(stopwatch) = self.stopwatch else { return };
        let steady = i64::try_from(stopwatch()).unwrap_or(i64::MAX);
        let ahead = now.nanos().saturating_sub(steady);
        let set_by = self.ahead.map_or(0, |before| ahead.saturating_sub(before));
        if self.ahead.is_some() && set_by.saturating_abs() < CLOCK_SET {
            return;
        }
        self.ahead = Some(ahead);
        if set_by != 0 {
            tracing::warn!(
                seconds = set_by / 1_000_000_000,
                "the clock was set; rules wait as long as before"
            );
            self.engine.clock_was_set(set_by);
            self.outbox.clock_was_set(set_by);
        }
    }

    /// Puts rules in force, see [`Engine::load`]. What comes of it is delivered by the next call.
    ///
    /// # Errors
    /// The state was not committed.
    pub async fn load(&mut self, now: Timestamp, documents: &Documents) -> Result<Loaded, CommitError> {
        self.look_at_clock(now);
        let mut effects = Vec::new();
        let loaded = self.engine.load(now, documents, &mut effects);
        self.commit(effects).await?;
        Ok(loaded)
    }

    /// Evaluates what of these blocks has not been evaluated before, in their order, in one commit.
    ///
    /// # Errors
    /// The state was not committed: none of the blocks has been evaluated.
    pub async fn blocks(
        &mut self,
        now: Timestamp,
        blocks: impl Iterator<Item = &Block>,
    ) -> Result<(), CommitError> {
        self.look_at_clock(now);
        let mut effects = Vec::new();
        for block in blocks {
            let new = self.positions.advance(&block.stream, block.seqs());
            if new.is_empty() {
                continue;
            }
            let readings = order::within(block, &new).into_iter().map(|reading| (block.class, reading));
            for (class, reading) in order::by_moment(readings) {
                self.engine.observe(now, class, reading, &mut effects);
            }
        }
        self.finish(now, effects).await
    }

    /// Evaluates readings that have no place in a stream, and does what is due by the clock, in one commit.
    ///
    /// # Errors
    /// The state was not committed.
    pub async fn readings(
        &mut self,
        now: Timestamp,
        readings: impl Iterator<Item = (Class, ReadingRef<'_>)>,
    ) -> Result<(), CommitError> {
        self.look_at_clock(now);
        let mut effects = Vec::new();
        for (class, reading) in order::by_moment(readings) {
            self.engine.observe(now, class, reading, &mut effects);
        }
        self.engine.tick(now, &mut effects);
        self.finish(now, effects).await
    }

    /// Does what is due by the clock: timers of rules, effects that wait; see [`Runner::wake_at`].
    ///
    /// # Errors
    /// The state was not committed.
    pub async fn tick(&mut self, now: Timestamp) -> Result<(), CommitError> {
        self.look_at_clock(now);
        let mut effects = Vec::new();
        self.engine.tick(now, &mut effects);
        self.finish(now, effects).await
    }

    /// Does what an operator wishes.
    ///
    /// # Errors
    /// Outer: the state was not committed. Inner: see [`Engine::operate`].
    pub async fn operate(
        &mut self,
        now: Timestamp,
        id: &str,
        by: &str,
        operation: &Operation,
    ) -> Result<Result<Alarm, OperateError>, CommitError> {
        self.look_at_clock(now);
        let mut effects = Vec::new();
        let outcome = self.engine.operate(now, id, by, operation, &mut effects);
        self.finish(now, effects).await?;
        Ok(outcome)
    }

    /// See [`Engine::set_groups`]; before the first [`Runner::load`] too, so that no window and no alarm of a rule
    /// for a group is taken for one that nobody needs. What comes of it is committed with the next call, which is
    /// due at once.
    pub fn set_groups(&mut self, now: Timestamp, device: &str, groups: &[String]) {
        let mut effects = Vec::new();
        self.engine.set_groups(now, device, groups, &mut effects);
        self.put(effects);
    }

    /// When [`Runner::tick`] is due next; the past where something is due at once.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let at_once = self.outbox.is_dirty().then_some(Timestamp::MIN);
        self.engine.wake_at().into_iter().chain(self.outbox.due()).chain(at_once).min()
    }

    /// The alarms that are not normal, the newest first.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.engine.alarms()
    }

    /// How the rules fare, by name.
    pub fn rules(&self) -> Vec<RuleState> {
        self.engine.rules()
    }

    /// How many effects wait to be delivered.
    pub fn outbox(&self) -> usize {
        self.outbox.len()
    }

    /// What operators have put aside.
    pub fn aside(&self) -> Vec<Aside> {
        self.engine.aside()
    }

    /// What rules had no room for.
    pub fn crowding(&self) -> Crowding {
        self.engine.crowding()
    }

    /// What will never be delivered.
    pub fn undelivered(&self) -> Undelivered {
        self.outbox.undelivered
    }

    /// Commits, then delivers.
    async fn finish(&mut self, now: Timestamp, effects: Vec<Effect>) -> Result<(), CommitError> {
        self.commit(effects).await?;
        self.deliver(now).await;
        Ok(())
    }

    /// Says once that there is no room for more.
    fn look_at_room(&mut self) {
        let Crowding { devices, instances, samples } = self.engine.crowding();
        if devices + instances + samples > 0 && !std::mem::replace(&mut self.crowded, true) {
            tracing::error!(devices, instances, samples, "rules have no room for more: not all is looked at");
        }
    }

    fn put(&mut self, effects: Vec<Effect>) {
        let dropped = self.outbox.put(effects);
        if dropped > 0 {
            tracing::error!(count = dropped, "notifications given up, since too many wait");
        }
    }

    async fn commit(&mut self, effects: Vec<Effect>) -> Result<(), CommitError> {
        if self.failed {
            return Err(CommitError::Unavailable("an earlier commit has failed".into()));
        }
        self.look_at_room();
        self.put(effects);
        let mut changes = self.engine.take_changes();
        changes.extend(self.positions.take_changes());
        changes.extend(self.outbox.take_changes());
        if !changes.is_empty() {
            // Until it is known to be durable, it is not.
            self.failed = true;
            self.state.wake(self.wake_at());
            self.state.commit(changes).await?;
            self.failed = false;
        }
        Ok(())
    }

    /// Delivers what is due, in its order. One that fails holds up no other.
    async fn deliver(&mut self, now: Timestamp) {
        for number in self.outbox.due_by(now.nanos()) {
            let Some(effect) = self.outbox.get(number) else { continue };
            match self.outlet.deliver(effect).await {
                Ok(()) => self.outbox.done(number),
                Err(DeliveryError::Later(error)) => {
                    tracing::debug!(effect = effect.id.0, error = &*error, "effect not delivered yet");
                    self.outbox.later(number, now.nanos());
                }
                Err(DeliveryError::Never(error)) => {
                    tracing::warn!(effect = effect.id.0, error = &*error, "effect given up");
                    self.outbox.undelivered.refused += 1;
                    self.outbox.done(number);
                }
            }
        }
    }
}

//! When the writer has the heads packed, and what it does with the outcome.

use std::sync::Arc;
use std::thread;

use rusqlite::TransactionBehavior;

use super::fault::FaultPoint;
use super::flush::{self, Flushed};
use super::heads::Heads;
use super::queue::Reply;
use super::writer::{Writer, answer, chain};
use super::{retention, schema};
use crate::StoreError;

/// After a failed flush, so many nanoseconds of received blocks pass before the next attempt.
const PAUSE: i64 = 10_000_000_000;

/// What the frozen heads are.
#[derive(Debug, Clone, Copy)]
struct Frozen {
    /// The last log row in them.
    log_last: i64,
    /// When they were frozen, blocks that sort above this and no lower could still come.
    base: Option<u64>,
}

/// The flush under way, and those who wait for one.
#[derive(Debug)]
pub(super) struct Flushing {
    pub(super) running: bool,
    /// Stays when a flush fails; the next one packs the same heads.
    frozen: Option<Frozen>,
    /// Calls for a flush that has not begun.
    pub(super) calls: Vec<Reply<()>>,
    /// Calls that the flush under way answers.
    answers: Vec<Reply<()>>,
    not_before: i64,
}

impl Default for Flushing {
    fn default() -> Self {
        Self { running: false, frozen: None, calls: Vec::new(), answers: Vec::new(), not_before: i64::MIN }
    }
}

impl Flushing {
    /// Whether there are heads whose flush failed and that no flush is about.
    pub(super) fn has_failed(&self) -> bool {
        self.frozen.is_some() && !self.running
    }

    /// Ends the pause after a failure.
    pub(super) fn hurry(&mut self) {
        self.not_before = i64::MIN;
    }
}

impl Writer {
    /// Begins a flush if it is time for one.
    pub(super) fn flush_if_due(&mut self) {
        let config = &self.shared.config;
        let age = self.log.oldest.map_or(0, |oldest| self.log.newest.saturating_sub(oldest));
        let due = self.flushing.frozen.is_some()
            || self.shared.live().active.points() >= config.head_points_max
            || self.log.bytes >= config.log_bytes_max
            || i128::from(age) >= i128::try_from(config.flush_after.as_nanos()).unwrap_or(i128::MAX);
        let paused = self.log.newest < self.flushing.not_before;
        let wanted = !self.flushing.calls.is_empty() || (due && !paused);
        if wanted && !self.failed && !self.flushing.running {
            self.begin_flush();
        }
    }

    fn begin_flush(&mut self) {
        let (frozen, heads) = match self.flushing.frozen {
            // These failed before; whoever calls for a flush now waits for the one after this.
            Some(frozen) => (frozen, self.shared.live().frozen.clone()),
            None => {
                self.flushing.answers.append(&mut self.flushing.calls);
                let base = self.shared.ledgers().bases.values().min().copied();
                let frozen = Frozen { log_last: self.log.last, base };
                let mut live = self.shared.live_mut();
                live.frozen = Some(Arc::new(std::mem::take(&mut live.active)));
                self.log.bytes = 0;
                self.log.oldest = None;
                (frozen, live.frozen.clone())
            }
        };
        self.flushing.frozen = Some(frozen);
        self.flushing.running = true;
        let reached = self.shared.faults.reach(FaultPoint::Frozen);
        if let Err(error) = reached.and_then(|()| self.spawn(frozen, heads.unwrap_or_default())) {
            self.flushed(Err(error));
        }
    }

    /// Packs in a thread of its own, so that blocks go on being written.
    fn spawn(&self, frozen: Frozen, heads: Arc<Heads>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let packed = schema::open_reader(&shared.file)
                .and_then(|connection| flush::pack(&connection, &heads, frozen.base));
            let flushed = packed.and_then(|changes| {
                shared.faults.reach(FaultPoint::Encoded)?;
                Ok(Flushed { changes, log_last: frozen.log_last })
            });
            // Free the heads where the writer does: a query must find them until the chunks are there.
            drop(heads);
            shared.queue.put_flushed(flushed);
        };
        let spawned = thread::Builder::new().name("store-flush".to_owned()).spawn(work);
        spawned.map(drop).map_err(|source| StoreError::System { what: "a thread", source })
    }

    /// Commits the outcome, then lets go of the frozen heads.
    pub(super) fn flushed(&mut self, result: Result<Flushed, StoreError>) {
        self.flushing.running = false;
        let result = match result {
            Ok(flushed) => self.guarded(|writer| writer.commit_flush(&flushed)),
            Err(error) => self.guarded(|_| Err(error)),
        };
        match result {
            Ok(()) => {
                self.flushing.frozen = None;
                let frozen = self.shared.live_mut().frozen.take();
                // Freed when queries no longer wait for the lock.
                drop(frozen);
                self.shared.stats().flushes += 1;
                self.flushing.answers.drain(..).for_each(|reply| answer(reply, Ok(())));
                self.give_back();
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the heads could not be flushed, they stay");
                self.shared.stats().flushes_failed += 1;
                self.flushing.not_before = self.log.newest.saturating_add(PAUSE);
                let full = matches!(error, StoreError::Full);
                for reply in self.flushing.answers.drain(..).chain(self.flushing.calls.drain(..)) {
                    answer(reply, Err(if full { StoreError::Full } else { StoreError::Failed }));
                }
            }
        }
    }

    fn commit_flush(&mut self, flushed: &Flushed) -> Result<(), StoreError> {
        let faults = &self.shared.faults;
        let mut next = self.next_pack;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // First, so that the chunks can have its pages: also a full disk lets a flush pass.
        transaction.execute("DELETE FROM log WHERE id <= ?", [flushed.log_last])?;
        faults.reach(FaultPoint::LogDeleted)?;
        flush::save(&transaction, flushed, &mut next)?;
        faults.reach(FaultPoint::ChunksInserted)?;
        transaction.commit()?;
        faults.reach(FaultPoint::FlushCommitted)?;
        self.next_pack = next;
        self.shared.stats().damaged += flushed.damaged();
        Ok(())
    }

    /// Space that is not given back now is used again or given back after the next flush.
    fn give_back(&self) {
        if let Err(error) = retention::shrink(&self.connection) {
            tracing::debug!(error = chain(&error), "free pages stay in the file");
        }
    }
}

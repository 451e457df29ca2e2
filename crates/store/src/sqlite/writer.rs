//! The one thread that writes: batches of blocks, the outcome of flushes, and the ledger's small change.

use std::sync::Arc;

use rusqlite::Connection;

use super::batch::{self, Call};
use super::flushing::Flushing;
use super::queue::{Bounds, Command, Next, Reply, Waiting};
use super::shared::Shared;
use super::{change, entries, retention, shadows};
use crate::StoreError;

/// What the log holds that is not in frozen heads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogState {
    /// The last row, in frozen heads or not.
    pub(super) last: i64,
    pub(super) bytes: u64,
    /// When its first block was received.
    pub(super) oldest: Option<i64>,
    /// When the newest block of all was received.
    pub(super) newest: i64,
}

impl LogState {
    /// Takes note of a row.
    pub(super) fn took(&mut self, bytes: usize, received: i64) {
        self.bytes += bytes as u64;
        self.oldest = Some(self.oldest.map_or(received, |oldest| oldest.min(received)));
        self.newest = self.newest.max(received);
    }
}

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) log: LogState,
    /// The next free number in the table `pack`.
    pub(super) next_pack: i64,
    pub(super) flushing: Flushing,
    pub(super) failed: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, shared: Arc<Shared>, log: LogState, next_pack: i64) -> Self {
        Self { connection, shared, log, next_pack, flushing: Flushing::default(), failed: false }
    }

    /// Works until the queue is closed and empty. Returns whether all is well.
    pub(super) fn run(mut self) -> bool {
        let bounds = Bounds {
            commands: self.shared.config.batch_blocks_max.max(1),
            bytes: self.shared.config.batch_bytes_max,
        };
        loop {
            let next = self.shared.queue.next(bounds, self.flushing.running, self.is_full());
            match next {
                Next::Commands(commands) => self.commands(commands),
                Next::Flushed(result) => self.flushed(result),
                Next::End => break,
            }
            self.flush_if_due();
        }
        self.shared.queue.abandon();
        self.shared.close_readers();
        !self.failed
    }

    /// Whether no more may come before the flush under way has ended.
    fn is_full(&self) -> bool {
        self.flushing.running && self.shared.live().active.points() >= self.shared.config.head_points_max
    }

    fn commands(&mut self, commands: Vec<Waiting>) {
        let (mut blocks, mut shadows) = (Vec::new(), Vec::new());
        for waiting in commands {
            match waiting.command {
                Command::Write(block, reply) => blocks.push(Call { block, reply }),
                Command::Shadow(change, reply) => shadows.push((change, reply)),
                other => {
                    // What was called first is done first. Blocks and shadows know nothing of each other.
                    self.write(std::mem::take(&mut blocks));
                    self.shadows(std::mem::take(&mut shadows));
                    self.command(other);
                }
            }
        }
        self.write(blocks);
        self.shadows(shadows);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Write(block, reply) => self.write(vec![Call { block, reply }]),
            Command::Shadow(change, reply) => self.shadows(vec![(change, reply)]),
            Command::Forget { before_s, limit, reply } => {
                let result = self.guarded(|writer| shadows::forget(&mut writer.connection, before_s, limit));
                answer(reply, result);
            }
            Command::Entries(changes, reply) => {
                let result = self.guarded(|writer| entries::write(&mut writer.connection, &changes));
                answer(reply, result);
            }
            Command::Books(gateway, books, now, reply) => {
                let result = self.guarded(|writer| {
                    change::books(&mut writer.connection, &writer.shared, gateway, *books, now)
                });
                answer(reply, result);
            }
            Command::Quarantine(refused, reply) => {
                let result = self
                    .guarded(|writer| change::quarantine(&mut writer.connection, &writer.shared, *refused));
                answer(reply, result);
            }
            Command::OwnStream(gateway, now, reply) => {
                let result = self.guarded(|writer| {
                    change::own_stream(&mut writer.connection, &writer.shared, &gateway, now)
                });
                answer(reply, result);
            }
            Command::Retain(before, reply) => {
                let result = self.guarded(|writer| {
                    retention::retain(&mut writer.connection, before.nanos(), &mut writer.next_pack)
                });
                answer(reply, result);
            }
            Command::Flush(reply) => {
                if self.failed {
                    answer(reply, Err(StoreError::Failed));
                } else {
                    self.flushing.calls.push(reply);
                }
            }
        }
    }

    fn write(&mut self, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        if self.is_stuck() {
            self.flushing.hurry();
            calls.into_iter().for_each(|call| answer(call.reply, Err(StoreError::Full)));
            return;
        }
        let mut outcome = None;
        let result = self.guarded(|writer| {
            outcome = Some(batch::write(&mut writer.connection, &writer.shared, &mut writer.log, &calls)?);
            Ok(())
        });
        match (result, outcome) {
            (Ok(()), Some(outcomes)) => {
                for (call, outcome) in calls.into_iter().zip(outcomes) {
                    answer(call.reply, outcome);
                }
            }
            (result, _) => {
                let full = matches!(result, Err(StoreError::Full));
                let error = || if full { StoreError::Full } else { StoreError::Failed };
                calls.into_iter().for_each(|call| answer(call.reply, Err(error())));
            }
        }
    }

    fn shadows(&mut self, calls: Vec<(shadows::Change, Reply<()>)>) {
        if calls.is_empty() {
            return;
        }
        let (changes, replies): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let named_max = self.shared.config.named_shadows_max;
        let result = self.guarded(|writer| shadows::write(&mut writer.connection, changes, named_max));
        let full = matches!(result, Err(StoreError::Full));
        for reply in replies {
            let error = || if full { StoreError::Full } else { StoreError::Failed };
            answer(reply, if result.is_ok() { Ok(()) } else { Err(error()) });
        }
    }

    /// The heads are full, and the flush that should empty them has failed: most likely the disk is full.
    fn is_stuck(&self) -> bool {
        let live = self.shared.live();
        let frozen = live.frozen.as_ref().map_or(0, |frozen| frozen.points());
        self.flushing.has_failed() && frozen + live.active.points() > 2 * self.shared.config.head_points_max
    }

    /// Does something that writes. A full disk heals; after any other failure nobody knows what is on
    /// disk, and no more is written until the store is opened again.
    pub(super) fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        let result = work(self);
        match &result {
            Ok(_) | Err(StoreError::Refused { .. }) => {}
            Err(StoreError::Full) => tracing::warn!("the disk is full, nothing was stored"),
            Err(error) => {
                self.failed = true;
                tracing::error!(error = chain(error), "the store takes no more writes");
            }
        }
        result
    }
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    // The caller may have gone; what it asked for is done all the same.
    drop(reply.send(result));
}

/// An error and what lies behind it.
pub(super) fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

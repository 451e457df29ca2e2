//! Effects that are durable and not delivered yet, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::Timestamp;
use fieldline_rules::{Change, Effect, EffectKind, Mark};
use serde::Serialize;

pub(crate) const PREFIX: &str = "outbox/";
/// Messages that wait at most. Beyond, the oldest about what is over go first, then the oldest. Lines of alarm
/// history, commands and readings neither count nor go: where they are taken is no further away than the state.
pub const MESSAGES_MAX: usize = 10_000;

const SECOND: i64 = 1_000_000_000;
/// The longest wait between two tries.
const PAUSE_MAX: i64 = 300 * SECOND;

/// Effects that will never be delivered, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Undelivered {
    /// Refused for good by their target.
    pub refused: u64,
    /// For want of room.
    pub dropped: u64,
}

/// An effect that waits.
#[derive(Debug)]
struct Waiting {
    effect: Effect,
    /// When to try, by the host's clock.
    due: i64,
    tries: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: BTreeMap<u64, Waiting>,
    /// The same by when they are due.
    due: BTreeSet<(i64, u64)>,
    /// Messages among them: about what is over, and the others.
    over: BTreeSet<u64>,
    messages: BTreeSet<u64>,
    /// Written with the next commit: new, or done with.
    dirty: BTreeSet<u64>,
    /// From this number on nothing has been written yet.
    unwritten: u64,
    next: u64,
    pub(crate) undelivered: Undelivered,
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

impl Outbox {
    pub(crate) fn restore(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let number = u64::from_str_radix(key.strip_prefix(PREFIX)?, 16).ok()?;
        self.insert(number, serde_json::from_slice(value).ok()?);
        self.next = self.next.max(number.wrapping_add(1));
        self.unwritten = self.next;
        Some(())
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn insert(&mut self, number: u64, effect: Effect) {
        if let EffectKind::Notify(message) = &effect.kind {
            match message.mark {
                Mark::Historical => self.over.insert(number),
                Mark::Live | Mark::Late => self.messages.insert(number),
            };
        }
        self.due.insert((i64::MIN, number));
        self.waiting.insert(number, Waiting { effect, due: i64::MIN, tries: 0 });
    }

    fn remove(&mut self, number: u64) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.due.remove(&(waiting.due, number));
        self.over.remove(&number);
        self.messages.remove(&number);
        // What has never been written need not be taken back.
        match number >= self.unwritten {
            true => self.dirty.remove(&number),
            false => self.dirty.insert(number),
        };
    }

    /// Takes effects; how many messages had to go for want of room.
    pub(crate) fn put(&mut self, effects: Vec<Effect>) -> u64 {
        let mut dropped = 0;
        for effect in effects {
            self.insert(self.next, effect);
            self.dirty.insert(self.next);
            self.next = self.next.wrapping_add(1);
            while self.over.len() + self.messages.len() > MESSAGES_MAX {
                let cheapest = self.over.first().or_else(|| self.messages.first()).copied();
                let Some(number) = cheapest else { break };
                self.remove(number);
                dropped += 1;
            }
        }
        self.undelivered.dropped += dropped;
        dropped
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        self.unwritten = self.next;
        let value = |number: &u64| {
            let waiting = self.waiting.get(number)?;
            serde_json::to_vec(&waiting.effect).ok()
        };
        dirty.iter().map(|number| Change { key: key(*number), value: value(number) }).collect()
    }

    /// See [`fieldline_rules::Engine::clock_was_set`].
    pub(crate) fn clock_was_set(&mut self, by: i64) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.tries > 0) {
            waiting.due = waiting.due.saturating_add(by);
        }
        self.due = self.waiting.iter().map(|(number, waiting)| (waiting.due, *number)).collect();
    }

    /// Whether something is done with and not written so.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// When to try next.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| Timestamp::from_nanos(*due))
    }

    /// What is due, in the order in which it came.
    pub(crate) fn due_by(&self, now: i64) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.due.range(..=(now, u64::MAX)).map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Effect> {
        self.waiting.get(&number).map(|waiting| &waiting.effect)
    }

    /// It is delivered, or given up.
    pub(crate) fn done(&mut self, number: u64) {
        self.remove(number);
    }

    /// It is tried again after a pause that doubles each time.
    pub(crate) fn later(&mut self, number: u64, now: i64) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        let pause = (SECOND << waiting.tries.min(16)).min(PAUSE_MAX);
        waiting.tries = waiting.tries.saturating_add(1);
        self.due.remove(&(waiting.due, number));
        waiting.due = now.saturating_add(pause);
        self.due.insert((waiting.due, number));
    }
}

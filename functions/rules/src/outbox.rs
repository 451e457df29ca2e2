//! Effects that are durable and not delivered yet, in the order in which they came.

use std::collections::BTreeMap;

use fieldline_model::Timestamp;
use fieldline_rules::{Change, Effect, EffectKind, Mark};

pub(crate) const PREFIX: &str = "outbox/";
/// Effects that wait at most. Beyond, the oldest messages about what is over go first, then the oldest messages;
/// lines of alarm history, commands and readings never.
pub const OUTBOX_MAX: usize = 10_000;

const SECOND: i64 = 1_000_000_000;
/// The longest wait between two tries.
const PAUSE_MAX: i64 = 300 * SECOND;

/// Effects that will never be delivered, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Written with the next commit: new, or done with.
    dirty: Vec<u64>,
    next: u64,
    pub(crate) undelivered: Undelivered,
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

impl Outbox {
    pub(crate) fn restore(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let number = u64::from_str_radix(key.strip_prefix(PREFIX)?, 16).ok()?;
        let effect = serde_json::from_slice(value).ok()?;
        self.waiting.insert(number, Waiting { effect, due: i64::MIN, tries: 0 });
        self.next = self.next.max(number.wrapping_add(1));
        Some(())
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn put(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.waiting.insert(self.next, Waiting { effect, due: i64::MIN, tries: 0 });
            self.dirty.push(self.next);
            self.next = self.next.wrapping_add(1);
        }
        while self.waiting.len() > OUTBOX_MAX {
            let Some(number) = self.cheapest() else { return };
            self.waiting.remove(&number);
            self.dirty.push(number);
            self.undelivered.dropped += 1;
        }
    }

    fn cheapest(&self) -> Option<u64> {
        let messages = || {
            self.waiting.iter().filter_map(|(number, waiting)| match &waiting.effect.kind {
                EffectKind::Notify(message) => Some((*number, message.mark)),
                _ => None,
            })
        };
        let over = messages().find(|(_, mark)| *mark == Mark::Historical);
        over.or_else(|| messages().next()).map(|(number, _)| number)
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
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
    }

    /// Whether something is done with and not written so.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// When to try next.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.waiting.values().map(|waiting| waiting.due).min().map(Timestamp::from_nanos)
    }

    /// The first effect after this number that is due.
    pub(crate) fn next_due(&self, after: Option<u64>, now: i64) -> Option<(u64, &Effect)> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let mut waiting = self.waiting.range(from..);
        waiting.find(|(_, waiting)| waiting.due <= now).map(|(number, waiting)| (*number, &waiting.effect))
    }

    /// It is delivered, or given up.
    pub(crate) fn done(&mut self, number: u64) {
        if self.waiting.remove(&number).is_some() {
            self.dirty.push(number);
        }
    }

    /// It is tried again after a pause that doubles each time.
    pub(crate) fn later(&mut self, number: u64, now: i64) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            let pause = (SECOND << waiting.tries.min(16)).min(PAUSE_MAX);
            waiting.tries = waiting.tries.saturating_add(1);
            waiting.due = now.saturating_add(pause);
        }
    }
}

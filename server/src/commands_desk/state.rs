//! All executions, and what becomes of them: no clock, no store, no broker.
//!
//! [`Book::take_changes`] gives what is to be written before anyone hears of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldline_model::{CommandPart, CommandStatus, CommandTopic, ExecutionId, ThingName, topic_matches};
use fieldline_store::{Entry, EntryChange};

use super::execution::{Execution, Order, Response, ResponseError};

/// The kind of the entries in the store.
pub(crate) const KIND: &str = "command";

/// What is kept, at most.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Commands of one thing that have not ended.
    pub(crate) open_of_thing: usize,
    /// Commands of all things that have not ended.
    pub(crate) open: usize,
    /// Commands that have ended; the oldest go first.
    pub(crate) ended: usize,
    /// How long one that has ended is kept, in milliseconds.
    pub(crate) ended_ms: i64,
    /// All of them together, in bytes; those that have ended make room.
    pub(crate) bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_of_thing: 100,
            open: 10_000,
            ended: 10_000,
            ended_ms: 7 * 24 * 3_600_000,
            bytes: 64 << 20,
        }
    }
}

/// Why what was asked for was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no command {0}; it may have ended long ago")]
    NoSuch(ExecutionId),
    #[error("the command has ended: it is {0}")]
    Ended(CommandStatus),
    #[error("{0} commands wait for this thing already; cancel some, or wait until they expire")]
    ThingFull(usize),
    #[error("{0} commands wait already; cancel some, or wait until they expire")]
    Full(usize),
    #[error("the commands that wait take all the room there is; cancel some, or wait until they expire")]
    NoRoom,
    #[error("commands cannot be stored at the moment; the server's log says why")]
    Unavailable,
}

/// The executions.
#[derive(Debug, Default)]
pub(crate) struct Book {
    limits: Limits,
    executions: BTreeMap<ExecutionId, Arc<Execution>>,
    /// Those that have not ended, by thing, in the order in which they came.
    open: BTreeMap<ThingName, BTreeSet<ExecutionId>>,
    deadlines: BTreeSet<(i64, ExecutionId)>,
    /// Those that have ended, by when.
    ended: BTreeSet<(i64, ExecutionId)>,
    bytes: usize,
    /// Millisecond and count in the latest id: ids ascend, also where the clock went back.
    last: (i64, u16),
    changed: BTreeSet<ExecutionId>,
}

impl Book {
    /// The executions as they were stored.
    pub(crate) fn load(limits: Limits, entries: Vec<Entry>) -> Result<Self, serde_json::Error> {
        let mut book = Self { limits, ..Self::default() };
        for entry in entries {
            let execution: Execution = serde_json::from_str(&entry.value)?;
            book.last = book.last.max(made(&execution.id));
            book.index(Arc::new(execution));
        }
        Ok(book)
    }

    /// A new execution. `random` keeps ids from being guessed, and apart from those of another server.
    pub(crate) fn create(&mut self, order: Order, now: i64, random: u64) -> Result<Arc<Execution>, Refused> {
        if let Some(known) = order.id.as_ref().and_then(|id| self.executions.get(id)) {
            return Ok(Arc::clone(known));
        }
        let of_thing = self.open.get(&order.thing).map_or(0, BTreeSet::len);
        if of_thing >= self.limits.open_of_thing {
            return Err(Refused::ThingFull(of_thing));
        }
        if self.deadlines.len() >= self.limits.open {
            return Err(Refused::Full(self.deadlines.len()));
        }
        let execution = Execution {
            id: order.id.unwrap_or_else(|| self.fresh_id(now, random)),
            thing: order.thing,
            command: order.command,
            parameters: order.parameters,
            status: CommandStatus::Created,
            settled: false,
            reason: None,
            result: None,
            created: now,
            expires: now.saturating_add(order.timeout_ms),
            updated: now,
        };
        self.make_room(execution.size_bytes());
        if self.bytes.saturating_add(execution.size_bytes()) > self.limits.bytes {
            return Err(Refused::NoRoom);
        }
        Ok(self.put(execution))
    }

    /// What a device says of one of its executions.
    pub(crate) fn respond(
        &mut self,
        thing: &ThingName,
        id: &ExecutionId,
        response: Response,
        now: i64,
    ) -> Result<(), ResponseError> {
        self.tick(now);
        let found = self.executions.get(id).filter(|execution| execution.thing == *thing);
        let execution = found.ok_or_else(|| ResponseError::NoSuch(id.clone()))?;
        if let Some(next) = execution.answered(response, now)? {
            self.put(next);
        }
        Ok(())
    }

    /// Takes one back that has not ended.
    pub(crate) fn cancel(&mut self, id: &ExecutionId, now: i64) -> Result<Arc<Execution>, Refused> {
        self.tick(now);
        let execution = self.get(id)?;
        let canceled = execution.canceled(now).ok_or(Refused::Ended(execution.status))?;
        Ok(self.put(canceled))
    }

    /// Ends what has expired, and forgets what ended long ago or takes too much room.
    pub(crate) fn tick(&mut self, now: i64) {
        while let Some((deadline, id)) = self.deadlines.first()
            && *deadline <= now
        {
            let Some(execution) = self.executions.get(id).cloned() else {
                self.deadlines.pop_first();
                continue;
            };
            self.put(execution.time_out(now));
        }
        while let Some((ended, id)) = self.ended.first()
            && (self.ended.len() > self.limits.ended || ended.saturating_add(self.limits.ended_ms) <= now)
        {
            self.remove(&id.clone());
        }
        self.make_room(0);
    }

    /// When [`Book::tick`] has something to do.
    pub(crate) fn wake_at(&self) -> Option<i64> {
        let forget = self.ended.first().map(|(ended, _)| ended.saturating_add(self.limits.ended_ms));
        let expire = self.deadlines.first().map(|(deadline, _)| *deadline);
        forget.into_iter().chain(expire).min()
    }

    pub(crate) fn get(&self, id: &ExecutionId) -> Result<Arc<Execution>, Refused> {
        self.executions.get(id).cloned().ok_or_else(|| Refused::NoSuch(id.clone()))
    }

    /// The earliest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Execution> {
        self.executions.values().map(AsRef::as_ref)
    }

    /// The latest first.
    pub(crate) fn list(
        &self,
        thing: Option<&ThingName>,
        status: Option<CommandStatus>,
        limit: usize,
    ) -> Vec<Arc<Execution>> {
        let wanted = |execution: &&Arc<Execution>| {
            thing.is_none_or(|thing| execution.thing == *thing)
                && status.is_none_or(|status| execution.status == status)
        };
        self.executions.values().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// What a subscriber to `filter` is to be told again: everything that no device has answered yet.
    pub(crate) fn unanswered(&self, filter: &str) -> Vec<Arc<Execution>> {
        let mut levels = filter.split('/').skip(3);
        let things: Vec<&BTreeSet<ExecutionId>> = match levels.next() {
            Some("+" | "#") | None => self.open.values().collect(),
            Some(thing) => self.open.get(thing).into_iter().collect(),
        };
        let found = things.into_iter().flatten().filter_map(|id| self.executions.get(id));
        found
            .filter(|execution| execution.status == CommandStatus::Created)
            .filter(|execution| topic_matches(filter, &execution.topic(CommandPart::Request).to_string()))
            .cloned()
            .collect()
    }

    /// What has changed since this was last asked, to be written.
    pub(crate) fn take_changes(&mut self) -> (Vec<EntryChange>, BTreeSet<ExecutionId>) {
        let changed = std::mem::take(&mut self.changed);
        let change = |id: &ExecutionId| match self.executions.get(id) {
            Some(execution) => EntryChange::Put(entry(execution)),
            None => EntryChange::Delete { kind: KIND.to_owned(), key: id.as_str().to_owned() },
        };
        (changed.iter().map(change).collect(), changed)
    }

    fn put(&mut self, execution: Execution) -> Arc<Execution> {
        self.unindex(&execution.id);
        self.changed.insert(execution.id.clone());
        let execution = Arc::new(execution);
        self.index(execution.clone());
        execution
    }

    fn remove(&mut self, id: &ExecutionId) {
        self.unindex(id);
        self.changed.insert(id.clone());
    }

    fn index(&mut self, execution: Arc<Execution>) {
        let id = execution.id.clone();
        self.bytes += execution.size_bytes();
        if execution.status.is_end() {
            self.ended.insert((execution.updated, id.clone()));
        } else {
            self.open.entry(execution.thing.clone()).or_default().insert(id.clone());
            self.deadlines.insert((execution.expires, id.clone()));
        }
        self.executions.insert(id, execution);
    }

    fn unindex(&mut self, id: &ExecutionId) {
        let Some(execution) = self.executions.remove(id) else { return };
        self.bytes = self.bytes.saturating_sub(execution.size_bytes());
        self.ended.remove(&(execution.updated, id.clone()));
        self.deadlines.remove(&(execution.expires, id.clone()));
        if let Some(open) = self.open.get_mut(&execution.thing) {
            open.remove(id);
            if open.is_empty() {
                self.open.remove(&execution.thing);
            }
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes.saturating_add(bytes) > self.limits.bytes {
            let Some((_, id)) = self.ended.first().cloned() else { return };
            self.remove(&id);
        }
    }

    /// A UUID of version 7 (RFC 9562, section 5.7): they sort as they were made.
    fn fresh_id(&mut self, now: i64, random: u64) -> ExecutionId {
        self.last = match self.last {
            (ms, _) if now > ms => (now, 0),
            (ms, 0xfff) => (ms + 1, 0),
            (ms, count) => (ms, count + 1),
        };
        let (ms, count) = self.last;
        let ms = u128::from(ms.unsigned_abs() & 0xffff_ffff_ffff);
        let bits = (ms << 80)
            | (0x7 << 76)
            | (u128::from(count) << 64)
            | (0x2 << 62)
            | u128::from(random & (u64::MAX >> 2));
        ExecutionId::new(&crate::trace_id::hyphenated(bits)).expect("a UUID is an execution's id")
    }
}

/// The millisecond and the count in an id of [`Book::fresh_id`]; the least for any other.
fn made(id: &ExecutionId) -> (i64, u16) {
    let digits = id.as_str().replace('-', "");
    let Some(bits) = u128::from_str_radix(&digits, 16).ok().filter(|bits| (bits >> 76) & 0xf == 7) else {
        return (0, 0);
    };
    (i64::try_from(bits >> 80).unwrap_or(0), ((bits >> 64) & 0xfff) as u16)
}

/// As it is stored.
fn entry(execution: &Execution) -> Entry {
    let value = serde_json::to_string(execution).expect("an execution has no map with strange keys");
    Entry { kind: KIND.to_owned(), key: execution.id.as_str().to_owned(), value }
}

impl Execution {
    /// The topic of one of its messages.
    pub(crate) fn topic(&self, part: CommandPart) -> CommandTopic {
        CommandTopic { thing: self.thing.clone(), execution: self.id.clone(), part }
    }
}

#[cfg(test)]
mod tests;

//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fieldline_model::{Books, GatewayId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::flush::Flushed;
use super::{Retained, shadows};
use crate::{EntryChange, OwnStream, ReceivedBlock, Refused, StoreError, Written};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call that writes.
#[derive(Debug)]
pub(super) enum Command {
    Write(Arc<ReceivedBlock>, Reply<Written>),
    Books(GatewayId, Box<Books>, Timestamp, Reply<()>),
    Quarantine(Box<Refused>, Reply<()>),
    OwnStream(GatewayId, Timestamp, Reply<OwnStream>),
    Shadow(shadows::Change, Reply<()>),
    Forget { before_s: i64, limit: usize, reply: Reply<usize> },
    Entries(Vec<EntryChange>, Reply<()>),
    Retain(Timestamp, Reply<Retained>),
    Flush(Reply<()>),
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next {
    Commands(Vec<Waiting>),
    Flushed(Result<Flushed, StoreError>),
    End,
}

/// A command and its place in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) command: Command,
    _place: OwnedSemaphorePermit,
}

/// Commands in order, bounded; and the result of a flush, which goes first.
#[derive(Debug)]
pub(super) struct Queue {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    flushed: Option<Result<Flushed, StoreError>>,
    closed: bool,
}

/// How much the writer takes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) commands: usize,
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Self { places, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, then for the answer.
    pub(super) async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.closed {
                return Err(StoreError::Closed);
            }
            state.waiting.push_back(Waiting { command: command(reply), _place: place });
        }
        self.changed.notify_all();
        // The writer drops what it has not answered when it ends.
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes no more commands; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.changed.notify_all();
    }

    /// Takes no more commands and forgets what waits: the writer is gone.
    pub(super) fn abandon(&self) {
        self.close();
        self.lock().waiting.clear();
    }

    pub(super) fn put_flushed(&self, result: Result<Flushed, StoreError>) {
        self.lock().flushed = Some(result);
        self.changed.notify_all();
    }

    /// Waits for something to do. With `only_flush` for the result of the flush that is under way.
    pub(super) fn next(&self, bounds: Bounds, flushing: bool, only_flush: bool) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.flushed.take() {
                return Next::Flushed(result);
            }
            if !only_flush && !state.waiting.is_empty() {
                return Next::Commands(state.take(bounds));
            }
            if state.closed && !flushing {
                return Next::End;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn take(&mut self, bounds: Bounds) -> Vec<Waiting> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(first) = self.waiting.front() {
            bytes += match &first.command {
                Command::Write(block, _) => block.encoded.len(),
                _ => 0,
            };
            if !taken.is_empty() && (bytes > bounds.bytes || taken.len() >= bounds.commands) {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}

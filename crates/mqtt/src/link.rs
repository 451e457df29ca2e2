//! The letter box of one server connection: what other threads want of it, and how it is woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::broker::Shared;
use crate::reason::V3Answer;
use crate::{ClientInfo, DisconnectReason, PublishError, Version};

/// What the application made of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// To be acknowledged.
    Accepted,
    /// To be refused with a reason.
    Refused(PublishError),
    /// The connection is to be closed.
    Disconnect,
    /// The receipt was dropped: never to be acknowledged on this connection.
    Abandoned,
}

impl Outcome {
    /// Whether the client is told that it need not send the message again, and is not told of an error.
    pub(crate) fn is_acknowledged(self, version: Version) -> bool {
        match self {
            Self::Accepted => true,
            Self::Refused(error) => version == Version::V3_1_1 && error.v3_answer() == V3Answer::Acknowledge,
            Self::Disconnect | Self::Abandoned => false,
        }
    }
}

/// Shared by a connection's task, its receipts and its session.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: ClientInfo,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    completions: Vec<(u64, Outcome)>,
    mail: bool,
    close: Option<DisconnectReason>,
    ended: bool,
    waker: Option<Waker>,
}

/// What a connection finds in its letter box beside completions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The session has messages to send.
    pub(crate) mail: bool,
    /// The connection is to be closed.
    pub(crate) close: Option<DisconnectReason>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, client: ClientInfo) -> Arc<Self> {
        Arc::new(Self { shared, client, inbox: Mutex::default() })
    }

    /// Reports the outcome of message number `slot`. Cheap: one lock, and one wake-up for all that
    /// is reported until the connection looks.
    pub(crate) fn complete(&self, slot: u64, outcome: Outcome) {
        let mut inbox = lock(&self.inbox);
        if inbox.ended {
            return;
        }
        inbox.completions.push((slot, outcome));
        wake(inbox);
    }

    /// Says that the session has something to send.
    pub(crate) fn notify_mail(&self) {
        let mut inbox = lock(&self.inbox);
        inbox.mail = true;
        wake(inbox);
    }

    /// Asks the connection to end.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        let mut inbox = lock(&self.inbox);
        inbox.close.get_or_insert(reason);
        wake(inbox);
    }

    /// Takes everything out of the letter box. `completions` is swapped, so that its memory is
    /// used again.
    pub(crate) fn collect(&self, completions: &mut Vec<(u64, Outcome)>) -> Wishes {
        let mut inbox = lock(&self.inbox);
        completions.clear();
        std::mem::swap(completions, &mut inbox.completions);
        Wishes { mail: std::mem::take(&mut inbox.mail), close: inbox.close }
    }

    /// Registers for a wake-up; true when there already is something to collect.
    pub(crate) fn register(&self, context: &Context<'_>) -> bool {
        let mut inbox = lock(&self.inbox);
        if !inbox.completions.is_empty() || inbox.mail || inbox.close.is_some() {
            return true;
        }
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        false
    }

    /// The connection is gone: late completions are dropped.
    pub(crate) fn end(&self) {
        let mut inbox = lock(&self.inbox);
        *inbox = Inbox { ended: true, ..Inbox::default() };
    }
}

fn wake(mut inbox: MutexGuard<'_, Inbox>) {
    let waker = inbox.waker.take();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Locks; a panic of another thread while it held the lock does not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

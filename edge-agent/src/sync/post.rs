//! What other parts of the agent say to the server and hear from it, over the uplink's connection.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use fieldline_mqtt::Message;
use tokio::sync::{Mutex, MutexGuard, mpsc};

/// How much may wait to be said. Whoever finds no room begins anew when the link is up again.
const WAITING_MAX: usize = 256;

/// A part of the agent that speaks with the server. None of its methods may block.
pub(crate) trait Correspondent: Send + Sync + fmt::Debug {
    /// The topic filters that it listens to, asked for at the beginning of each connection.
    fn filters(&self) -> Vec<String>;

    /// There is a connection, and the server has answered all subscriptions. What was to be said before is
    /// forgotten. `generation` is that of the course that the connection was made on.
    fn up(&self, generation: u64);

    /// The server has answered a filter that was asked for by [`Post::subscribe`], whosoever asked.
    fn subscribed(&self, _filter: &str, _granted: bool) {}

    /// The connection is lost.
    fn down(&self) {}

    /// A message for the gateway that is no acknowledgement of the store, whosoever listens to its topic.
    /// It may come twice.
    fn heard(&self, message: &Message);
}

/// Something to do for a correspondent.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Publish, at QoS 1.
    Publish {
        /// The topic.
        topic: String,
        /// The payload.
        payload: Bytes,
    },
    /// Subscribe for the rest of this connection.
    Subscribe(Vec<String>),
}

/// Where letters are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Post(mpsc::Sender<Letter>);

impl Post {
    /// False when too much waits.
    pub(crate) fn publish(&self, topic: impl Into<String>, payload: impl Into<Bytes>) -> bool {
        self.0.try_send(Letter::Publish { topic: topic.into(), payload: payload.into() }).is_ok()
    }

    /// False when too much waits.
    pub(crate) fn subscribe(&self, filters: Vec<String>) -> bool {
        self.0.try_send(Letter::Subscribe(filters)).is_ok()
    }
}

/// The uplink's end.
#[derive(Debug)]
pub(crate) struct Office {
    letters: Mutex<mpsc::Receiver<Letter>>,
    correspondents: Vec<Arc<dyn Correspondent>>,
}

/// The two ends of the post.
pub(crate) fn post() -> (Post, mpsc::Receiver<Letter>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Post(sender), receiver)
}

impl Office {
    pub(crate) fn new(letters: mpsc::Receiver<Letter>, correspondents: Vec<Arc<dyn Correspondent>>) -> Self {
        Self { letters: Mutex::new(letters), correspondents }
    }

    /// What waits, for one connection; what was said before it is gone.
    pub(super) async fn open(&self) -> MutexGuard<'_, mpsc::Receiver<Letter>> {
        let mut letters = self.letters.lock().await;
        while letters.try_recv().is_ok() {}
        letters
    }

    pub(super) fn filters(&self) -> Vec<String> {
        self.correspondents.iter().flat_map(|one| one.filters()).collect()
    }

    pub(super) fn up(&self, generation: u64) {
        self.correspondents.iter().for_each(|one| one.up(generation));
    }

    pub(super) fn subscribed(&self, filter: &str, granted: bool) {
        self.correspondents.iter().for_each(|one| one.subscribed(filter, granted));
    }

    pub(super) fn down(&self) {
        self.correspondents.iter().for_each(|one| one.down());
    }

    pub(super) fn heard(&self, message: &Message) {
        self.correspondents.iter().for_each(|one| one.heard(message));
    }
}

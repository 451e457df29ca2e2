//! The shadows of the devices behind this gateway. A device asks here on AWS IoT's topics and is answered at
//! once, whether the cloud can be reached or not; both sides are brought together when it can.
//!
//! Invariants
//! - A change is on disk before its device hears `accepted`, and stays until the cloud has it.
//! - Where both sides have changed a leaf, `desired` is the cloud's and `reported` the device's.
//! - What a shadow still needs follows from its one file: there is no second list that could disagree.

mod access;
mod cabinet;
mod filters;
mod inbox;
mod machine;
mod merge;
mod record;
#[cfg(test)]
mod tests;
mod worker;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use fieldline_journal::DiskFs;
use fieldline_model::{GatewayId, ShadowId, ShadowOperation, ShadowPart, ShadowTopic, ThingName};
use fieldline_mqtt::{Broker, ClientInfo, Identity, Message, PublishError, Receipt, Routing};
use fieldline_shadow::{Error, Turn, Turns};
use tokio::sync::oneshot;

use self::cabinet::Cabinet;
use self::inbox::{Asker, Event, Inbox, Request};
use self::machine::{Bounds, Machine};
use self::worker::Worker;
use crate::config::ThingsSettings;
use crate::sync::{Correspondent, Post};

pub(crate) use access::{is_own, is_thing};
pub use machine::Shadows;

/// A request that is larger than this is refused unread, in bytes: a shadow has at most 8 KiB.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The agent's side that speaks with devices and with the cloud; a thread of its own does the work.
#[derive(Debug)]
pub(crate) struct Things {
    gateway: GatewayId,
    inbox: Arc<Inbox>,
    turns: Turns,
    numbers: Arc<Mutex<Shadows>>,
}

/// What the thread begins with.
#[derive(Debug)]
pub(crate) struct Opened(Machine);

impl Things {
    /// Opens the shadows below the agent's data folder; none if they are switched off. `aws` is whether the
    /// server is AWS IoT Core.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn open(
        gateway: &GatewayId,
        settings: &ThingsSettings,
        data: &Path,
        aws: bool,
    ) -> anyhow::Result<Option<(Arc<Self>, Opened)>> {
        if !settings.enabled {
            return Ok(None);
        }
        let folder = data.join("shadows");
        let (cabinet, shadows) = Cabinet::open(Arc::new(DiskFs), folder.clone())
            .with_context(|| format!("cannot use the folder of shadows {}", folder.display()))?;
        let bounds = Bounds {
            shadows_max: settings.shadows_max,
            subscriptions_max: settings.subscriptions_max(aws),
            every_thing: settings.subscribe_to_every_thing,
            widens: !aws && settings.subscriptions_max.is_none(),
        };
        let run = getrandom::u32().unwrap_or_else(|_| std::process::id());
        let things = Self {
            gateway: gateway.clone(),
            inbox: Arc::default(),
            turns: Turns::default(),
            numbers: Arc::default(),
        };
        Ok(Some((Arc::new(things), Opened(Machine::new(cabinet, shadows, bounds, run)))))
    }

    /// Starts the thread; the receiver is ready when it has ended, after [`Things::stop`].
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn start(
        &self,
        opened: Opened,
        broker: Broker,
        post: Post,
    ) -> anyhow::Result<oneshot::Receiver<()>> {
        let (inbox, numbers) = (Arc::clone(&self.inbox), Arc::clone(&self.numbers));
        let worker = Worker { inbox, machine: opened.0, broker, post, numbers };
        let (ended, has_ended) = oneshot::channel();
        std::thread::Builder::new().name("shadows".to_owned()).spawn(move || {
            worker.run();
            if ended.send(()).is_err() {
                tracing::debug!("nobody waited for the last shadow");
            }
        })?;
        Ok(has_ended)
    }

    /// No new requests; what waits is done.
    pub(crate) fn stop(&self) {
        self.inbox.stop();
    }

    /// How the shadows do.
    pub(crate) fn numbers(&self) -> Shadows {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn may_publish(&self, client: &ClientInfo, topic: &str) -> bool {
        access::may_publish(&self.gateway, name(client), topic)
    }

    pub(crate) fn may_subscribe(&self, client: &ClientInfo, filter: &str) -> bool {
        access::may_subscribe(&self.gateway, name(client), filter)
    }

    /// A device has subscribed.
    pub(crate) fn subscribed(&self, filter: &str) {
        if !access::watched(filter).is_empty() {
            self.inbox.watched(filter);
        }
    }

    /// A rule of this gateway asks to update a classic shadow; true is sent when that is on disk. None when too
    /// much waits.
    pub(crate) fn desire(&self, thing: ThingName, payload: bytes::Bytes) -> Option<oneshot::Receiver<bool>> {
        let shadow = ShadowId { thing, name: None };
        let topic = ShadowTopic { shadow, operation: ShadowOperation::Update, part: ShadowPart::Request };
        let (written, is_written) = oneshot::channel();
        let asker = Asker::Rule(written);
        let request = Box::new(Request { topic, payload, refused: None, turn: None, asker });
        self.inbox.request(request).is_ok().then_some(is_written)
    }

    /// A device asks. The receipt is answered after the reply.
    pub(crate) fn ask(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        let Ok(topic) = message.topic.parse::<ShadowTopic>() else {
            return receipt.accept(Routing::Consume);
        };
        let turn = self.turns.take(&client.client_id).filter(Turn::works);
        let (payload, refused) = match turn {
            Some(_) if message.payload.len() <= PAYLOAD_BYTES_MAX => (message.payload, None),
            Some(_) => (bytes::Bytes::new(), Some(Error::TooLarge)),
            None => (bytes::Bytes::new(), Some(Error::Throttled)),
        };
        let request = Box::new(Request { topic, payload, refused, turn, asker: Asker::Device(receipt) });
        if let Err(back) = self.inbox.request(request)
            && let Asker::Device(receipt) = back.asker
        {
            receipt.reject(PublishError::QuotaExceeded);
        }
    }
}

impl Correspondent for Things {
    /// Filters are asked for one by one, as devices become known.
    fn filters(&self) -> Vec<String> {
        Vec::new()
    }

    fn up(&self, _generation: u64) {
        self.inbox.link(Event::Up);
    }

    fn subscribed(&self, filter: &str, granted: bool) {
        self.inbox.link(Event::Subscribed(filter.to_owned(), granted));
    }

    fn down(&self) {
        self.inbox.link(Event::Down);
    }

    fn heard(&self, message: &Message) {
        let Ok(topic) = message.topic.parse::<ShadowTopic>() else { return };
        let concerns = !matches!(topic.part, ShadowPart::Request | ShadowPart::Delta);
        if concerns && topic.shadow.thing.as_str() != self.gateway.as_str() {
            self.inbox.message(topic, message.payload.clone());
        }
    }
}

/// The thing that the client's certificate vouches for; none without a certificate, `""` for one that names no
/// thing.
pub(crate) fn name(client: &ClientInfo) -> Option<&str> {
    client.identity.as_ref().map(|identity| thing(identity).unwrap_or_default())
}

/// The thing that a certificate names.
pub(crate) fn thing(identity: &Identity) -> Option<&str> {
    identity.common_name.as_deref().filter(|name| is_thing(name))
}

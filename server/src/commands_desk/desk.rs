//! Where requests are handed in: by the broker, which must not wait, and by HTTP, which does.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use fieldline_model::{CommandPart, CommandStatus, CommandTopic, ExecutionId, ThingName};
use tokio::sync::{mpsc, oneshot};

use super::execution::{Execution, Order};
use super::state::Refused;
use super::work::now_ms;
use crate::answer::Answer;
use crate::waiting::Place;

/// What becomes of a request for one execution.
pub(super) type One = Result<Arc<Execution>, Refused>;
/// What becomes of a request for several.
pub(super) type Many = Result<Vec<Arc<Execution>>, Refused>;

/// What is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Send a command.
    Create(Order, oneshot::Sender<One>),
    /// Take it back.
    Cancel(ExecutionId, oneshot::Sender<One>),
    /// Show one.
    Get(ExecutionId, oneshot::Sender<One>),
    /// Show one as soon as its status is another than this; without one, as soon as it has ended.
    Wait(ExecutionId, Option<CommandStatus>, oneshot::Sender<One>),
    /// Show the latest.
    List(Which, oneshot::Sender<Many>),
    /// A device has answered.
    Response(Box<DeviceResponse>),
    /// Somebody has subscribed to this filter.
    Subscribed(String),
}

/// Which executions are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Which {
    pub(crate) thing: Option<ThingName>,
    pub(crate) status: Option<CommandStatus>,
    pub(crate) limit: usize,
}

/// A device's answer as it came.
#[derive(Debug)]
pub(crate) struct DeviceResponse {
    pub(crate) topic: CommandTopic,
    pub(crate) payload: Bytes,
    pub(crate) answer: Answer,
    pub(crate) place: Place,
}

/// The commands that may still reach a device, and until when in milliseconds since the epoch. A session's
/// queue may hold messages of others: of those that were canceled, answered, or have expired.
#[derive(Debug, Clone, Default)]
pub(super) struct Due(Arc<RwLock<HashMap<ExecutionId, i64>>>);

impl Due {
    /// This is what is durable of an execution; none where it is forgotten.
    pub(super) fn set(&self, id: &ExecutionId, execution: Option<&Execution>) {
        let mut due = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match execution.filter(|execution| execution.status == CommandStatus::Created) {
            Some(execution) => due.insert(id.clone(), execution.expires),
            None => due.remove(id),
        };
    }

    fn is_due(&self, id: &ExecutionId, now_ms: i64) -> bool {
        let due = self.0.read().unwrap_or_else(PoisonError::into_inner);
        due.get(id).is_some_and(|expires| now_ms < *expires)
    }
}

/// What the task works through.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) due: Due,
}

/// Where requests are handed in. Cheap to clone. Devices' answers are bounded by [`crate::waiting`],
/// HTTP requests by their connections.
#[derive(Debug, Clone)]
pub(crate) struct CommandDesk {
    asks: mpsc::UnboundedSender<Ask>,
    due: Due,
}

impl CommandDesk {
    pub(crate) fn new() -> (Self, Line) {
        let (asks, asked) = mpsc::unbounded_channel();
        let due = Due::default();
        (Self { asks, due: due.clone() }, Line { asks: asked, due })
    }

    /// Whether a message on `topic` may go to a client now: a request only as long as its command waits
    /// for the device, anything else at any time.
    pub(crate) fn is_due(&self, topic: &str) -> bool {
        if !topic.starts_with("$aws/commands/") {
            return true;
        }
        match topic.parse::<CommandTopic>() {
            Ok(topic) if topic.part == CommandPart::Request => self.due.is_due(&topic.execution, now_ms()),
            _ => true,
        }
    }

    /// A device has answered; it hears its PUBACK when the answer is settled.
    pub(crate) fn respond(&self, response: DeviceResponse) {
        self.offer(Ask::Response(Box::new(response)));
    }

    /// Somebody has subscribed: if to a thing's commands, those that wait are published again.
    pub(crate) fn subscribed(&self, filter: &str) {
        // A wildcard in the first level takes no topic that begins with $ (MQTT 5, section 4.7.2).
        if filter.starts_with("$aws/") {
            self.offer(Ask::Subscribed(filter.to_owned()));
        }
    }

    pub(crate) async fn create(&self, order: Order) -> One {
        self.ask(|reply| Ask::Create(order, reply)).await
    }

    pub(super) async fn cancel(&self, id: ExecutionId) -> One {
        self.ask(|reply| Ask::Cancel(id, reply)).await
    }

    pub(crate) async fn get(&self, id: ExecutionId) -> One {
        self.ask(|reply| Ask::Get(id, reply)).await
    }

    pub(super) async fn wait(&self, id: ExecutionId, status: Option<CommandStatus>) -> One {
        self.ask(|reply| Ask::Wait(id, status, reply)).await
    }

    pub(super) async fn list(&self, which: Which) -> Many {
        self.ask(|reply| Ask::List(which, reply)).await
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Ask,
    ) -> Result<T, Refused> {
        let (reply, told) = oneshot::channel();
        self.offer(ask(reply));
        told.await.unwrap_or(Err(Refused::Unavailable))
    }

    fn offer(&self, ask: Ask) {
        if self.asks.send(ask).is_err() {
            tracing::debug!("a request for commands came too late for this run");
        }
    }
}

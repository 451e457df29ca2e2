//! Where requests are handed in: by the broker, which must not wait, and by HTTP, which does.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{CommandStatus, CommandTopic, ExecutionId, ThingName};
use tokio::sync::{mpsc, oneshot};

use super::execution::{Execution, Order};
use super::state::Refused;
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

/// Where requests are handed in. Cheap to clone. Devices' answers are bounded by [`crate::waiting`],
/// HTTP requests by their connections.
#[derive(Debug, Clone)]
pub(crate) struct CommandDesk {
    asks: mpsc::UnboundedSender<Ask>,
}

impl CommandDesk {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asks, line) = mpsc::unbounded_channel();
        (Self { asks }, line)
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

    pub(super) async fn create(&self, order: Order) -> One {
        self.ask(|reply| Ask::Create(order, reply)).await
    }

    pub(super) async fn cancel(&self, id: ExecutionId) -> One {
        self.ask(|reply| Ask::Cancel(id, reply)).await
    }

    pub(super) async fn get(&self, id: ExecutionId) -> One {
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

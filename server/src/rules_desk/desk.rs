//! Where readings, operators' wishes and questions are handed in.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fieldline_model::GatewayId;
use fieldline_rules::{Alarm, AlarmState, Aside, OperateError, Operation, RuleState};
use fieldline_store::ReceivedBlock;
use rules::Undelivered;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::book::{AlarmBook, BookError};
use super::files::FileState;
use crate::broker::now;

/// The rules could not keep what they have seen: the blocks should come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rules could not keep what they have seen")]
pub(crate) struct NotEvaluated;

/// Why a wish or a question was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no such alarm.
    #[error("there is no alarm {0:?}")]
    Unknown(String),
    /// Not in this state.
    #[error("{0}")]
    State(String),
    /// The store does not take it, or the server stops.
    #[error("the rules cannot be reached or kept at the moment; try again")]
    Unavailable,
}

impl From<OperateError> for Refused {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Unknown(id) => Self::Unknown(id),
            OperateError::State(reason) => Self::State(reason),
        }
    }
}

/// An alarm, and the gateway whose rule has raised it; none: this server's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<GatewayId>,
    #[serde(flatten)]
    pub(crate) alarm: Alarm,
}

/// Which alarms are sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlarmSought {
    /// In this state.
    State(AlarmState),
    /// The condition holds.
    Active,
    /// Nobody has taken note.
    Unacknowledged,
    /// Out of sight.
    Shelved,
    /// Out of service.
    Suppressed,
}

impl AlarmSought {
    pub(crate) fn takes(self, alarm: &Alarm) -> bool {
        use AlarmState::{ActiveAcknowledged, ActiveUnacknowledged, ReturnedUnacknowledged};
        match self {
            Self::State(state) => alarm.state == state,
            Self::Active => matches!(alarm.state, ActiveAcknowledged | ActiveUnacknowledged),
            Self::Unacknowledged => matches!(alarm.state, ActiveUnacknowledged | ReturnedUnacknowledged),
            Self::Suppressed => alarm.suppressed,
            Self::Shelved => alarm.shelved.as_ref().is_some_and(|shelved| shelved.until > now()),
        }
    }
}

impl FromStr for AlarmSought {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let state = |state| Ok(Self::State(state));
        match word {
            "active" => Ok(Self::Active),
            "unacknowledged" => Ok(Self::Unacknowledged),
            "shelved" => Ok(Self::Shelved),
            "suppressed" => Ok(Self::Suppressed),
            "normal" => state(AlarmState::Normal),
            "active_unacknowledged" => state(AlarmState::ActiveUnacknowledged),
            "active_acknowledged" => state(AlarmState::ActiveAcknowledged),
            "returned_unacknowledged" => state(AlarmState::ReturnedUnacknowledged),
            other => Err(format!(
                "state={other}: none of active, unacknowledged, shelved, suppressed, active_unacknowledged, \
                 active_acknowledged, returned_unacknowledged"
            )),
        }
    }
}

/// The rules, and how they fare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RulesReport {
    /// Where files are put.
    pub(crate) folder: String,
    /// Those that are evaluated here.
    pub(crate) rules: Vec<RuleState>,
    /// Names of those that run on gateways.
    pub(crate) edge: Vec<String>,
    /// The files.
    pub(crate) files: Vec<FileState>,
    /// What waits to be delivered.
    pub(crate) outbox: usize,
    /// What never will be.
    pub(crate) undelivered: Undelivered,
    /// What operators have put aside.
    pub(crate) aside: Vec<Aside>,
}

/// What is asked of the task that owns the rules.
#[derive(Debug)]
pub(super) enum Ask {
    Blocks(Vec<Arc<ReceivedBlock>>, oneshot::Sender<Result<(), NotEvaluated>>),
    Alarms(oneshot::Sender<Result<Vec<Alarm>, Refused>>),
    Operate { id: String, by: String, operation: Operation, reply: oneshot::Sender<Result<Alarm, Refused>> },
    Rules(oneshot::Sender<Result<RulesReport, Refused>>),
    Reload(oneshot::Sender<Result<RulesReport, Refused>>),
}

/// The entrance. Cheap to clone. What waits is bounded by those who wait for it.
#[derive(Debug, Clone)]
pub(crate) struct RulesDesk {
    asks: mpsc::UnboundedSender<Ask>,
    /// There is something to evaluate.
    engaged: Arc<AtomicBool>,
    book: AlarmBook,
}

/// What the task works through.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) engaged: Arc<AtomicBool>,
}

impl RulesDesk {
    pub(crate) fn new(book: AlarmBook) -> (Self, Line) {
        let (asks, asked) = mpsc::unbounded_channel();
        let engaged = Arc::<AtomicBool>::default();
        (Self { asks, engaged: Arc::clone(&engaged), book }, Line { asks: asked, engaged })
    }

    /// Evaluates blocks that are stored; what comes of them is durable when this returns. Blocks that were
    /// evaluated before change nothing.
    pub(crate) async fn evaluate(&self, blocks: Vec<Arc<ReceivedBlock>>) -> Result<(), NotEvaluated> {
        for block in &blocks {
            self.book.block(block).await.map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "alarms of a gateway were not kept"
                );
                NotEvaluated
            })?;
        }
        if blocks.is_empty() || !self.engaged.load(Ordering::Acquire) {
            return Ok(());
        }
        let (reply, told) = oneshot::channel();
        self.offer(Ask::Blocks(blocks, reply));
        told.await.unwrap_or(Err(NotEvaluated))
    }

    /// All alarms that are not normal, the newest first.
    pub(crate) async fn alarms(&self) -> Result<Vec<Told>, Refused> {
        let own = self.ask(Ask::Alarms).await?;
        let own = own.into_iter().map(|alarm| Told { gateway: None, alarm });
        let edge = self.book.edge(now()).await.into_iter();
        let edge = edge.map(|edge| Told { gateway: Some(edge.gateway), alarm: edge.alarm });
        let mut all: Vec<Told> = own.chain(edge).collect();
        all.sort_by_key(|told| std::cmp::Reverse(told.alarm.raised_at));
        Ok(all)
    }

    /// Does what an operator wishes; the alarm afterwards.
    pub(crate) async fn operate(&self, id: &str, by: &str, operation: Operation) -> Result<Told, Refused> {
        match self.book.operate(id, by, &operation).await {
            Ok(edge) => return Ok(Told { gateway: Some(edge.gateway), alarm: edge.alarm }),
            Err(BookError::Operate(OperateError::Unknown(_))) => {}
            Err(BookError::Operate(refused)) => return Err(refused.into()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an alarm could not be changed");
                return Err(Refused::Unavailable);
            }
        }
        let (id, by) = (id.to_owned(), by.to_owned());
        let alarm = self.ask(|reply| Ask::Operate { id, by, operation, reply }).await?;
        Ok(Told { gateway: None, alarm })
    }

    /// The rules, and how they fare.
    pub(crate) async fn rules(&self) -> Result<RulesReport, Refused> {
        self.ask(Ask::Rules).await
    }

    /// Reads the files again.
    pub(crate) async fn reload(&self) -> Result<RulesReport, Refused> {
        self.ask(Ask::Reload).await
    }

    pub(crate) fn book(&self) -> &AlarmBook {
        &self.book
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
            tracing::debug!("something for the rules came too late for this run");
        }
    }
}

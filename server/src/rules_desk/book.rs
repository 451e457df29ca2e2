//! The alarm book: the history, the alarms of gateways, and who hears of either.
//!
//! What the book has been told is durable when the call returns, and told once however often it comes.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{AlarmTopic, GatewayId, Timestamp};
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_rules::{Alarm, AlarmEvent, AlarmState, Mark, OperateError, Operation, Transition};
use fieldline_store::{Entries, ReceivedBlock, StoreError};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::history::{self, Bounds, History, HistoryQuery, Line};
use super::upward::{self, EdgeAlarm, EdgeAlarms};
use crate::broker::now;

/// Why the book did not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// The store did not take it; it should be tried again.
    #[error("the alarm book could not be written")]
    Store(#[from] StoreError),
    /// It cannot be written down.
    #[error("an alarm cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// An operator's wish is refused.
    #[error(transparent)]
    Operate(#[from] OperateError),
}

/// The alarm book. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AlarmBook {
    inner: Arc<Mutex<Inner>>,
    store: Arc<dyn Entries>,
    broker: Broker,
    /// Who says so: the server's own name.
    own: GatewayId,
}

struct Inner {
    history: History,
    edge: EdgeAlarms,
}

impl std::fmt::Debug for AlarmBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlarmBook")
    }
}

impl AlarmBook {
    /// Reads what is stored, and tells again how the alarms of gateways stand.
    pub(crate) async fn open(
        store: Arc<dyn Entries>,
        broker: Broker,
        own: GatewayId,
        bounds: Bounds,
    ) -> Result<Self, StoreError> {
        let history = History::new(store.entries(history::KIND).await?, bounds);
        let edge = EdgeAlarms::new(store.entries(upward::KIND).await?);
        let book = Self { inner: Arc::new(Mutex::new(Inner { history, edge })), store, broker, own };
        for EdgeAlarm { gateway, alarm, .. } in book.edge(now()).await {
            book.tell_again(Some(gateway), alarm);
        }
        Ok(book)
    }

    /// A line of this server's own rules.
    pub(crate) async fn line(&self, id: &str, event: AlarmEvent) -> Result<(), BookError> {
        let line = Line { id: id.to_owned(), gateway: None, kept: now(), event };
        let mut inner = self.inner.lock().await;
        if inner.history.has(&line) {
            return Ok(());
        }
        let changes = inner.history.changes(&line)?;
        self.store.write_entries(changes.clone()).await?;
        self.tell(&line);
        inner.history.apply(line, &changes);
        Ok(())
    }

    /// The alarm events that a gateway's block holds.
    pub(crate) async fn block(&self, block: &ReceivedBlock) -> Result<(), BookError> {
        for mut line in upward::events(block) {
            let mut inner = self.inner.lock().await;
            if inner.history.has(&line) {
                continue;
            }
            let step = inner.edge.told(&mut line);
            let mut changes = inner.history.changes(&line)?;
            if let Some(step) = &step {
                changes.push(step.change()?);
            }
            self.store.write_entries(changes.clone()).await?;
            if let Some(step) = step {
                // What a newer event has overtaken is not how it stands.
                self.tell(&line);
                inner.edge.apply(step);
            }
            inner.history.apply(line, &changes);
        }
        Ok(())
    }

    /// What an operator wishes of an alarm of a gateway.
    pub(crate) async fn operate(&self, id: &str, by: &str, wish: &Operation) -> Result<EdgeAlarm, BookError> {
        let mut inner = self.inner.lock().await;
        let (step, line) = inner.edge.operate(now(), id, by, wish)?;
        let mut changes = inner.history.changes(&line)?;
        changes.push(step.change()?);
        self.store.write_entries(changes.clone()).await?;
        self.tell(&line);
        let known = EdgeAlarm {
            gateway: line.gateway.clone().unwrap_or_else(|| self.own.clone()),
            told_at: line.event.at,
            acknowledged: line.event.alarm.state != AlarmState::ActiveUnacknowledged,
            alarm: line.event.alarm.clone(),
        };
        inner.edge.apply(step);
        inner.history.apply(line, &changes);
        Ok(known)
    }

    /// The alarms of gateways that are not normal.
    pub(crate) async fn edge(&self, now: Timestamp) -> Vec<EdgeAlarm> {
        self.inner.lock().await.edge.all(now)
    }

    /// A page of the history, the newest first, and where the next one begins.
    pub(crate) async fn history(&self, query: &HistoryQuery) -> (Vec<Arc<Line>>, Option<String>) {
        self.inner.lock().await.history.page(query)
    }

    /// Lets go of lines that were kept long enough.
    pub(crate) async fn prune(&self) -> Result<(), BookError> {
        let mut inner = self.inner.lock().await;
        let expired = inner.history.expired(now());
        if !expired.is_empty() {
            self.store.write_entries(expired.clone()).await?;
            inner.history.forget(&expired);
        }
        Ok(())
    }

    /// How an alarm stands, for those who subscribe after a restart.
    pub(crate) fn tell_again(&self, gateway: Option<GatewayId>, alarm: Alarm) {
        let (transition, at) = match alarm.returned_at {
            Some(at) => (Transition::Returned, at),
            None => (Transition::Raised, alarm.raised_at),
        };
        let event = AlarmEvent { transition, at, by: None, comment: None, alarm };
        self.tell(&Line { id: format!("{}/again", event.alarm.id), gateway, kept: now(), event });
    }

    fn tell(&self, line: &Line) {
        let alarm = &line.event.alarm;
        let topic = AlarmTopic { device: alarm.device.clone(), rule: alarm.rule.clone() };
        let payload = Bytes::from(cloud_event(&self.own, line).to_string());
        let message = Message::new(topic.to_string(), payload, QoS::AtLeastOnce);
        // What was over when it was found does not say how the alarm stands.
        let message = if alarm.mark == Mark::Historical { message } else { message.retained() };
        self.broker.publish(&message);
    }
}

/// What a CloudEvent carries.
#[derive(Serialize)]
struct AlarmData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a GatewayId>,
    #[serde(flatten)]
    event: &'a AlarmEvent,
}

/// A line as a CloudEvent 1.0 in JSON (structured mode).
fn cloud_event(own: &GatewayId, line: &Line) -> Value {
    let word = serde_json::to_value(line.event.transition).unwrap_or_default();
    let alarm = &line.event.alarm;
    json!({
        "specversion": "1.0",
        "id": line.id,
        "source": format!("/fieldline/{}", line.gateway.as_ref().unwrap_or(own)),
        "type": format!("io.fieldline.alarm.{}", word.as_str().unwrap_or_default()),
        "subject": format!("{}/{}", alarm.device, alarm.rule),
        "time": line.event.at,
        "datacontenttype": "application/json",
        "data": AlarmData { gateway: line.gateway.as_ref(), event: &line.event },
    })
}

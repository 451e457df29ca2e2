//! The HTTP routes on which the agent tells of itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fieldline_journal::Journal;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_mqtt::Broker;

use super::{Status, metrics};
use crate::books;
use crate::clock;
use crate::committer::Board;
use crate::intake::Intake;
use crate::remote::Remote;
use crate::rules::Desk;
use crate::sync::UplinkBoard;
use crate::things::Things;

/// Everything that a status is made of.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) gateway: GatewayId,
    pub(crate) intake: Arc<Intake>,
    pub(crate) committed: Arc<Board>,
    pub(crate) journal: Journal,
    pub(crate) journal_bytes_max: u64,
    pub(crate) broker: Option<Broker>,
    pub(crate) uplink: UplinkBoard,
    pub(crate) remote: Option<Arc<Remote>>,
    pub(crate) things: Option<Arc<Things>>,
    pub(crate) rules: Arc<Desk>,
}

impl Observed {
    pub(crate) fn status(&self) -> Status {
        let committed = self.committed.state();
        let oldest = self.journal.lanes().iter().filter_map(|lane| lane.oldest_ms).min();
        Status {
            gateway: self.gateway.clone(),
            at: clock::now(),
            books: books::read(&self.committed, &self.journal),
            filtered: committed.counts.filtered,
            journal_bytes: self.journal.bytes(),
            journal_bytes_max: self.journal_bytes_max,
            oldest_waiting: oldest.and_then(|millis| Timestamp::from_millis(millis).ok()),
            series: self.intake.series_count(),
            connections: self.broker.as_ref().map_or(0, |broker| broker.stats().connections),
            trouble: committed.trouble,
            uplink: self.uplink.read(),
            remote: self.remote.as_ref().map(|remote| remote.state()),
            things: self.things.as_ref().map(|things| things.numbers()),
            rules: self.rules.shown(),
        }
    }
}

/// The routes.
pub(crate) fn routes(observed: Observed) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics_page))
        .route("/status", get(status))
        .with_state(observed)
}

/// 200 while readings can be made durable, 503 with the reason while not.
async fn health(State(observed): State<Observed>) -> Response {
    match observed.committed.state().trouble {
        None => "ok\n".into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}

async fn metrics_page(State(observed): State<Observed>) -> Response {
    let page = metrics::render(&observed.status());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

async fn status(State(observed): State<Observed>) -> Json<Status> {
    Json(observed.status())
}

//! The `query` function: devices, latest values, series and the ledger, by HTTP.
//!
//! What it is not: it does not know which store answers, nor whether a socket or an API gateway
//! stands before [`router`]. It changes nothing.
//!
//! Invariants: an answer is bounded (a page and `next`); a float reads back to the same bits; what
//! is asked for wrongly is told by an RFC 9457 problem document that names the parameter.
//!
//! ```
//! use std::sync::Arc;
//! use fieldline_store::MemoryStore;
//! use fieldline_model::Timestamp;
//!
//! let store = Arc::new(MemoryStore::default());
//! let state = query::State::new(store.clone(), store, || Timestamp::EPOCH);
//! let router: axum::Router = query::router(state);
//! # drop(router);
//! ```

mod account;
mod devices;
#[cfg(feature = "lambda")]
pub mod lambda;
mod ledger;
mod params;
mod points;
mod problem;
mod series;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_store::{Ledger, TimeSeriesStore};

pub use problem::Problem;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct State {
    store: Arc<dyn TimeSeriesStore>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    own: Option<GatewayId>,
    page_bytes_max: usize,
}

impl State {
    /// Answers from `store` and `ledger`; `clock` tells the time of an account.
    pub fn new(
        store: Arc<dyn TimeSeriesStore>,
        ledger: Arc<dyn Ledger>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { store, ledger, clock: Arc::new(clock), own: None, page_bytes_max: usize::MAX }
    }

    /// Names the gateway under which the server keeps what reaches it without one.
    #[must_use]
    pub fn with_own(mut self, gateway: GatewayId) -> Self {
        self.own = Some(gateway);
        self
    }

    /// Where an answer may have so many bytes only: a page of series then ends earlier, with `next`.
    #[must_use]
    pub fn with_page_bytes_max(mut self, bytes: usize) -> Self {
        self.page_bytes_max = bytes;
        self
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The routes under `/api/v1`, and a problem document for any other path.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/api/v1/devices", get(devices::devices))
        .route("/api/v1/devices/{device}/latest", get(devices::latest))
        .route("/api/v1/series", get(series::series))
        .route("/api/v1/ledger", get(ledger::ledger))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .with_state(state)
}

async fn nowhere(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; there are /api/v1/devices, /api/v1/devices/<id>/latest, /api/v1/series and \
         /api/v1/ledger",
        uri.path()
    ))
}

async fn other_method(uri: Uri) -> Problem {
    let detail = format!("{} does not take this method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", detail)
}

//! A stand-in for Lambda's Invoke API: records what it takes, and fails as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fieldline_server::config::Endpoint;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What becomes of one call.
pub(crate) enum Act {
    /// Taken: recorded, and answered 202 (a synchronous one with this result).
    Take(Option<Value>),
    /// Taken, and answered 200 as emulators do that work an event at once.
    TakeAtOnce,
    /// Not taken, answered with this status.
    Fail(u16),
    /// Not taken: the function failed.
    FunctionError,
    /// Not taken, and never answered.
    Hang,
    /// Taken, but answered with this status all the same.
    TakeAndFail(u16),
    /// Taken, but never answered.
    TakeAndHang,
    /// Taken and answered when told.
    Gate(oneshot::Receiver<()>),
}

/// A call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) mode: String,
    pub(crate) event: Value,
}

#[derive(Debug, Default)]
struct Book {
    taken: Vec<Call>,
    under_way: usize,
    under_way_max: usize,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<VecDeque<Act>>>,
    book: Arc<Mutex<Book>>,
    calls: mpsc::UnboundedSender<Call>,
    /// Never gets a permit: what hangs waits for it.
    never: Arc<Semaphore>,
}

/// The stand-in. Calls beyond its script are taken.
pub(crate) struct StandIn {
    pub(crate) endpoint: Endpoint,
    shared: Shared,
    /// Every call, when it comes in.
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let shared = Shared {
            script: Arc::default(),
            book: Arc::default(),
            calls: sender,
            never: Arc::new(Semaphore::new(0)),
        };
        let router = Router::new()
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, shared, calls }
    }

    pub(crate) fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.script.lock().unwrap().extend(acts);
    }

    /// What has been taken, in order.
    pub(crate) fn taken(&self) -> Vec<Call> {
        self.shared.book.lock().unwrap().taken.clone()
    }

    /// The most calls that were under way at a time.
    pub(crate) fn under_way_max(&self) -> usize {
        self.shared.book.lock().unwrap().under_way_max
    }
}

/// Counts a call as under way, also one whose client gives up.
struct UnderWay(Shared);

impl UnderWay {
    fn new(shared: &Shared) -> Self {
        let mut book = shared.book.lock().unwrap();
        book.under_way += 1;
        book.under_way_max = book.under_way_max.max(book.under_way);
        drop(book);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.book.lock().unwrap().under_way -= 1;
    }
}

async fn invoke(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let _under_way = UnderWay::new(&shared);
    let mode = headers["x-amz-invocation-type"].to_str().unwrap().to_owned();
    let call = Call { function, mode, event: serde_json::from_slice(&body).unwrap() };
    let act = shared.script.lock().unwrap().pop_front().unwrap_or(Act::Take(None));
    shared.calls.send(call.clone()).unwrap();
    let take = || shared.book.lock().unwrap().taken.push(call.clone());
    let status = |code: u16| StatusCode::from_u16(code).unwrap().into_response();
    match act {
        Act::Take(None) => {
            take();
            status(202)
        }
        Act::Take(Some(result)) => {
            take();
            result.to_string().into_response()
        }
        Act::TakeAtOnce => {
            take();
            status(200)
        }
        Act::Fail(code) => status(code),
        Act::FunctionError => {
            ([("x-amz-function-error", "Unhandled")], r#"{"errorMessage": "out of memory"}"#).into_response()
        }
        Act::Hang => hang(&shared).await,
        Act::TakeAndFail(code) => {
            take();
            status(code)
        }
        Act::TakeAndHang => {
            take();
            hang(&shared).await
        }
        Act::Gate(opened) => {
            opened.await.unwrap();
            take();
            status(202)
        }
    }
}

async fn hang(shared: &Shared) -> Response {
    drop(shared.never.acquire().await);
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

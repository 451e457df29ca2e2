//! A bad day at AWS, or at another HTTP service: a proxy before it that refuses, fails, and loses answers,
//! by chance or as planned.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::traffic::{Traffic, Volume};
use crate::random::Random;

/// How often each fault strikes, in percent of the calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// The call is refused as throttled, and not made.
    pub throttle: u64,
    /// The call is answered with 500 or 503, and not made.
    pub fail: u64,
    /// The call is made, and its answer lost: the caller sees 500.
    pub lose: u64,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planned {
    /// It passes.
    Pass,
    /// It gets this status, and the service nothing.
    Status(u16),
    /// It gets 503 with `Retry-After`, in seconds, and the service nothing.
    RetryAfter(u64),
    /// It gets no answer, and the service nothing.
    Silence,
    /// The service gets it, and the caller no answer.
    AnswerLost,
}

/// A proxy before one endpoint. It ends when dropped.
#[derive(Debug)]
pub struct Faults {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<(Odds, Random)>,
    planned: Mutex<VecDeque<Planned>>,
    struck: AtomicU64,
    traffic: Mutex<Traffic>,
}

enum Fault {
    None,
    Throttle,
    Fail,
    Lose,
}

impl Faults {
    /// Listens on a free port of loopback; everything passes until odds are set.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(upstream: SocketAddr, seed: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            state: Mutex::new((Odds::default(), Random::new(seed))),
            planned: Mutex::default(),
            struck: AtomicU64::new(0),
            traffic: Mutex::default(),
        });
        let router = axum::Router::new().fallback(pass).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(super::host::NoDelay(listener), router).await });
        Ok(Self { address, shared, _runtime: runtime })
    }

    /// Where to call instead of the endpoint.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on faults strike so often.
    pub fn set(&self, odds: Odds) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).0 = odds;
    }

    /// What happens to the next calls, before chance has its turn again.
    pub fn plan(&self, planned: impl IntoIterator<Item = Planned>) {
        self.shared.planned.lock().unwrap_or_else(PoisonError::into_inner).extend(planned);
    }

    /// The calls that came so far, by service and operation.
    pub fn traffic(&self) -> Vec<(String, Volume)> {
        self.shared.traffic.lock().unwrap_or_else(PoisonError::into_inner).volumes()
    }

    /// How many calls met a fault so far.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn next_planned(&self) -> Option<Planned> {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.struck.fetch_add(u64::from(planned != Planned::Pass), Ordering::Relaxed);
        Some(planned)
    }

    fn draw(&self) -> Fault {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let odds = state.0;
        let drawn = state.1.below(100);
        let fault = match drawn {
            drawn if drawn < odds.throttle => Fault::Throttle,
            drawn if drawn < odds.throttle + odds.fail => Fault::Fail,
            drawn if drawn < odds.throttle + odds.fail + odds.lose => Fault::Lose,
            _ => return Fault::None,
        };
        self.struck.fetch_add(1, Ordering::Relaxed);
        fault
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // Whoever answers before it has read everything breaks the connection, which is another fault.
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let body = body.to_bytes();
    shared.traffic.lock().unwrap_or_else(PoisonError::into_inner).count(&parts, &body);
    let request = Request::from_parts(parts, Body::from(body));
    if let Some(planned) = shared.next_planned() {
        return pass_as_planned(&shared, request, planned).await;
    }
    match shared.draw() {
        Fault::Throttle => {
            let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
            (StatusCode::BAD_REQUEST, [("x-amzn-errortype", "ThrottlingException")], body).into_response()
        }
        Fault::Fail => (StatusCode::SERVICE_UNAVAILABLE, "").into_response(),
        Fault::Lose => {
            // Whether the call came to something is just what the caller cannot know.
            drop(forward(&shared, request).await);
            (StatusCode::INTERNAL_SERVER_ERROR, "").into_response()
        }
        Fault::None => answer(&shared, request).await,
    }
}

async fn pass_as_planned(shared: &Shared, request: Request, planned: Planned) -> Response {
    match planned {
        Planned::Pass => answer(shared, request).await,
        Planned::Status(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Planned::RetryAfter(seconds) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds.to_string())]).into_response()
        }
        Planned::Silence => std::future::pending().await,
        Planned::AnswerLost => {
            drop(forward(shared, request).await);
            std::future::pending().await
        }
    }
}

async fn answer(shared: &Shared, request: Request) -> Response {
    match forward(shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(shared: &Shared, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("http://{}{path}", shared.upstream).parse::<Uri>()?;
    let body = body.collect().await.context("the request's body")?.to_bytes();
    let request = axum::http::Request::from_parts(parts, Full::new(body));
    let response = shared.client.request(request).await.context("the endpoint does not answer")?;
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.context("the answer's body")?.to_bytes();
    // These speak of the connection to the endpoint, not of the caller's.
    for header in [header::TRANSFER_ENCODING, header::CONNECTION] {
        parts.headers.remove(header);
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

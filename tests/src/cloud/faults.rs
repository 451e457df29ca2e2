//! A bad day at AWS: a proxy before its services that refuses, fails, and loses answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

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
    struck: AtomicU64,
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
            struck: AtomicU64::new(0),
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

    /// How many calls met a fault so far.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

impl Shared {
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
        Fault::None => match forward(&shared, request).await {
            Ok(response) => response,
            Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
        },
    }
}

async fn forward(shared: &Shared, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("http://{}{path}", shared.upstream).parse::<Uri>()?;
    let body = body.collect().await.context("the request's body")?.to_bytes();
    let request = axum::http::Request::from_parts(parts, Full::new(body));
    let response = shared.client.request(request).await.context("the endpoint does not answer")?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("the answer's body")?.to_bytes();
    Ok(Response::from_parts(parts, Body::from(body)))
}

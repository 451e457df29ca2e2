//! Lambda on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::function::{Ending, Function, FunctionSpec, Invocation, Life};
use super::invoke;

/// Attempts at an asynchronous invocation, as Lambda makes them.
const EVENT_ATTEMPTS: u32 = 3;
/// Between two of them; Lambda waits one and two minutes.
const EVENT_PAUSE: Duration = Duration::from_millis(300);

/// Runs functions until it is dropped.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    functions: Mutex<HashMap<String, Arc<Function>>>,
    invocations: AtomicU64,
    /// Asynchronous invocations that failed for good, by function; Lambda would send them to the
    /// function's failure destination.
    failures: Mutex<Vec<(String, Bytes)>>,
}

impl Host {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            functions: Mutex::default(),
            invocations: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let router = invoke::router(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(NoDelay(listener), router).await });
        Ok(Self { shared, runtime: Some(runtime) })
    }

    /// Where functions are invoked.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Starts a function's process; it is started again whenever it ends.
    pub fn deploy(&self, spec: FunctionSpec) {
        let function = Function::new(spec);
        self.shared.lock().insert(function.spec.name.clone(), Arc::clone(&function));
        self.spawn(function.supervise(format!("http://{}", self.shared.address)));
    }

    /// Invokes a function and waits for its end.
    ///
    /// # Errors
    /// There is no such function.
    pub fn invoke(&self, name: &str, payload: impl Into<Bytes>) -> Result<Ending> {
        self.shared.function(name).with_context(|| format!("no function {name}"))?;
        Ok(self.runtime()?.block_on(self.shared.invoke(name, payload.into())))
    }

    /// `kill -9` of a function's process, in the middle of whatever it does.
    pub fn kill(&self, name: &str) {
        if let Some(function) = self.shared.function(name) {
            function.kill();
        }
    }

    /// The process of a function that runs.
    pub fn life(&self, name: &str) -> Option<Life> {
        self.shared.function(name)?.life()
    }

    /// Asynchronous invocations that failed for good so far.
    pub fn failures(&self) -> Vec<(String, Bytes)> {
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    fn runtime(&self) -> Result<&tokio::runtime::Runtime> {
        self.runtime.as_ref().context("the host is stopping")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for function in self.shared.lock().values() {
            function.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            // Children die with their handles.
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Function>>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.lock().get(name).cloned()
    }

    pub(super) fn arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:us-east-1:123456789012:function:{name}")
    }

    pub(super) async fn invoke(&self, name: &str, payload: Bytes) -> Ending {
        let Some(function) = self.function(name) else {
            return Ending::failure("ResourceNotFoundException", name);
        };
        let number = self.invocations.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let (answer, ended) = oneshot::channel();
        function.offer(Invocation { id, payload, answer });
        match tokio::time::timeout(function.spec.timeout, ended).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(_dropped)) => Ending::failure("Runtime.ExitError", "the function was stopped"),
            Err(_elapsed) => {
                function.kill();
                Ending::failure("Sandbox.Timedout", "Task timed out")
            }
        }
    }

    /// An asynchronous invocation: Lambda has taken it, and tries until it gives up.
    pub(super) async fn invoke_event(&self, name: &str, payload: Bytes) {
        for attempt in 1..=EVENT_ATTEMPTS {
            match self.invoke(name, payload.clone()).await {
                Ending::Answer(_) => return,
                Ending::Failure(_) if attempt < EVENT_ATTEMPTS => tokio::time::sleep(EVENT_PAUSE).await,
                Ending::Failure(_) => {}
            }
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push((name.to_owned(), payload));
    }

    pub(super) fn finish(&self, name: &str, id: &str, ending: Ending) -> axum::http::StatusCode {
        match self.function(name).is_some_and(|function| function.finish(id, ending)) {
            true => axum::http::StatusCode::ACCEPTED,
            false => axum::http::StatusCode::GONE,
        }
    }
}

/// Answers leave at once: with Nagle's algorithm each call takes 40 ms.
pub(super) struct NoDelay(pub(super) TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.0.accept().await {
                // A connection that is gone already shows itself when it is read.
                drop(stream.set_nodelay(true));
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

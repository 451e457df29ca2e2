//! A stand-in for Timestream for LiveAnalytics on loopback: the JSON 1.0 protocol of `timestream-write`
//! and `timestream-query`, as strict as AWS documents it, for tests and for local runs.
//!
//! It keeps its records in memory. It checks what AWS checks (limits, names, types, versions, retention)
//! and understands the statements that [`fieldline_aws::Timestream`] sends; any other is refused, not
//! guessed at.

mod evaluate;
mod query;
mod refusal;
mod sql;
mod table;
mod write;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use query::Results;
use refusal::Refusal;
pub use table::Retention;
use table::Tables;

/// Tells the time: nanoseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How the stand-in behaves.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Databases and tables that exist from the beginning, with [`Options::retention`].
    pub tables: Vec<(String, String)>,
    /// What a table keeps that is created without saying so.
    pub retention: Retention,
    /// Distinct measures of multi-measure records in a table; AWS has 1,024.
    pub measures_max: usize,
    /// Characters in a value; AWS takes 2,048.
    pub value_chars_max: usize,
    /// Rows in a page of an answer, whatever the call asks for; AWS has 1,000.
    pub page_rows_max: usize,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    /// One table `fieldline.readings` with a year in memory and ten years on disk, the limits of AWS, and
    /// the system's clock.
    fn default() -> Self {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tables: vec![("fieldline".to_owned(), "readings".to_owned())],
            retention: Retention { memory_hours: 8_766, magnetic_days: 3_650, magnetic_writes: true },
            measures_max: 1_024,
            value_chars_max: 2_048,
            page_rows_max: 1_000,
            clock: Arc::new(move || i64::try_from(now().as_nanos()).unwrap_or(i64::MAX)),
        }
    }
}

/// What has been asked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `DescribeEndpoints`.
    pub endpoints: u64,
    /// Calls of `WriteRecords`, refused ones included.
    pub writes: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// KiB that AWS would bill for those that were not refused.
    pub kibibytes_billed: u64,
    /// Calls of `Query`; each page is one.
    pub queries: u64,
}

struct Inner {
    tables: Tables,
    results: Results,
    counts: Counts,
    /// So many calls are throttled from now on.
    throttled: u64,
    statements: Vec<String>,
}

struct Shared {
    options: Options,
    address: SocketAddr,
    inner: Mutex<Inner>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stand-in; it stops when this goes.
pub struct Stub {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stub").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl Stub {
    /// Starts a stand-in on a thread of its own.
    ///
    /// # Errors
    /// The address is taken; the system gives no thread.
    pub fn start(options: Options) -> Result<Self> {
        let listener = std::net::TcpListener::bind(options.listen)
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        listener.set_nonblocking(true)?;
        let tables = Tables::new(&options);
        let inner = Inner {
            tables,
            results: Results::default(),
            counts: Counts::default(),
            throttled: 0,
            statements: Vec::new(),
        };
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { address, inner: Mutex::new(inner), options });
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("timestream".to_owned()).spawn(move || {
            let served = serve(listener, state, stopped, &ready);
            if let Err(error) = served {
                // Nobody waits for it any more if the start has gone well.
                drop(ready.send(Err(error)));
            }
        })?;
        started.recv().context("the stand-in ended before it began")??;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The same, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Answers the next `calls` with `ThrottlingException`.
    pub fn throttle(&self, calls: u64) {
        self.shared.lock().throttled = calls;
    }

    /// Takes the statements that were sent since the last time.
    pub fn take_statements(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().statements)
    }

    /// How many records all tables hold.
    pub fn records(&self) -> usize {
        self.shared.lock().tables.records()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
    ready: &mpsc::Sender<Result<()>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = Router::new().fallback(answer).with_state(shared);
        ready.send(Ok(())).context("nobody has waited for the start")?;
        // Not gracefully: clients keep connections open that would have to end first.
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served?,
            _ = stopped => {}
        }
        Ok(())
    })
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix("Timestream_20181101.").unwrap_or_default();
    let answered = call(&shared, operation, &body);
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(refusal) => (refusal.status(), refusal.body()),
    };
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.0")];
    (status, kind, body.to_string()).into_response()
}

fn call(shared: &Shared, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
    let input: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::serialization(&error.to_string()))?;
    let inner = &mut *shared.lock();
    if operation == "DescribeEndpoints" {
        inner.counts.endpoints += 1;
        let address = shared.address.to_string();
        return Ok(json!({ "Endpoints": [{ "Address": address, "CachePeriodInMinutes": 1440 }] }));
    }
    if inner.throttled > 0 {
        inner.throttled -= 1;
        return Err(Refusal::throttled());
    }
    let now = (shared.options.clock)();
    match operation {
        "CreateDatabase" => inner.tables.create_database(&input),
        "CreateTable" => inner.tables.create_table(&input),
        "DescribeTable" => inner.tables.describe_table(&input),
        "WriteRecords" => {
            inner.counts.writes += 1;
            inner.counts.bytes += body.len() as u64;
            write::records(&mut inner.tables, &mut inner.counts, &input, now)
        }
        "Query" => {
            inner.counts.queries += 1;
            let rows_max = shared.options.page_rows_max;
            if let (None, Some(statement)) = (input.get("NextToken"), input["QueryString"].as_str()) {
                inner.statements.push(statement.to_owned());
            }
            query::run(&inner.tables, &mut inner.results, &input, now, rows_max)
        }
        other => Err(Refusal::new(400, "UnknownOperationException", format!("{other:?} is not known here"))),
    }
}

//! A proxy in front of an HTTP service that fails on demand: answers an error, never answers, or lets the
//! call through and keeps the answer for itself.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The longest message that passes.
const BYTES_MAX: usize = 4 << 20;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    None,
    /// It gets this status, and the service nothing.
    Status(u16),
    /// It gets no answer, and the service nothing.
    Silence,
    /// The service gets it, and the caller a closed connection.
    AnswerLost,
    /// The service gets it, and the caller no answer.
    AnswerLate,
}

/// A running proxy; it stops when this goes.
#[derive(Debug)]
pub struct Faults {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    /// What happens when nothing is planned; by turns.
    always: Vec<Fault>,
    calls: u64,
}

impl Plan {
    fn take(&mut self) -> Fault {
        self.calls += 1;
        let at = usize::try_from(self.calls).unwrap_or(0);
        let by_turns = || self.always.get(at % self.always.len().max(1)).copied();
        self.next.pop_front().or_else(by_turns).unwrap_or(Fault::None)
    }
}

impl Faults {
    /// Starts a proxy before the service at `upstream`.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let plan = Arc::<Mutex<Plan>>::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        let shared = Arc::clone(&plan);
        let thread = std::thread::Builder::new().name("faults".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime starts");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener is one");
                ready.send(()).expect("the start is waited for");
                tokio::select! {
                    () = accept(&listener, upstream, &shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        started.recv().context("the proxy ended before it began")?;
        Ok(Self { address, plan, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to call.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next calls.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).next.extend(faults);
    }

    /// What happens to all calls that nothing else is planned for; by turns.
    pub fn always(&self, faults: &[Fault]) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).always = faults.to_vec();
    }

    /// How many calls have come.
    pub fn calls(&self) -> u64 {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).calls
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: &TcpListener, upstream: SocketAddr, plan: &Arc<Mutex<Plan>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let plan = Arc::clone(plan);
        tokio::spawn(async move {
            // A connection that breaks is the caller's to notice.
            drop(serve(stream, upstream, &plan).await);
        });
    }
}

/// One call, then the connection is closed.
async fn serve(mut caller: TcpStream, upstream: SocketAddr, plan: &Mutex<Plan>) -> Result<()> {
    let call = message(&mut caller).await?;
    let fault = plan.lock().unwrap_or_else(PoisonError::into_inner).take();
    match fault {
        Fault::None => {
            let answer = forward(&call, upstream).await?;
            caller.write_all(&answer).await?;
        }
        Fault::Status(status) => {
            let head = format!("HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            caller.write_all(head.as_bytes()).await?;
        }
        Fault::AnswerLost => drop(forward(&call, upstream).await?),
        Fault::Silence | Fault::AnswerLate => {
            if fault == Fault::AnswerLate {
                drop(forward(&call, upstream).await?);
            }
            // Until the caller has enough of it.
            while caller.read(&mut [0; 1_024]).await? > 0 {}
        }
    }
    caller.shutdown().await?;
    Ok(())
}

async fn forward(call: &[u8], upstream: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(call).await?;
    let answer = message(&mut stream).await?;
    // The caller must not send a second call on a connection that serves one.
    let head = answer.windows(2).position(|pair| pair == b"\r\n").context("no status line")? + 2;
    let (status, rest) = answer.split_at(head);
    Ok([status, b"connection: close\r\n", rest].concat())
}

/// A call or an answer: the head, and as much of a body as it says.
async fn message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
            let whole = end + 4 + length.trim().parse::<usize>().context("the length is no number")?;
            if bytes.len() >= whole {
                return Ok(bytes);
            }
        }
        anyhow::ensure!(bytes.len() <= BYTES_MAX, "a message has more than {BYTES_MAX} bytes");
        let read = stream.read_buf(&mut bytes).await?;
        anyhow::ensure!(read > 0, "the connection ended amid a message");
    }
}

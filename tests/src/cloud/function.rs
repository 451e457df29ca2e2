//! One function: the invocations that wait for it, and its process.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot, watch};

/// A process that has ended is started again after this.
const RESTART: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The function's name.
    pub name: String,
    /// Its `bootstrap`.
    pub program: PathBuf,
    /// Its environment, beside what Lambda sets.
    pub environment: Vec<(String, String)>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Where its standard output and error go.
    pub log: PathBuf,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The function's answer.
    Answer(Bytes),
    /// A function error, as Lambda tells it: `errorType` and `errorMessage`.
    Failure(Bytes),
}

impl Ending {
    pub(super) fn failure(kind: &str, message: &str) -> Self {
        Self::Failure(Bytes::from(json!({ "errorType": kind, "errorMessage": message }).to_string()))
    }
}

/// One life of a function's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its process.
    pub process: u32,
    began: Instant,
    /// How long it took until it asked for its first invocation.
    pub initialised: Option<Duration>,
}

/// An invocation on its way to the process.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) payload: Bytes,
    pub(super) answer: oneshot::Sender<Ending>,
}

/// A function that runs.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) spec: FunctionSpec,
    state: Mutex<State>,
    arrived: Notify,
    /// Counts up when the process is to be killed.
    kills: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Which life of the process; a poll of an earlier one gets nothing.
    generation: u64,
    life: Option<Life>,
    waiting: VecDeque<Invocation>,
    in_hand: HashMap<String, oneshot::Sender<Ending>>,
    stopped: bool,
}

impl Function {
    pub(super) fn new(spec: FunctionSpec) -> Arc<Self> {
        let (kills, _) = watch::channel(0);
        Arc::new(Self { spec, state: Mutex::default(), arrived: Notify::new(), kills })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an invocation into the line.
    pub(super) fn offer(&self, invocation: Invocation) {
        self.lock().waiting.push_back(invocation);
        self.arrived.notify_one();
    }

    /// The next invocation for a process; `None` when that process is not the one that runs.
    pub(super) async fn next(&self, generation: u64) -> Option<(String, Bytes)> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if state.stopped || state.generation != generation {
                    // Whatever woke us is for somebody else.
                    self.arrived.notify_one();
                    return None;
                }
                if let Some(life) = &mut state.life {
                    life.initialised.get_or_insert_with(|| life.began.elapsed());
                }
                if let Some(invocation) = state.waiting.pop_front() {
                    let Invocation { id, payload, answer } = invocation;
                    state.in_hand.insert(id.clone(), answer);
                    return Some((id, payload));
                }
            }
            arrived.await;
        }
    }

    /// An invocation has ended; false when nobody waits for it any more.
    pub(super) fn finish(&self, id: &str, ending: Ending) -> bool {
        let answer = self.lock().in_hand.remove(id);
        answer.is_some_and(|answer| answer.send(ending).is_ok())
    }

    /// The process that runs.
    pub(super) fn life(&self) -> Option<Life> {
        self.lock().life
    }

    /// Kills the process; what it had in hand fails, and a new one is started.
    pub(super) fn kill(&self) {
        // From now on the process gets nothing any more, however long its death takes.
        self.lock().generation += 1;
        self.kills.send_modify(|count| *count += 1);
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.kill();
        self.arrived.notify_waiters();
    }

    /// Keeps a process running until the function is stopped.
    pub(super) async fn supervise(self: Arc<Self>, runtime_api: String) {
        let mut kills = self.kills.subscribe();
        loop {
            // A kill from here on is for the process that is about to be.
            kills.mark_unchanged();
            let generation = {
                let mut state = self.lock();
                if state.stopped {
                    return;
                }
                state.generation += 1;
                state.life = None;
                state.generation
            };
            let began = Instant::now();
            match self.spawn(&runtime_api, generation) {
                Ok(mut child) => {
                    let life = |process| Life { process, began, initialised: None };
                    self.lock().life = child.id().map(life);
                    tokio::select! {
                        _ = child.wait() => {}
                        _ = kills.changed() => drop(child.kill().await),
                    }
                }
                Err(error) => eprintln!("{}: {error:#}", self.spec.name),
            }
            self.abandon();
            tokio::time::sleep(RESTART).await;
        }
    }

    /// Fails what the process had in hand when it ended.
    fn abandon(&self) {
        let in_hand: Vec<_> = self.lock().in_hand.drain().collect();
        for (id, answer) in in_hand {
            let message = format!("RequestId: {id} Error: Runtime exited");
            // Whoever asked may have gone.
            drop(answer.send(Ending::failure("Runtime.ExitError", &message)));
        }
        // A poll of the process that has ended must not swallow the next invocation's wake-up.
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    fn spawn(&self, runtime_api: &str, generation: u64) -> Result<Child> {
        let spec = &self.spec;
        let log = File::options().create(true).append(true).open(&spec.log).context("cannot open the log")?;
        let mut command = Command::new(&spec.program);
        command.env_clear().envs(spec.environment.iter().map(|(name, value)| (name, value)));
        command.env("AWS_LAMBDA_RUNTIME_API", format!("{runtime_api}/rt/{}/{generation}", spec.name));
        command.env("AWS_LAMBDA_FUNCTION_NAME", &spec.name);
        command.env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
        command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
        command.env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name));
        command.env("AWS_LAMBDA_LOG_STREAM_NAME", "local");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| format!("cannot start {}", spec.program.display()))
    }
}

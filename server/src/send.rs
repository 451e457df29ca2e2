//! `fieldline send` and `fieldline commands`: tell a device to do something, and see what became of it.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::http::Method;
use fieldline_model::CommandStatus;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{CommandsArgs, SendArgs};
use crate::client::{Api, ClientError, encoded};
use crate::view;

/// How long one request waits for a change, in seconds; the server takes 30 at most.
const WAIT_S: u64 = 25;
/// Between two tries where the server is away.
const AGAIN: Duration = Duration::from_millis(500);
/// How long after its expiry a command is asked for where the server is away.
const GRACE: Duration = Duration::from_secs(15);

/// The device has not done what it was told.
#[derive(Debug)]
pub struct NotDone {
    device: String,
    status: CommandStatus,
}

impl NotDone {
    /// What `fieldline send` ends with: 3 when the command has timed out, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.status == CommandStatus::TimedOut { 3 } else { 1 }
    }
}

impl std::error::Error for NotDone {}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has not done it: {}", self.device, self.status.said())
    }
}

/// What is read of the server's answer.
#[derive(Debug, Deserialize)]
struct Execution {
    id: String,
    status: CommandStatus,
}

/// `fieldline send`
///
/// # Errors
/// The server cannot be asked or takes no such command; [`NotDone`].
pub async fn send(args: &SendArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let mut body = json!({ "command": args.command, "timeout_s": args.timeout.as_secs() });
    if let Some(parameters) = &args.parameters {
        body["parameters"] = parameters.clone();
    }
    let path = format!("/api/v1/things/{}/commands", encoded(args.device.as_str()));
    let mut answer = api.send(Method::POST, &path, &body).await?;
    let mut execution = read(&answer)?;
    if args.no_wait {
        return print(&if args.json { format!("{answer}\n") } else { format!("{}\n", execution.id) });
    }
    if !args.json {
        print(&view::command_step(&answer))?;
    }
    let until = Instant::now() + args.timeout + GRACE;
    while !execution.status.is_end() {
        answer = changed(&api, &execution, until).await?;
        let next = read(&answer)?;
        if !args.json && next.status != execution.status {
            print(&view::command_step(&answer))?;
        }
        execution = next;
    }
    if args.json {
        print(&format!("{answer}\n"))?;
    }
    match execution.status {
        CommandStatus::Succeeded => Ok(()),
        status => Err(NotDone { device: args.device.to_string(), status }.into()),
    }
}

/// The execution when its status has changed, or after a while. A server that is away for a moment
/// has not forgotten it.
async fn changed(api: &Api, execution: &Execution, until: Instant) -> anyhow::Result<Value> {
    let path = format!("/api/v1/commands/{}?wait={WAIT_S}&while={}", execution.id, execution.status);
    loop {
        match api.get(&path).await {
            Err(ClientError::Unreachable(_) | ClientError::Interrupted(_)) if Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            outcome => {
                return outcome.with_context(|| {
                    format!(
                        "the command was sent; `fieldline commands {}` says what became of it",
                        execution.id
                    )
                });
            }
        }
    }
}

/// `fieldline commands`
///
/// # Errors
/// The server cannot be asked, there is no such command, or it has ended and cannot be canceled.
pub async fn commands(args: &CommandsArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    if let Some(id) = &args.id {
        let path = format!("/api/v1/commands/{id}");
        let method = if args.cancel { Method::DELETE } else { Method::GET };
        let answer = api.send(method, &path, &Value::Null).await?;
        return print(&if args.json { format!("{answer}\n") } else { view::command(&answer) });
    }
    let mut path = match &args.thing {
        Some(thing) => format!("/api/v1/things/{}/commands", encoded(thing.as_str())),
        None => "/api/v1/commands".to_owned(),
    };
    path.push_str(&format!("?limit={}", args.limit));
    if let Some(status) = args.status {
        path.push_str(&format!("&status={status}"));
    }
    let answer = api.get(&path).await?;
    print(&if args.json { format!("{answer}\n") } else { view::commands(&answer) })
}

fn read(answer: &Value) -> anyhow::Result<Execution> {
    Execution::deserialize(answer).context("the server's answer is no command")
}

/// At once, also into a pipe; a reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

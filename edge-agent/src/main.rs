//! `edge-agent`: runs the gateway's agent, checks its configuration, or tells what a running one does.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use edge_agent::{Agent, Config, Status, explain, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(version, about = "Takes in device data, keeps it safe, and brings it to the server.")]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells in words where data is waiting and why.
    Status {
        /// The agent's HTTP address; by default the one in the configuration.
        #[arg(long)]
        http: Option<SocketAddr>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Checks the configuration and says what is wrong with it.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.command {
        None => {
            let path = arguments.config.context("say which configuration to use: --config agent.toml")?;
            let mut config: Config = settings::read(&path)?;
            config.remote.keep_secrets_beside(&path);
            runtime.block_on(serve(config))
        }
        Some(Command::Check) => {
            let path = arguments.config.context("say which configuration to check: --config agent.toml")?;
            let config: Config = settings::read(&path)?;
            config.check().with_context(|| path.display().to_string())?;
            println!("{}: good", path.display());
            Ok(())
        }
        Some(Command::Status { http, json }) => {
            let address = status_address(http, arguments.config.as_deref())?;
            runtime.block_on(print_status(address, json))
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // From here on the signals no longer end the process, so that a stop is in order from the first
    // listener on.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let agent = Agent::start(config).await?;
    if let Some(address) = agent.mqtt_address() {
        println!("mqtt listening on {address}");
    }
    if let Some(address) = agent.http_address() {
        println!("http listening on {address}");
    }
    println!("ready");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    agent.stop().await;
    Ok(())
}

fn status_address(http: Option<SocketAddr>, config: Option<&Path>) -> anyhow::Result<SocketAddr> {
    if let Some(address) = http {
        return Ok(address);
    }
    let config: Config = config.map_or_else(|| Ok(Config::default()), settings::read)?;
    config.http.listen.context("http.listen is \"off\", so a running agent cannot be asked")
}

/// Asks over HTTP/1.0, so that the answer ends with the connection.
async fn print_status(address: SocketAddr, json: bool) -> anyhow::Result<()> {
    let unreachable =
        || format!("no agent answers on {address}; is it running? (--http names another address)");
    let mut stream = tokio::net::TcpStream::connect(address).await.with_context(unreachable)?;
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").await.with_context(unreachable)?;
    let mut answer = String::new();
    stream.take(16 * 1024 * 1024).read_to_string(&mut answer).await.with_context(unreachable)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    if json {
        println!("{body}");
        return Ok(());
    }
    let status: Status = serde_json::from_str(body).context("the answer is not an agent's status")?;
    println!("{}", explain(&status));
    Ok(())
}

//! The `fieldline` command.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
#[cfg(feature = "aws")]
use fieldline_server::cli::{AwsArgs, AwsCommand};
use fieldline_server::cli::{Cli, Command};
#[cfg(feature = "aws")]
use fieldline_server::enroll;
use fieldline_server::{certify, commands, configure, rehearse, replay, send, serve, up};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fieldline: {error:#}");
            match error.downcast_ref::<send::NotDone>() {
                Some(end) => ExitCode::from(end.exit_code()),
                None if error.is::<WithoutAws>() => ExitCode::from(2),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::up(&args).await,
            Command::Serve(args) => serve::serve(&args).await,
            Command::Query(args) => commands::query(&args).await,
            Command::Devices(args) => commands::devices(&args).await,
            Command::Ledger(args) => commands::ledger(&args).await,
            Command::Send(args) => send::send(&args).await,
            Command::Commands(args) => send::commands(&args).await,
            Command::Replay(args) => replay::replay(&args).await.map(drop),
            Command::Filters(args) => rehearse::filters(&args).await,
            Command::Analyze(args) => rehearse::analyze(&args).await,
            Command::Certs(args) => certify::certify(&args).await,
            Command::Config(args) => configure::configure(&args).await,
            Command::Things(args) => commands::things::things(&args).await,
            Command::Alarms(args) => commands::alarms::alarms(&args).await,
            Command::Rules(args) => commands::alarms::rules(&args).await,
            Command::Shadow(args) => commands::shadow::shadow(&args).await,
            #[cfg(feature = "aws")]
            Command::Aws(AwsArgs { command: AwsCommand::Enroll(args) }) => enroll::enroll(&args).await,
            #[cfg(not(feature = "aws"))]
            Command::Aws(_) => Err(WithoutAws.into()),
        }
    })
}

/// The command is there, and this program was built without it.
#[derive(Debug)]
struct WithoutAws;

impl std::error::Error for WithoutAws {}

impl std::fmt::Display for WithoutAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "built without the cargo feature `aws`; run it with: \
             cargo run --release --features aws -- aws enroll ...",
        )
    }
}

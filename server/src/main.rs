//! The `fieldline` command.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use fieldline_server::cli::{Cli, Command};
use fieldline_server::{commands, replay, serve, up};
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
            ExitCode::FAILURE
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
            Command::Replay(args) => replay::replay(&args).await.map(drop),
        }
    })
}

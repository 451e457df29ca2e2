//! The flags of `fieldline config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fieldline_model::GatewayId;

use super::ServerArgs;

/// `config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with the configuration of a gateway from afar.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Make a gateway use these sections of agent.toml; it goes back by itself where that cuts it off
    Push(PushArgs),
    /// Show what a push would change
    Diff(DiffArgs),
    /// Show what is wanted and what the gateway says of it
    Show(ShowArgs),
    /// List what was pushed
    History(ShowArgs),
    /// Push an earlier configuration again
    Rollback(RollbackArgs),
}

/// Flags of `config push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The gateway
    pub gateway: GatewayId,
    /// The sections [sync], [limits], [[filter]], [[map]], [[broker]] as in agent.toml; or JSON
    pub file: PathBuf,
    /// Return at once, without waiting for what the gateway says
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the gateway: 30s, 10m
    #[arg(long, value_name = "DURATION", default_value = "6m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `config diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The gateway
    pub gateway: GatewayId,
    /// The file that would be pushed
    pub file: PathBuf,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `config show` and `config history`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The gateway
    pub gateway: GatewayId,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `config rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The gateway
    pub gateway: GatewayId,
    /// The number in the history [default: the one before the newest]
    pub number: Option<u64>,
    /// Return at once, without waiting for what the gateway says
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the gateway: 30s, 10m
    #[arg(long, value_name = "DURATION", default_value = "6m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

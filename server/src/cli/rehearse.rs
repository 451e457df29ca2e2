//! Flags of `rules check|test`, `filters test` and `analyze`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fieldline_model::DeviceId;

use super::{ColumnArgs, ServerArgs};

/// Flags of `rules check`.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when every rule can be used, 1 when one cannot.")]
pub struct RulesCheckArgs {
    /// Files of rules, in TOML or JSON
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Compare with the metrics that this server knows
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `rules test`.
#[derive(Debug, Args)]
pub struct RulesTestArgs {
    /// Files of rules, in TOML or JSON
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// Draw the first of the alarms' devices into an SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What is gone through.
    #[command(flatten)]
    pub history: PastArgs,
}

/// `filters`
#[derive(Debug, Args)]
pub struct FiltersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FiltersCommand,
}

/// What can be done with filters.
#[derive(Debug, Subcommand)]
pub enum FiltersCommand {
    /// See what would have been sent, and how far the sent values would have been off
    Test(FiltersTestArgs),
}

/// Flags of `filters test`.
#[derive(Debug, Args)]
pub struct FiltersTestArgs {
    /// A gateway's configuration, or any TOML file with [[filter]] in it
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What is gone through.
    #[command(flatten)]
    pub history: PastArgs,
}

/// Flags of `analyze`.
#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// What to calculate, as in a rule: `anomaly(temperature)`, `p95(temperature, "1h")`
    pub expression: String,
    /// Mark where the result is above this
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub above: Option<f64>,
    /// Draw it into an SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What is gone through.
    #[command(flatten)]
    pub history: PastArgs,
}

/// Readings of the past: stored ones, or those of a file.
#[derive(Debug, Clone, Args)]
pub struct PastArgs {
    /// Whose readings; may be given several times [default: all that match]
    #[arg(long)]
    pub device: Vec<DeviceId>,
    /// From when: RFC 3339, epoch milliseconds, or an age such as 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", conflicts_with = "csv")]
    pub from: String,
    /// Until when; as --from
    #[arg(long, value_name = "TIME", conflicts_with = "csv")]
    pub to: Option<String>,
    /// Readings of a CSV file instead; --device says whose they are
    #[arg(long, value_name = "FILE", requires = "device")]
    pub csv: Option<PathBuf>,
    /// The file's columns.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

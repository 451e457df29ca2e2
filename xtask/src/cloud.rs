//! `cargo xtask cloud`.

use anyhow::Result;

use crate::step::cargo;
use crate::{tools, venv};

/// The cloud on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// `up`, and its options; `up --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Sets up the emulator and runs the program `cloud`; true when it ended well.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let folder = venv::prepare(venv::CLOUD)?;
    if options.arguments.iter().any(|argument| argument.ends_with("influxdb")) {
        tools::prepare_databases()?;
    }
    let mut command = cargo(&["run", "--quiet", "--package", "fieldline-tests", "--bin", "cloud", "--"]);
    command.args(&options.arguments).env("FIELDLINE_CLOUD_VENV", folder);
    Ok(command.status()?.success())
}

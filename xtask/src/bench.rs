//! `cargo xtask bench`.

use anyhow::Result;

use crate::step::{Steps, cargo};
use crate::{peers, tools, venv};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each figure is measured.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Measure only what contains this in its name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Builds the release binaries and measures; true when it ran.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut steps = Steps::new();
    if let Err(error) = tools::prepare_databases() {
        println!("databases: {error:#}");
    }
    let build = ["build", "--release", "--package", "edge-agent", "--package", "fieldline-server"];
    steps.run("release build", &mut cargo(&build))?;
    let mut bench = cargo(&["run", "--release", "--package", "fieldline-tests", "--bin", "bench", "--"]);
    bench.args(["--runs", &options.runs.to_string()]);
    bench.env("FIELDLINE_CLOUD_VENV", venv::prepare(venv::CLOUD)?);
    match peers::prepare() {
        Ok(folder) => drop(bench.env("FIELDLINE_PEERS", folder)),
        Err(error) => println!("peers of Node.js are left out: {error:#}"),
    }
    if let Some(only) = &options.only {
        bench.args(["--only", only]);
    }
    steps.run("bench", &mut bench)?;
    Ok(steps.summary())
}

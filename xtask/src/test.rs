//! `cargo xtask test`.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::step::{Steps, cargo};
use crate::{tools, venv};

/// How to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the long runs: fewer kills, a shorter day offline, no build by SAM.
    #[arg(long)]
    quick: bool,
    /// Run only the end-to-end tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs everything; true when it passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut steps = Steps::new();
    let clients = prepare("independent clients", || venv::prepare(venv::CLIENTS));
    let cloud = prepare("emulated cloud", || venv::prepare(venv::CLOUD));
    let localstack = prepare("LocalStack", || venv::prepare(venv::LOCALSTACK));
    prepare("InfluxDB and VictoriaMetrics", tools::prepare_databases);
    if options.only.is_none() {
        steps.run("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        steps.run("clippy", &mut cargo(&clippy))?;
        let tests = ["test", "--workspace", "--exclude", "fieldline-tests", "--quiet"];
        steps.run("unit, property, crash and contract tests", &mut cargo(&tests))?;
    }
    let mut scenarios = cargo(&["test", "--package", "fieldline-tests", "--"]);
    scenarios.args(&options.only);
    let folders = [
        ("FIELDLINE_VENV", clients),
        ("FIELDLINE_CLOUD_VENV", cloud),
        ("FIELDLINE_LOCALSTACK_VENV", localstack),
    ];
    for (variable, folder) in folders {
        if let Some(folder) = folder {
            scenarios.env(variable, folder);
        }
    }
    if !options.quick {
        long_runs(&mut scenarios);
    }
    steps.run("end-to-end tests", &mut scenarios)?;
    Ok(steps.summary())
}

/// The sizes that plain `cargo test` makes smaller; what is set already stands.
fn long_runs(command: &mut Command) {
    let sizes = [
        ("FIELDLINE_KILLS", "100"),
        ("FIELDLINE_SHADOW_KILLS", "100"),
        ("FIELDLINE_CONFIG_KILLS", "100"),
        ("FIELDLINE_COMMAND_KILLS", "100"),
        ("FIELDLINE_RULES_KILLS", "100"),
        ("FIELDLINE_BACKLOG", "8640000"),
        ("FIELDLINE_SAM_BUILD", "1"),
    ];
    for (variable, value) in sizes {
        if std::env::var_os(variable).is_none() {
            command.env(variable, value);
        }
    }
}

/// What cannot be had is said, and the tests go on without it.
fn prepare<T>(what: &str, prepare: impl FnOnce() -> Result<T>) -> Option<T> {
    let began = Instant::now();
    match prepare() {
        Ok(prepared) => {
            println!("{what}: ready in {:.1} s", began.elapsed().as_secs_f64());
            Some(prepared)
        }
        Err(error) => {
            println!("{what}: the tests that need it are skipped, {error:#}");
            None
        }
    }
}

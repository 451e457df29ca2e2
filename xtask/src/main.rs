//! The developer's commands: `cargo xtask test` checks everything, `cargo xtask bench` measures it.

mod bench;
mod cloud;
mod deploy;
mod peers;
mod step;
mod test;
mod tools;
mod venv;

use std::process::ExitCode;

use clap::Parser;

/// The few commands that working on Fieldline takes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Formatting, clippy, and all tests; sets up what they need by itself.
    Test(test::Options),
    /// Measures the path of a reading, and prints the figures beside the targets.
    Bench(bench::Options),
    /// The whole chain of the cloud on this machine, without an account: `cargo xtask cloud up`.
    Cloud(cloud::Options),
    /// The stack into an AWS account: checks what it takes, builds, deploys; `--destroy` takes it out.
    Deploy(deploy::Options),
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Cloud(options) => cloud::run(&options),
        Task::Deploy(options) => deploy::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

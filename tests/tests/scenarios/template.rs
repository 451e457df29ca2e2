//! The SAM template: linted, held to our own rules, built, and deployed into an emulator for each store.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use fieldline_tests::emulator;
use fieldline_tests::moto::{self, environment, script};
use fieldline_tests::programs::{FUNCTIONS, repository, target_folder};
use fieldline_tests::{clients, machine};

/// A tool of the emulated cloud, with credentials that are worth nothing and no way to phone home.
fn tool(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(folder.join("bin").join(program));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    // Nobody listens there: what asks AWS after all fails at once.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    command
        .envs(emulator::variables(nobody))
        .env("SAM_CLI_TELEMETRY", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(repository().join("infra"));
    command
}

#[test]
fn the_template_is_well_formed() -> Result<()> {
    let _machine = machine::shared();
    let Some(folder) = environment() else { return Ok(()) };
    clients::run(tool(&folder, "cfn-lint").arg("template.yaml"))?;
    clients::run(tool(&folder, "sam").args(["validate", "--lint", "--template", "template.yaml"]))?;
    Ok(())
}

#[test]
fn the_template_keeps_our_rules_and_the_rules_can_fail() -> Result<()> {
    let _machine = machine::shared();
    let Some(folder) = environment() else { return Ok(()) };
    println!("{}", clients::run(tool(&folder, "python").arg(script("policy.py")))?);
    let breakages = clients::run(tool(&folder, "python").arg(script("policy.py")).arg("--self-test"))?;
    println!("{breakages}");
    Ok(())
}

/// With cargo-lambda, as for a deployment, but without optimisation: that takes half the time.
#[test]
fn sam_builds_a_bootstrap_for_each_function() -> Result<()> {
    let _machine = machine::alone();
    let Some(folder) = environment() else { return Ok(()) };
    if machine::size("FIELDLINE_SAM_BUILD", 0) == 0 {
        println!("skipped: it takes minutes; `cargo xtask test` runs it, or FIELDLINE_SAM_BUILD=1");
        return Ok(());
    }
    let scratch = tempfile::tempdir()?;
    let mut command = tool(&folder, "sam");
    command.args(["build", "--config-env", "s3", "--build-dir"]).arg(scratch.path());
    command.args(["--parameter-overrides", "TimeSeriesStore=s3", "Architecture=x86_64"]);
    command.env("SAM_BUILD_MODE", "debug").env("CARGO_TARGET_DIR", target_folder()?.join("sam"));
    clients::run(&mut command)?;
    for function in FUNCTIONS {
        let (first, rest) = function.split_at(1);
        let folder = format!("{}{rest}Function", first.to_uppercase());
        // It has no settings here, and has to say so.
        let output = Command::new(scratch.path().join(folder).join("bootstrap")).env_clear().output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains("FIELDLINE_"), "{function}: {said}");
    }
    Ok(())
}

fn deploys(store: &str) -> Result<()> {
    let _machine = machine::shared();
    let scratch = tempfile::tempdir()?;
    let Some(folder) = environment() else { return Ok(()) };
    let Some(moto) = moto::start_for_templates(scratch.path())? else { return Ok(()) };
    let endpoint = format!("http://localhost:{}", moto.address().port());
    let mut command = tool(&folder, "python");
    command.arg(script("deploy.py")).args([&endpoint, store, "--destroy"]);
    command.env("AWS_ENDPOINT_URL", &endpoint);
    println!("{}", clients::run(&mut command)?);
    Ok(())
}

#[test]
fn the_template_deploys_for_timestream() -> Result<()> {
    deploys("timestream")
}

#[test]
fn the_template_deploys_for_s3() -> Result<()> {
    deploys("s3")
}

#[test]
fn the_template_deploys_for_influxdb() -> Result<()> {
    deploys("influxdb")
}

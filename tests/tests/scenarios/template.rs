//! The SAM template: linted, held to our own rules, and deployed into an emulator for each store.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use fieldline_tests::moto::{self, Moto, environment, script};
use fieldline_tests::programs::repository;
use fieldline_tests::{clients, machine};

/// A tool of the emulated cloud, with credentials that are worth nothing and no way to phone home.
fn tool(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(folder.join("bin").join(program));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    // Nobody listens there: what asks AWS after all fails at once.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    command.envs(moto::variables(nobody)).env("SAM_CLI_TELEMETRY", "0").env("PYTHONDONTWRITEBYTECODE", "1");
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

fn deploys(store: &str) -> Result<()> {
    let _machine = machine::shared();
    let scratch = tempfile::tempdir()?;
    let Some(folder) = environment() else { return Ok(()) };
    let Some(moto) = Moto::start_for_templates(scratch.path())? else { return Ok(()) };
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

//! `cargo xtask deploy`: the stack into an AWS account, or out of it.

mod checks;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::step::root;
use crate::venv;
use checks::{Answer, Wish, first_line};

/// What `sam delete` leaves, since it holds data.
const RETAINED: &str = "\
These stay, with their data and their cost (docs/guides/aws.md tells how to delete them):
  the ledger's table in DynamoDB
  the buckets of readings and of quarantine
  the Timestream database and its table
  the three queues of dead letters
These stay as well: things and certificates of gateways. A policy with certificates cannot be deleted.";

/// What to deploy.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The environment of infra/samconfig.toml.
    #[arg(long, visible_alias = "env", value_enum, default_value = "timestream")]
    environment: Environment,
    /// Only look at what is there and what is missing.
    #[arg(long)]
    check_only: bool,
    /// The AWS region [default: AWS_REGION, or the profile's].
    #[arg(long)]
    region: Option<String>,
    /// A parameter of the template, beside those in infra/samconfig.toml; may be given several times.
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Delete the stack instead; asks first.
    #[arg(long, conflicts_with_all = ["check_only", "parameters"])]
    destroy: bool,
}

/// The stores.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Environment {
    /// Accounts that used Timestream for LiveAnalytics before 2025-06-20.
    Timestream,
    /// Every account.
    S3,
    /// A database that takes line protocol.
    Influxdb,
}

impl Environment {
    fn name(self) -> &'static str {
        match self {
            Self::Timestream => "timestream",
            Self::S3 => "s3",
            Self::Influxdb => "influxdb",
        }
    }
}

/// Checks, then deploys or destroys; true when it went well.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.region.clone())?;
    if options.destroy {
        return destroy(&tools, options.environment);
    }
    let settings = std::fs::read_to_string(root().join("infra/samconfig.toml"))?;
    let environment = options.environment.name();
    let parameters = merged(overrides(&settings, environment)?, &options.parameters);
    let wish = Wish { environment, region: tools.region.as_deref(), parameters: &parameters };
    let checks = checks::all(wish, &mut |command| tools.ask(command));
    for check in &checks {
        println!("{}", check.line());
    }
    let missing = checks.iter().filter(|check| check.verdict.is_err()).count();
    if missing > 0 {
        println!("\n{missing} of {} missing; nothing was begun", checks.len());
        return Ok(false);
    }
    if options.check_only {
        println!("\nnothing is missing");
        return Ok(true);
    }
    deploy(&tools, environment, parameters)
}

fn deploy(tools: &Tools, environment: &str, mut parameters: Vec<String>) -> Result<bool> {
    let query = ["aws", "iot", "describe-endpoint", "--endpoint-type", "iot:Data-ATS", "--query"];
    let query = [&query[..], &["endpointAddress", "--output", "text"]].concat();
    let endpoint =
        tools.ask(&query).map_err(anyhow::Error::msg).context("the address of AWS IoT's data plane")?;
    if !parameters.iter().any(|text| text.starts_with("IotEndpoint=")) {
        parameters.push(format!("IotEndpoint={}", endpoint.trim()));
    }
    // Runs `cargo lambda build --release --arm64` for each function of the template; the parameters say
    // whether it is arm64.
    println!("\n=== sam build");
    let mut command = tools.sam(&["build", "--config-env", environment, "--parameter-overrides"]);
    if !command.args(&parameters).status()?.success() {
        return Ok(false);
    }
    println!("\n=== sam deploy");
    let mut command = tools.sam(&["deploy", "--config-env", environment, "--parameter-overrides"]);
    Ok(command.args(parameters).status()?.success())
}

/// What infra/samconfig.toml sets: given on the command line, parameters replace all of it.
fn overrides(settings: &str, environment: &str) -> Result<Vec<String>> {
    let settings: toml::Table = settings.parse().context("infra/samconfig.toml")?;
    let list = settings
        .get(environment)
        .and_then(|table| table.get("deploy")?.get("parameters")?.get("parameter_overrides")?.as_array());
    let list =
        list.with_context(|| format!("infra/samconfig.toml has no {environment}.deploy.parameters"))?;
    Ok(list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

/// The parameters, each once; one of `more` stands in the place of one that is set already.
fn merged(mut set: Vec<String>, more: &[String]) -> Vec<String> {
    let name = |text: &str| text.split_once('=').map_or(text, |(name, _)| name).to_owned();
    set.retain(|text| !more.iter().any(|other| name(other) == name(text)));
    set.extend(more.iter().cloned());
    set
}

fn destroy(tools: &Tools, environment: Environment) -> Result<bool> {
    let region = tools.region.as_deref().context("give --region, or set AWS_REGION")?;
    println!("This deletes the stack in {region}.\n{RETAINED}");
    print!("\nDelete it? Type yes: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        println!("nothing was deleted");
        return Ok(false);
    }
    let arguments = ["delete", "--no-prompts", "--region", region, "--config-env", environment.name()];
    Ok(tools.sam(&arguments).status()?.success())
}

/// The pinned tools, and where they work.
struct Tools {
    path: OsString,
    region: Option<String>,
}

impl Tools {
    fn find(region: Option<String>) -> Result<Self> {
        let folder = venv::prepare(venv::CLOUD)?.join("bin");
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&old)))?;
        let mut tools = Self { path, region: None };
        tools.region = region.or_else(|| {
            let set =
                ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| std::env::var(name).ok());
            set.or_else(|| tools.ask(&["aws", "configure", "get", "region"]).ok())
                .filter(|text| !text.is_empty())
        });
        Ok(tools)
    }

    /// The path is searched by us, since it is the child's and not our own.
    fn command(&self, program: &str) -> Result<Command> {
        let found: Option<PathBuf> =
            std::env::split_paths(&self.path).map(|folder| folder.join(program)).find(|file| file.is_file());
        let mut command = Command::new(found.with_context(|| format!("{program} is not installed"))?);
        command.env("PATH", &self.path).env("SAM_CLI_TELEMETRY", "0").env("AWS_PAGER", "");
        if let Some(region) = &self.region {
            command.env("AWS_REGION", region).env("AWS_DEFAULT_REGION", region);
        }
        Ok(command)
    }

    /// Runs a command and takes what it prints.
    fn ask(&self, command: &[&str]) -> Answer {
        self.output(command).map_err(|error| first_line(&format!("{error:#}")).to_owned())
    }

    fn output(&self, command: &[&str]) -> Result<String> {
        let (program, arguments) = command.split_first().context("a command has a program")?;
        let output = self.command(program)?.args(arguments).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", first_line(&said));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// `sam` beside the template, where it looks for samconfig.toml.
    fn sam(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("sam").unwrap_or_else(|_missing| Command::new("sam"));
        command.args(arguments).current_dir(root().join("infra"));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_has_its_parameters() {
        let settings = std::fs::read_to_string(root().join("infra/samconfig.toml")).unwrap();
        for environment in [Environment::Timestream, Environment::S3, Environment::Influxdb] {
            let found = overrides(&settings, environment.name()).unwrap();
            assert!(found.contains(&format!("TimeSeriesStore={}", environment.name())), "{found:?}");
        }
        assert!(overrides(&settings, "elsewhere").is_err());
    }

    #[test]
    fn a_parameter_of_the_command_line_stands_for_the_one_in_the_file() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let set = list(&["A=1", "AB=2"]);
        assert_eq!(merged(set, &list(&["A=3", "C=4"])), list(&["AB=2", "A=3", "C=4"]));
    }
}

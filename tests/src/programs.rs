//! The programs under test, built once with the cargo that runs the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

/// Where the programs lie.
#[derive(Debug)]
struct Programs {
    agent: PathBuf,
    server: PathBuf,
}

/// The `edge-agent` program.
///
/// # Errors
/// It cannot be built.
pub fn agent() -> Result<&'static Path> {
    programs().map(|programs| programs.agent.as_path())
}

/// The `fieldline` program.
///
/// # Errors
/// It cannot be built.
pub fn server() -> Result<&'static Path> {
    programs().map(|programs| programs.server.as_path())
}

/// The program of a function as it runs on Lambda.
///
/// # Errors
/// It cannot be built, or there is no such function.
pub fn function(name: &str) -> Result<&'static Path> {
    static FUNCTIONS: OnceLock<Result<Vec<(&str, PathBuf)>, String>> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(|| functions().map_err(|error| format!("{error:#}")));
    let functions = functions.as_ref().map_err(|error| anyhow!("{error}"))?;
    let found = functions.iter().find(|(function, _)| *function == name);
    found.map(|(_, path)| path.as_path()).with_context(|| format!("no function {name}"))
}

/// The functions that run on Lambda.
pub const FUNCTIONS: [&str; 6] = ["ingest", "storage", "query", "compact", "shadow", "rules"];

fn functions() -> Result<Vec<(&'static str, PathBuf)>> {
    if let Some(folder) = std::env::var_os("FIELDLINE_PROGRAMS").map(PathBuf::from) {
        return Ok(FUNCTIONS.map(|name| (name, folder.join(name))).to_vec());
    }
    let messages = build(&FUNCTIONS)?;
    FUNCTIONS.into_iter().map(|name| Ok((name, executable(&messages, name)?))).collect()
}

fn programs() -> Result<&'static Programs> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| agent_and_server().map_err(|error| format!("{error:#}")));
    programs.as_ref().map_err(|error| anyhow!("{error}"))
}

fn agent_and_server() -> Result<Programs> {
    if let Some(folder) = std::env::var_os("FIELDLINE_PROGRAMS").map(PathBuf::from) {
        return Ok(Programs { agent: folder.join("edge-agent"), server: folder.join("fieldline") });
    }
    let messages = build(&["edge-agent", "fieldline-server"])?;
    Ok(Programs { agent: executable(&messages, "edge-agent")?, server: executable(&messages, "fieldline")? })
}

/// Builds in the profile of this very program, so that nothing is built twice; gives cargo's messages.
/// Programs that were built otherwise are taken from the folder that `FIELDLINE_PROGRAMS` names.
fn build(packages: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--bins", "--quiet", "--message-format", "json-render-diagnostics"]);
    for package in packages {
        command.args(["--package", package]);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.arg("--target-dir").arg(target_folder()?);
    command.current_dir(repository()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the programs under test do not build");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Picks the path of a binary out of cargo's messages.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no program called {name}"))
}

/// The repository's root. Cargo tells it to whom it runs; where this was built may be another checkout
/// with the same target folder.
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        package.parent().map(Path::to_owned).unwrap_or(package)
    })
}

/// The target folder that this program was built in.
///
/// # Errors
/// The program has been moved out of it.
pub fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    // Not `CACHEDIR.TAG`: cargo leaves that out of a folder that was there before it.
    let folder = program.ancestors().find(|folder| folder.join(".rustc_info.json").is_file());
    Ok(folder.context("this program does not lie in a target folder")?.to_owned())
}

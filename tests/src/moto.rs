//! moto: most of AWS's services, in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::emulator::Emulator;
use crate::process::Process;
use crate::{ports, programs};

const ACCOUNT: &str = "123456789012";

/// The folder of the Python environment with the emulator; none, and a printed line, when it is not
/// there.
pub fn environment() -> Option<PathBuf> {
    let folder = std::env::var_os("FIELDLINE_CLOUD_VENV").map(PathBuf::from);
    let folder = folder.or_else(|| Some(programs::target_folder().ok()?.join("venv-cloud")))?;
    let ready = folder.join("bin/moto_server").is_file();
    if !ready {
        println!("skipped: no AWS emulator here; `cargo xtask test` sets it up");
    }
    ready.then_some(folder)
}

/// One of our scripts in `tests/cloud`.
pub fn script(name: &str) -> PathBuf {
    programs::repository().join("tests/cloud").join(name)
}

/// Starts it; `None`, and a printed line, when it is not installed.
///
/// # Errors
/// It does not start.
pub fn start(folder: &Path) -> Result<Option<Emulator>> {
    let Some(environment) = environment() else { return Ok(None) };
    run(Command::new(environment.join("bin/moto_server")), folder).map(Some)
}

/// The same, with the resource types of our template that moto's CloudFormation lacks.
///
/// # Errors
/// It does not start.
pub fn start_for_templates(folder: &Path) -> Result<Option<Emulator>> {
    let Some(environment) = environment() else { return Ok(None) };
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(script("moto_with_more.py"));
    run(command, folder).map(Some)
}

fn run(mut command: Command, folder: &Path) -> Result<Emulator> {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let process = Process::spawn("moto_server", command, &folder.join("moto.log"))?;
    Emulator::of(process, address, ACCOUNT, "/moto-api/data.json")
}

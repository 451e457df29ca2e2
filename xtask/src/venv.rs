//! The Python environments: the independent clients, and the emulated cloud.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::{root, target_folder};

/// An environment: its folder's name, and where its pinned packages stand, from the workspace's root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    folder: &'static str,
    requirements: &'static str,
}

/// The independent clients.
pub(crate) const CLIENTS: Environment =
    Environment { folder: "venv", requirements: "tests/clients/requirements.txt" };
/// AWS's services on loopback.
pub(crate) const CLOUD: Environment =
    Environment { folder: "venv-cloud", requirements: "tests/cloud/requirements.txt" };

/// Makes the environment in the target folder, unless it is there with the same packages.
///
/// # Errors
/// Python or the package registry is not there; the tests then run without it.
pub(crate) fn prepare(environment: Environment) -> Result<PathBuf> {
    let folder = target_folder()?.join(environment.folder);
    let requirements = root().join(environment.requirements);
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", environment.requirements))?;
    let stamp = folder.join("requirements.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    // `--clear` also repairs what an interrupted run left behind.
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let python = folder.join("bin").join("python");
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&requirements))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", Path::display(&stamp)))?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

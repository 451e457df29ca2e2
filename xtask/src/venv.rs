//! The Python environment with the independent clients.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::{root, target_folder};

/// Where the pinned packages stand, from the workspace's root.
const REQUIREMENTS: &str = "tests/clients/requirements.txt";

/// Makes the environment in the target folder, unless it is there with the same packages.
///
/// # Errors
/// Python or the package registry is not there; the tests then run without these clients.
pub(crate) fn prepare() -> Result<PathBuf> {
    let folder = target_folder()?.join("venv");
    let requirements = root().join(REQUIREMENTS);
    let wanted =
        std::fs::read_to_string(&requirements).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
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

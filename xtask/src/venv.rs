//! The Python environments: the independent clients, and the emulated cloud.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::{root, target_folder};

/// An environment: its folder's name, where its pinned packages stand, from the workspace's root, and the
/// version of Python that they need, where not any will do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    folder: &'static str,
    requirements: &'static str,
    version: Option<&'static str>,
}

/// The independent clients.
pub(crate) const CLIENTS: Environment =
    Environment { folder: "venv", requirements: "tests/clients/requirements.txt", version: None };
/// AWS's services on loopback.
pub(crate) const CLOUD: Environment =
    Environment { folder: "venv-cloud", requirements: "tests/cloud/requirements.txt", version: None };
/// The last LocalStack that starts without a licence.
pub(crate) const LOCALSTACK: Environment = Environment {
    folder: "venv-localstack",
    requirements: "tests/cloud/localstack.txt",
    version: Some("3.13"),
};

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
    let python = environment.version.map_or_else(|| Ok("python3".into()), python)?;
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let python = folder.join("bin").join("python");
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&requirements))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", Path::display(&stamp)))?;
    Ok(folder)
}

/// A Python of this version, such as `3.13`: by its name on PATH, or where pyenv keeps its own.
fn python(version: &str) -> Result<PathBuf> {
    let name = format!("python{version}");
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let kept = versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin").join(&name));
    let works = |program: &PathBuf| {
        // pyenv puts a name on PATH that fails where the version is not chosen.
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let mut found = std::iter::once(PathBuf::from(&name)).chain(kept.filter(|path| path.is_file()));
    found.find(works).with_context(|| format!("there is no Python {version} here"))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

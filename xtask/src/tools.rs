//! Servers that the tests run against, out of Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::target_folder;

/// Packages, and the program that each is wanted for.
const DATABASES: [(&str, &str); 2] = [("influxdb", "influxd"), ("victoria-metrics", "victoria-metrics")];

/// Puts InfluxDB and VictoriaMetrics into `<target>/tools`, unless they are on PATH or there already.
///
/// The packages are fetched by apt, which checks them, and unpacked; they are not installed: an
/// installation would start both servers, now and whenever the machine starts, and wants root.
///
/// # Errors
/// There is no apt, or it does not have them; the tests then run without.
pub(crate) fn prepare_databases() -> Result<()> {
    let folder = target_folder()?.join("tools");
    let missing = |program: &str| !on_path(program) && !folder.join("usr/bin").join(program).is_file();
    let packages: Vec<&str> =
        DATABASES.iter().filter(|(_, program)| missing(program)).map(|(package, _)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = || format!("install with: apt-get install -y {}", packages.join(" "));
    fetch(&folder.join("packages"), &packages).with_context(by_hand)?;
    for entry in std::fs::read_dir(folder.join("packages"))? {
        let package = entry?.path();
        run(Command::new("dpkg-deb").arg("--extract").args([&package, &folder])).with_context(by_hand)?;
        std::fs::remove_file(&package)?;
    }
    let absent = DATABASES.iter().find(|(_, program)| missing(program));
    ensure!(absent.is_none(), "{absent:?} has no such program; {}", by_hand());
    Ok(())
}

fn fetch(folder: &Path, packages: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download =
        || run(Command::new("apt-get").args(["-q", "download"]).args(packages).current_dir(folder));
    if download().is_ok() {
        return Ok(());
    }
    // A fresh machine has no lists of packages yet; only root may fetch them.
    run(Command::new("apt-get").args(["-q", "update"]))?;
    download()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder: PathBuf| folder.join(program)).any(|file| file.is_file())
}

/// Runs a command; what it says is in the error, and is not shown otherwise.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, said.trim());
    Ok(())
}

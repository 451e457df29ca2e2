//! Runs commands one after the other, says which, and how long each took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The steps run so far.
#[derive(Debug)]
pub(crate) struct Steps {
    began: Instant,
    passed: usize,
    failed: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), passed: 0, failed: Vec::new() }
    }

    /// Runs a command with its output on ours. A failure is noted and the steps go on, so that one
    /// run shows everything that is wrong.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        println!("\n=== {name}");
        let began = Instant::now();
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.status().with_context(|| format!("cannot run {program}"))?;
        println!(
            "=== {name}: {} in {}",
            if status.success() { "ok" } else { "FAILED" },
            spell(began.elapsed())
        );
        if status.success() {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
        Ok(())
    }

    /// Prints one line about all steps; true when none failed.
    pub(crate) fn summary(self) -> bool {
        let total = spell(self.began.elapsed());
        if self.failed.is_empty() {
            println!("\nall {} steps passed in {total}", self.passed);
        } else {
            let count = self.failed.len();
            println!(
                "\n{count} of {} steps FAILED in {total}: {}",
                self.passed + count,
                self.failed.join(", ")
            );
        }
        self.failed.is_empty()
    }
}

/// The cargo that runs us, at the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The workspace's root folder. Cargo tells it to whom it runs; a program that several checkouts share in
/// one target folder must not trust where it was built.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// The target folder: this program lies in `<target>/<profile>/`.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let folder = program.parent().and_then(Path::parent).context("this program lies in no target folder")?;
    Ok(folder.to_owned())
}

fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:.0} s", duration.as_secs() / 60, seconds % 60.0)
    }
}

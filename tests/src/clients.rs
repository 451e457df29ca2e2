//! Clients that others wrote, and tools that may not be there.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::programs;

/// The Python of the environment that `cargo xtask test` makes; none, and a printed line, when
/// there is none.
pub fn python() -> Option<PathBuf> {
    let folder = std::env::var_os("FIELDLINE_VENV").map(PathBuf::from);
    let folder = folder.or_else(|| Some(programs::target_folder().ok()?.join("venv")))?;
    let python = folder.join("bin").join("python");
    let ready = folder.join("requirements.installed").is_file() && python.is_file();
    if !ready {
        println!("skipped: no Python clients here; `cargo xtask test` sets them up");
    }
    ready.then_some(python)
}

/// Whether a program is on PATH; prints a line when it is not.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        println!("skipped: {program} is not on PATH");
    }
    found
}

/// Whether strace may trace here; prints a line when not.
pub fn may_trace() -> bool {
    let may = have("strace") && run(Command::new("strace").args(["-o", "/dev/null", "true"])).is_ok();
    if !may {
        println!("skipped: strace may not trace here");
    }
    may
}

/// Runs a command and gives what it printed.
///
/// # Errors
/// It fails; what it said is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One of our scripts in `tests/clients`.
pub fn script(name: &str) -> PathBuf {
    programs::repository().join("tests/clients").join(name)
}

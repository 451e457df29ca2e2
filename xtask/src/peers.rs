//! Programs from npm that the bench measures beside ours.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::{root, target_folder};

/// What is copied beside the packages, from `tests/peers`.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "rules.mjs"];

/// Puts the pinned packages into `<target>/peers`.
///
/// # Errors
/// Node.js or the package registry is not there; the bench then leaves these peers out.
pub(crate) fn prepare() -> Result<PathBuf> {
    let folder = target_folder()?.join("peers");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in FILES {
        let from = root().join("tests/peers").join(file);
        std::fs::copy(&from, folder.join(file)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let by_hand = "install Node.js and npm: apt-get install -y nodejs npm";
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&folder)
        .output()
        .context(by_hand)?;
    ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(folder)
}

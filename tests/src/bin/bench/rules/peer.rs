//! The same in json-rules-engine, a rules engine of Node.js that gateways are often given.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the peers are installed.
const FOLDER: &str = "FIELDLINE_PEERS";

/// Nanoseconds for a message of one value through so many rules; none where the peer is not installed.
pub(super) fn nanos(rules: usize) -> Result<Option<f64>> {
    let Some(folder) = std::env::var_os(FOLDER) else {
        eprintln!("json-rules-engine is not installed; `cargo xtask bench` does it where there is Node.js");
        return Ok(None);
    };
    let messages = (200_000 / rules).min(20_000).to_string();
    let output = Command::new("node")
        .args(["rules.mjs", &rules.to_string(), &messages])
        .current_dir(folder)
        .output()
        .context("cannot run node")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(Some(text.trim().parse().with_context(|| format!("{text:?} is no number"))?))
}

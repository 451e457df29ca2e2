//! What a process takes, by `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// A field of `/proc/<pid>/status` that is given in kB, such as `VmHWM` or `VmRSS`, in bytes.
///
/// # Errors
/// The process is gone, or the system has no `/proc`.
pub fn status_bytes(pid: u32, field: &str) -> Result<u64> {
    field_of(&format!("/proc/{pid}/status"), field)
}

/// The proportional set size in bytes: shared pages are counted by their share.
///
/// # Errors
/// As [`status_bytes`].
pub fn proportional_bytes(pid: u32) -> Result<u64> {
    field_of(&format!("/proc/{pid}/smaps_rollup"), "Pss")
}

/// Processor time used by all threads so far, ended ones too, user and system; to 10 ms.
///
/// # Errors
/// As [`status_bytes`].
pub fn processor_time(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
    let (_, fields) = text.rsplit_once(')').context("no process name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * MILLISECONDS_PER_TICK))
}

/// Linux gives times to programs in hundredths of a second (`USER_HZ`) on every platform of ours.
const MILLISECONDS_PER_TICK: u64 = 10;

fn field_of(path: &str, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no such field")?;
    Ok(number.parse::<u64>()? * 1024)
}

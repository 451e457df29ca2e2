//! Waiting for something that must come about: polled, bounded, and explained when it does not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take that is not itself measured.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` until it gives something, or `patience` is over. What the last probe said goes into
/// the error.
///
/// # Errors
/// `what` did not come about in time.
pub fn until<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        let said = match probe() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if began.elapsed() > patience {
            bail!("{what} did not come about within {patience:?}; the last probe said: {said}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

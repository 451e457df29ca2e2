//! Being told to stop: by signals from outside, by flags within.

use std::future::Future;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// From now on the signals no longer end the process; the future is ready when one has come.
///
/// # Errors
/// The system does not let us listen for signals.
pub fn listen() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ready when a watched flag has been set, or nobody is left to set it.
pub(crate) async fn told(flag: &mut tokio::sync::watch::Receiver<bool>) {
    drop(flag.wait_for(|stop| *stop).await);
}

/// The same, for what has no place for a receiver of its own.
pub(crate) async fn told_by(mut stopping: tokio::sync::watch::Receiver<bool>) {
    told(&mut stopping).await;
}

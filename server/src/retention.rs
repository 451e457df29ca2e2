//! Deletes what is older than it has to be, once an hour.

use std::sync::Arc;
use std::time::Duration;

use fieldline_store::SqliteStore;
use tokio::sync::watch;

use crate::broker::now;
use crate::stop;

const EVERY: Duration = Duration::from_secs(3600);
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

pub(crate) async fn run(store: Arc<SqliteStore>, days: u32, mut closing: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop::told(&mut closing) => return,
        }
        let before = now().saturating_add_nanos(-NANOS_PER_DAY.saturating_mul(i64::from(days)));
        match store.retain(before).await {
            Ok(_) => tracing::debug!(%before, "retention applied"),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "retention failed"),
        }
    }
}

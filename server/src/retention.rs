//! Deletes what is older than it has to be, once an hour.

use std::sync::Arc;
use std::time::Duration;

use fieldline_model::Timestamp;
use fieldline_store::{Shadows, SqliteStore};
use tokio::sync::watch;

use crate::broker::now;
use crate::stop;

const EVERY: Duration = Duration::from_secs(3600);
const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;
/// A shadow that is made again later than this begins anew, so that nobody asks for its version any more. An
/// hour more than the rule says: clocks are set.
const DELETED_KEPT_S: i64 = 49 * 3600;
/// Deleted shadows that are forgotten at a time, so that updates come in between.
const FORGOTTEN_MAX: usize = 1_000;

/// `days` is how long readings are kept; none: for ever.
pub(crate) async fn run(store: Arc<SqliteStore>, days: Option<u32>, mut closing: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop::told(&mut closing) => return,
        }
        tokio::select! {
            () = tidy(&store, days, now()) => {}
            () = stop::told(&mut closing) => return,
        }
    }
}

async fn tidy(store: &SqliteStore, days: Option<u32>, now: Timestamp) {
    forget_deleted(store, now.nanos().div_euclid(NANOS_PER_SECOND) - DELETED_KEPT_S).await;
    let Some(days) = days else { return };
    let before = now.saturating_add_nanos(-NANOS_PER_DAY.saturating_mul(i64::from(days)));
    match store.retain(before).await {
        Ok(_) => tracing::debug!(%before, "retention applied"),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "retention failed"),
    }
}

async fn forget_deleted(store: &dyn Shadows, before_s: i64) {
    loop {
        match store.forget_deleted(before_s, FORGOTTEN_MAX).await {
            Ok(FORGOTTEN_MAX) => {}
            Ok(_) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::error!(error, "deleted shadows could not be forgotten");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldline_model::{ShadowId, ShadowName, ThingName};
    use fieldline_shadow::{Stored, Update};
    use fieldline_store::SqliteConfig;

    use super::*;

    const NOW_S: i64 = 1_700_000_000;

    fn shadow(number: i64) -> ShadowId {
        let name = ShadowName::new(&format!("n{number}")).ok();
        ShadowId { thing: ThingName::new("t").unwrap(), name }
    }

    /// What was left of deleted shadows stayed for ever.
    #[tokio::test]
    async fn what_is_left_of_deleted_shadows_goes_after_two_days() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_nanos(NOW_S * NANOS_PER_SECOND);
        let store = SqliteStore::open(folder.path(), SqliteConfig::default(), now).unwrap();
        let ages_s = [48 * 3600, DELETED_KEPT_S + 1, 0];
        for (number, age_s) in (0..).zip(ages_s) {
            let update = Update::parse(br#"{"state": {"reported": {"n": 1}}}"#).unwrap();
            store.update_shadow(&shadow(number), update, NOW_S).await.unwrap().unwrap();
            store.delete_shadow(&shadow(number), None, NOW_S - age_s).await.unwrap().unwrap();
        }
        tidy(&store, None, now).await;
        for (number, kept) in [(0, true), (1, false), (2, true)] {
            let stored = store.shadow(&shadow(number)).await.unwrap();
            assert_eq!(matches!(stored, Stored::Deleted(_)), kept, "{number}");
        }
    }
}

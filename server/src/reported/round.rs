//! Many shadows at a time.

use fieldline_model::{Books, GatewayId, Timestamp};
use futures_util::{StreamExt, stream};
use shadow::{Due, Error, Presence, Things, Written, health, presence, telemetry};

use crate::counters::Counters;

/// Shadows that are updated at the same time: they share commits.
const AT_ONCE: usize = 64;

/// One shadow to be updated.
#[derive(Debug)]
pub(super) enum Task {
    Telemetry(Due),
    Presence(Presence),
    Health(GatewayId, Books, Timestamp),
}

/// What became of a round.
#[derive(Debug, Default)]
pub(super) struct Tally {
    updated: u64,
    failed: u64,
    /// The first.
    error: Option<Error>,
}

/// Does the tasks and gives back those that failed.
pub(super) async fn run(tasks: Vec<Task>, things: &dyn Things, tally: &mut Tally) -> Vec<Task> {
    let work = tasks.into_iter().map(|task| async move {
        let outcome = task.run(things).await;
        (task, outcome)
    });
    let mut work = stream::iter(work).buffer_unordered(AT_ONCE);
    let mut failed = Vec::new();
    while let Some((task, outcome)) = work.next().await {
        match outcome {
            Ok(Written::Updated { .. }) => tally.updated += 1,
            Ok(Written::Unchanged) => {}
            Err(error) => {
                tally.failed += 1;
                tally.error.get_or_insert(error);
                failed.push(task);
            }
        }
    }
    failed
}

impl Task {
    async fn run(&self, things: &dyn Things) -> Result<Written, Error> {
        match self {
            Self::Telemetry((device, metrics)) => telemetry(device, metrics, things).await,
            Self::Presence(event) => presence(event, things).await,
            Self::Health(gateway, books, received) => health(gateway, books, *received, things).await,
        }
    }
}

impl Tally {
    /// One line, however many have failed.
    pub(super) fn tell(&self, counters: &Counters) {
        counters.shadows_updated.increment(self.updated);
        counters.shadows_failed.increment(self.failed);
        if let Some(error) = &self.error {
            let (count, error) = (self.failed, error as &dyn std::error::Error);
            tracing::error!(count, error, "shadows are not up to date; they are tried again");
        }
    }
}

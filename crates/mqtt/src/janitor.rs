//! Wills and sessions whose time has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::Shared;
use crate::link::lock;

/// Runs until dropped. More than one may run (one for each listener); one of them gets each
/// change, and that is enough.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let next = *lock(&shared.next_due);
        let changed = shared.due_changed.notified();
        match next {
            None => changed.await,
            Some(due) => {
                tokio::select! {
                    () = changed => continue,
                    () = tokio::time::sleep_until(due.into()) => {}
                }
                sweep(&shared, Instant::now());
            }
        }
    }
}

/// Settles what is due and finds the next moment.
pub(crate) fn sweep(shared: &Arc<Shared>, now: Instant) {
    // From here on an earlier moment that is noted wins over what this sweep finds.
    *lock(&shared.next_due) = None;
    let cells: Vec<_> = lock(&shared.cells).values().cloned().collect();
    let mut next: Option<Instant> = None;
    for cell in cells {
        match cell.due() {
            Some(due) if due <= now => shared.settle(&cell, now),
            Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
            None => {}
        }
    }
    let mut known = lock(&shared.next_due);
    // Many sessions that end one after the other share a sweep.
    let next = next.map(|next| next.max(now + Duration::from_millis(100)));
    *known = match (*known, next) {
        (Some(known), Some(next)) => Some(known.min(next)),
        (known, next) => known.or(next),
    };
}

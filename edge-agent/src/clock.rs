//! The one place that asks what time it is.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use fieldline_model::Timestamp;

/// The wall clock. It may be wrong; nothing but the times of arrival and the horizon depends on it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// Nanoseconds since it was asked first.
pub(crate) fn stopwatch() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

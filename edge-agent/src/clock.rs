//! The one place that asks what time it is.

use std::time::SystemTime;

use fieldline_model::Timestamp;

/// The wall clock. It may be wrong; nothing but the times of arrival and the horizon depends on it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

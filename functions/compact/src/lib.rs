//! The `compact` function: merges small objects of readings in S3, once an hour.
//!
//! What it is not: it knows neither Parquet nor S3; [`ParquetStore::compact`] does the work.
//!
//! Invariants: it may be cut off at any moment, run twice at once, and be left out for a week: no
//! answer to a question changes, only what it costs.

#[cfg(feature = "lambda")]
pub mod lambda;

use fieldline_aws::{CompactConfig, Compacted, ParquetStore};
use fieldline_store::StoreError;
use serde::Deserialize;

/// What starts the function. A schedule's event has many fields, and none of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Request {
    /// Only this UTC day, such as `2026-11-22`; all days without.
    pub day: Option<String>,
}

/// Merges what is small.
///
/// # Errors
/// The day is none; the bucket cannot be listed.
pub async fn handle(request: &Request, store: &ParquetStore) -> Result<Compacted, StoreError> {
    store.compact(request.day.as_deref(), &CompactConfig::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedules_event_is_a_request_for_all_days() {
        let schedule = r#"{"version":"0","id":"1","detail-type":"Scheduled Event","source":"aws.events",
            "time":"2026-11-22T10:00:00Z","resources":[],"detail":{}}"#;
        assert_eq!(serde_json::from_str::<Request>(schedule).unwrap(), Request::default());
        let day = Request { day: Some("2026-11-22".to_owned()) };
        assert_eq!(serde_json::from_str::<Request>(r#"{"day":"2026-11-22"}"#).unwrap(), day);
    }
}

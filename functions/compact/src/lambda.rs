//! `compact` on AWS Lambda, by a schedule.

use std::time::Instant;

use fieldline_aws::{Aws, Compacted, ParquetStore, S3Config};
use fieldline_lambda::{Environment, Error, Metric, SettingError, Unit, emit};

use crate::{Request, handle};

const BUCKET: &str = "FIELDLINE_READINGS_BUCKET";

/// What the function works with, made once.
#[derive(Debug)]
pub struct Cloud {
    store: ParquetStore,
}

impl Cloud {
    /// Reads the function's settings.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub async fn from(environment: &Environment) -> Result<Self, SettingError> {
        let bucket = environment.required(BUCKET, "the name of an S3 bucket")?;
        let store = ParquetStore::connect(&Aws::load().await, S3Config { bucket });
        let store =
            store.map_err(|error| SettingError::Unusable { name: BUCKET, source: Box::new(error) })?;
        Ok(Self { store })
    }

    /// Handles an event.
    ///
    /// # Errors
    /// Something could not be compacted: so Lambda's count of errors tells. The next hour goes on there.
    pub async fn handle(&self, request: Request) -> Result<(), Error> {
        let began = Instant::now();
        let done = handle(&request, &self.store).await?;
        tracing::info!(?done, "compacted");
        report(&done, began);
        match done.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of {} folders could not be compacted", done.folders).into()),
        }
    }
}

fn report(done: &Compacted, began: Instant) {
    let value = began.elapsed().as_secs_f64() * 1_000.0;
    let metrics = [
        Metric::count("ObjectsWritten", done.written),
        Metric::count("ObjectsDeleted", done.deleted),
        Metric::count("ObjectsDamaged", done.damaged),
        Metric::count("ReadingsMerged", done.readings),
        Metric::count("FoldersFailed", done.failed),
        Metric { name: "CompactDuration", unit: Unit::Milliseconds, value },
    ];
    emit("compact", &metrics, &[]);
}

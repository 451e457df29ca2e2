use std::sync::Arc;

use fieldline_aws::{Aws, DynamoLedger, LedgerConfig, ParquetStore, S3Config, Timestream, TimestreamConfig};
use fieldline_store::{Ledger, PlacingStore, PointStore, StoreError, TimeSeriesStore};

use crate::{Environment, SettingError};

/// What the functions that store and ask work with.
#[derive(Clone)]
pub struct Stores {
    /// The readings.
    pub readings: Arc<dyn TimeSeriesStore>,
    /// What became of them.
    pub ledger: Arc<dyn Ledger>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stores")
    }
}

const STORE: &str = "FIELDLINE_STORE";

/// Opens the store that `FIELDLINE_STORE` names, and the ledger.
///
/// # Errors
/// A setting is missing or wrong, or the store cannot be reached with it.
pub async fn open_stores(environment: &Environment, aws: &Aws) -> Result<Stores, SettingError> {
    let table = environment.required("FIELDLINE_LEDGER_TABLE", "the name of a DynamoDB table")?;
    let bucket = environment.required("FIELDLINE_QUARANTINE_BUCKET", "the name of an S3 bucket")?;
    let ledger = DynamoLedger::new(aws, LedgerConfig { table, quarantine_bucket: bucket });
    let expected = "timestream or s3";
    let value = environment.required(STORE, expected)?;
    match value.as_str() {
        "timestream" => Ok(placed(timestream(environment, aws).await?, ledger)),
        "s3" => Ok(placed(parquet(environment, aws)?, ledger)),
        _ => Err(SettingError::Wrong { name: STORE, value, expected }),
    }
}

async fn timestream(environment: &Environment, aws: &Aws) -> Result<Timestream, SettingError> {
    let database = environment.required("FIELDLINE_TIMESTREAM_DATABASE", "the name of a database")?;
    let table = environment.required("FIELDLINE_TIMESTREAM_TABLE", "the name of a table")?;
    let config = TimestreamConfig { database, table };
    Timestream::connect(aws, config).await.map_err(unusable("FIELDLINE_TIMESTREAM_TABLE"))
}

fn parquet(environment: &Environment, aws: &Aws) -> Result<ParquetStore, SettingError> {
    let name = "FIELDLINE_READINGS_BUCKET";
    let bucket = environment.required(name, "the name of an S3 bucket")?;
    ParquetStore::connect(aws, S3Config { bucket }).map_err(unusable(name))
}

fn unusable(name: &'static str) -> impl Fn(StoreError) -> SettingError {
    move |error| SettingError::Unusable { name, source: Box::new(error) }
}

fn placed(points: impl PointStore + 'static, ledger: DynamoLedger) -> Stores {
    let readings = Arc::new(PlacingStore::new(points, ledger.clone(), crate::now));
    Stores { readings, ledger: Arc::new(ledger) }
}

use std::sync::Arc;

use fieldline_aws::{Aws, DynamoLedger, LedgerConfig};
use fieldline_store::{Ledger, TimeSeriesStore};

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

const STORES: &str = "timestream, s3 or influxdb";

/// Opens the store that `FIELDLINE_STORE` names, and the ledger.
///
/// # Errors
/// A setting is missing or wrong.
pub async fn open_stores(environment: &Environment, aws: &Aws) -> Result<Stores, SettingError> {
    let table = environment.required("FIELDLINE_LEDGER_TABLE", "the name of a DynamoDB table")?;
    let bucket = environment.required("FIELDLINE_QUARANTINE_BUCKET", "the name of an S3 bucket")?;
    let _ledger = DynamoLedger::new(aws, LedgerConfig { table, quarantine_bucket: bucket });
    let name = "FIELDLINE_STORE";
    let value = environment.required(name, STORES)?;
    Err(SettingError::Wrong { name, value, expected: STORES })
}

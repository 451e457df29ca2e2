use std::sync::Arc;
use std::time::Duration;

use fieldline_aws::{
    Aws, DynamoLedger, LedgerConfig, ParquetStore, S3Config, Timestream, TimestreamConfig, secret,
};
use fieldline_store::{
    InfluxConfig, InfluxConfigError, InfluxDialect, InfluxPoints, InfluxToken, Ledger, PlacingStore,
    PointStore, StoreError, TimeSeriesStore,
};

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
const INFLUX_URL: &str = "FIELDLINE_INFLUX_URL";
const INFLUX_DATABASE: &str = "FIELDLINE_INFLUX_DATABASE";
const INFLUX_TOKEN_SECRET: &str = "FIELDLINE_INFLUX_TOKEN_SECRET";
const INFLUX_RETENTION_DAYS: &str = "FIELDLINE_INFLUX_RETENTION_DAYS";

/// Opens the store that `FIELDLINE_STORE` names, and the ledger.
///
/// # Errors
/// A setting is missing or wrong, or the store cannot be reached with it.
pub async fn open_stores(environment: &Environment, aws: &Aws) -> Result<Stores, SettingError> {
    let table = environment.required("FIELDLINE_LEDGER_TABLE", "the name of a DynamoDB table")?;
    let bucket = environment.required("FIELDLINE_QUARANTINE_BUCKET", "the name of an S3 bucket")?;
    let ledger = DynamoLedger::new(aws, LedgerConfig { table, quarantine_bucket: bucket });
    let expected = "timestream, s3 or influxdb";
    let value = environment.required(STORE, expected)?;
    match value.as_str() {
        "timestream" => Ok(placed(timestream(environment, aws).await?, ledger)),
        "s3" => Ok(placed(parquet(environment, aws)?, ledger)),
        "influxdb" => Ok(placed(influx(environment, aws).await?, ledger)),
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

async fn influx(environment: &Environment, aws: &Aws) -> Result<InfluxPoints, SettingError> {
    let url =
        environment.url(INFLUX_URL, "the URL of the database, such as https://influx.example.com:8086")?;
    let dialect = environment.parsed("FIELDLINE_INFLUX_DIALECT", "v1, v2, v3 or victoriametrics")?;
    let database = match dialect {
        InfluxDialect::VictoriaMetrics => environment.optional(INFLUX_DATABASE).unwrap_or_default(),
        _ => environment.required(INFLUX_DATABASE, "the name of a database or bucket")?,
    };
    let mut config = InfluxConfig::new(dialect, &url, &database);
    config.org = match dialect {
        InfluxDialect::V2 => environment.required("FIELDLINE_INFLUX_ORG", "the name of the organisation")?,
        _ => String::new(),
    };
    if dialect == InfluxDialect::VictoriaMetrics {
        let expected = "after how many days VictoriaMetrics deletes (its -retentionPeriod)";
        let days: u32 = environment.parsed(INFLUX_RETENTION_DAYS, expected)?;
        config.retention = Some(Duration::from_secs(u64::from(days) * 86_400));
    }
    if let Some(id) = environment.optional(INFLUX_TOKEN_SECRET) {
        let text = secret(aws, &id).await.map_err(unusable(INFLUX_TOKEN_SECRET))?;
        config.token = InfluxToken::new(&text);
    }
    InfluxPoints::new(config).map_err(|error| {
        let name = match error {
            InfluxConfigError::Token => INFLUX_TOKEN_SECRET,
            InfluxConfigError::Database => INFLUX_DATABASE,
            _ => INFLUX_URL,
        };
        SettingError::Unusable { name, source: Box::new(error) }
    })
}

fn unusable(name: &'static str) -> impl Fn(StoreError) -> SettingError {
    move |error| SettingError::Unusable { name, source: Box::new(error) }
}

fn placed(points: impl PointStore + 'static, ledger: DynamoLedger) -> Stores {
    let readings = Arc::new(PlacingStore::new(points, ledger.clone(), crate::now));
    Stores { readings, ledger: Arc::new(ledger) }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("FIELDLINE_LEDGER_TABLE", "ledger"),
        ("FIELDLINE_QUARANTINE_BUCKET", "quarantine"),
        (STORE, "influxdb"),
        (INFLUX_URL, "https://influx.example"),
        (INFLUX_DATABASE, "plant"),
        ("FIELDLINE_INFLUX_DIALECT", "v1"),
    ];

    /// The good settings, but one; `None` if the stores open with them.
    async fn told(name: &'static str, value: &'static str) -> Option<String> {
        let environment = Environment::new(move |asked| {
            let good = GOOD.iter().find(|setting| setting.0 == asked).map(|setting| setting.1);
            Some(value).filter(|_| name == asked).or(good).map(str::to_owned)
        });
        // Nobody is there; opening InfluxDB's adapter asks nobody, unless there is a secret to get.
        let aws = Aws::emulator("http://127.0.0.1:9", Duration::from_secs(1)).await;
        let error = open_stores(&environment, &aws).await.err()?;
        Some(format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default()))
    }

    #[tokio::test]
    async fn settings_of_influxdb_are_told_by_name() {
        assert_eq!(told("FIELDLINE_OTHER", "").await, None);
        assert_eq!(told("FIELDLINE_INFLUX_DIALECT", "v3").await, None);
        assert_eq!(told(INFLUX_TOKEN_SECRET, "").await, None);
        let table = [
            (STORE, "oracle", "FIELDLINE_STORE is \"oracle\": timestream, s3 or influxdb"),
            (INFLUX_URL, "", "FIELDLINE_INFLUX_URL is not set"),
            (INFLUX_URL, "influx:8086", "FIELDLINE_INFLUX_URL is \"influx:8086\": the URL"),
            (INFLUX_URL, "https://u:pa55@influx", "FIELDLINE_INFLUX_URL names cannot be used: the URL of"),
            (INFLUX_DATABASE, "", "FIELDLINE_INFLUX_DATABASE is not set"),
            ("FIELDLINE_INFLUX_DIALECT", "v4", "FIELDLINE_INFLUX_DIALECT is \"v4\": v1, v2, v3 or"),
            ("FIELDLINE_INFLUX_DIALECT", "v2", "FIELDLINE_INFLUX_ORG is not set"),
            ("FIELDLINE_INFLUX_DIALECT", "victoriametrics", "FIELDLINE_INFLUX_RETENTION_DAYS is not set"),
            (INFLUX_TOKEN_SECRET, "token", "FIELDLINE_INFLUX_TOKEN_SECRET names cannot be used: Secrets"),
        ];
        for (name, value, expected) in table {
            let found = told(name, value).await.unwrap_or_default();
            assert!(found.contains(expected), "{name}={value}: {found}");
            assert!(!found.contains("pa55"), "{found}");
        }
    }
}

//! Databases and tables, and the records in them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Options;
use super::refusal::Refusal;

/// How long a table keeps what, and what it still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Hours in the memory store.
    pub memory_hours: i64,
    /// Days in the magnetic store.
    pub magnetic_days: i64,
    /// Whether records that are older than the memory store are written to the magnetic one.
    pub magnetic_writes: bool,
}

/// A value in a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    Null,
    Varchar(String),
    Bigint(i64),
    Double(f64),
    Boolean(bool),
    /// Nanoseconds since the epoch.
    Timestamp(i64),
}

impl Datum {
    /// The type as `DESCRIBE` says it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "unknown",
            Self::Varchar(_) => "varchar",
            Self::Bigint(_) => "bigint",
            Self::Double(_) => "double",
            Self::Boolean(_) => "boolean",
            Self::Timestamp(_) => "timestamp",
        }
    }

    /// As it stands in an answer. Numbers look as in Java, which Timestream is written in.
    pub(super) fn json(&self) -> Value {
        let text = match self {
            Self::Null => return json!({ "NullValue": true }),
            Self::Varchar(text) => text.clone(),
            Self::Bigint(number) => number.to_string(),
            Self::Double(number) if *number == 0.0 || (1e-3..1e7).contains(&number.abs()) => {
                format!("{number:?}")
            }
            Self::Double(number) => {
                let text = format!("{number:E}");
                if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
            }
            Self::Boolean(state) => state.to_string(),
            Self::Timestamp(nanos) => nanos.to_string(),
        };
        json!({ "ScalarValue": text })
    }
}

/// What makes a record one and the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) dimensions: BTreeMap<String, String>,
    pub(super) measure_name: String,
    pub(super) time: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) version: i64,
    pub(super) measures: BTreeMap<String, Datum>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) retention: Retention,
    pub(super) measures_max: usize,
    /// Measures of multi-measure records, and their types.
    pub(super) columns: BTreeMap<String, &'static str>,
    pub(super) dimensions: BTreeSet<String>,
    pub(super) measure_names: BTreeSet<String>,
    pub(super) records: BTreeMap<Key, Stored>,
}

impl Table {
    fn new(retention: Retention, measures_max: usize) -> Self {
        Self {
            retention,
            measures_max,
            columns: BTreeMap::new(),
            dimensions: BTreeSet::new(),
            measure_names: BTreeSet::new(),
            records: BTreeMap::new(),
        }
    }
}

/// All databases.
#[derive(Debug)]
pub(super) struct Tables {
    retention: Retention,
    measures_max: usize,
    pub(super) value_chars_max: usize,
    databases: BTreeMap<String, BTreeMap<String, Table>>,
}

impl Tables {
    pub(super) fn new(options: &Options) -> Self {
        let mut databases: BTreeMap<String, BTreeMap<String, Table>> = BTreeMap::new();
        for (database, table) in &options.tables {
            let fresh = Table::new(options.retention, options.measures_max);
            databases.entry(database.clone()).or_default().insert(table.clone(), fresh);
        }
        Self {
            retention: options.retention,
            measures_max: options.measures_max,
            value_chars_max: options.value_chars_max,
            databases,
        }
    }

    pub(super) fn records(&self) -> usize {
        self.databases.values().flat_map(BTreeMap::values).map(|table| table.records.len()).sum()
    }

    pub(super) fn table(&self, database: &str, table: &str) -> Result<&Table, Refusal> {
        let tables =
            self.databases.get(database).ok_or_else(|| Refusal::missing(&format!("database {database}")))?;
        tables.get(table).ok_or_else(|| Refusal::missing(&format!("table {table}")))
    }

    pub(super) fn of_input(&mut self, input: &Value) -> Result<&mut Table, Refusal> {
        let (database, table) = (name(input, "DatabaseName")?, name(input, "TableName")?);
        let tables = self
            .databases
            .get_mut(&database)
            .ok_or_else(|| Refusal::missing(&format!("database {database}")))?;
        tables.get_mut(&table).ok_or_else(|| Refusal::missing(&format!("table {table}")))
    }

    pub(super) fn create_database(&mut self, input: &Value) -> Result<Value, Refusal> {
        let database = name(input, "DatabaseName")?;
        if self.databases.contains_key(&database) {
            return Err(Refusal::conflict(&format!("database {database}")));
        }
        self.databases.insert(database.clone(), BTreeMap::new());
        Ok(json!({ "Database": { "DatabaseName": database, "TableCount": 0 } }))
    }

    pub(super) fn create_table(&mut self, input: &Value) -> Result<Value, Refusal> {
        let (database, table) = (name(input, "DatabaseName")?, name(input, "TableName")?);
        let given = &input["RetentionProperties"];
        let number = |field: &str, default| given[field].as_i64().unwrap_or(default);
        let writes = input["MagneticStoreWriteProperties"]["EnableMagneticStoreWrites"].as_bool();
        let retention = Retention {
            memory_hours: number("MemoryStoreRetentionPeriodInHours", self.retention.memory_hours),
            magnetic_days: number("MagneticStoreRetentionPeriodInDays", self.retention.magnetic_days),
            magnetic_writes: writes.unwrap_or(self.retention.magnetic_writes),
        };
        if !(1..=8_766).contains(&retention.memory_hours) || !(1..=73_000).contains(&retention.magnetic_days)
        {
            return Err(Refusal::validation("The retention period is out of range."));
        }
        let measures_max = self.measures_max;
        let tables = self
            .databases
            .get_mut(&database)
            .ok_or_else(|| Refusal::missing(&format!("database {database}")))?;
        if tables.contains_key(&table) {
            return Err(Refusal::conflict(&format!("table {table}")));
        }
        tables.insert(table.clone(), Table::new(retention, measures_max));
        self.describe_table(input)
    }

    pub(super) fn describe_table(&mut self, input: &Value) -> Result<Value, Refusal> {
        let Retention { memory_hours, magnetic_days, magnetic_writes } = self.of_input(input)?.retention;
        Ok(json!({ "Table": {
            "DatabaseName": input["DatabaseName"],
            "TableName": input["TableName"],
            "TableStatus": "ACTIVE",
            "RetentionProperties": {
                "MemoryStoreRetentionPeriodInHours": memory_hours,
                "MagneticStoreRetentionPeriodInDays": magnetic_days,
            },
            "MagneticStoreWriteProperties": { "EnableMagneticStoreWrites": magnetic_writes },
        } }))
    }
}

/// The name of a database or a table: 3 to 256 of `a-z A-Z 0-9 _ . -`.
fn name(input: &Value, field: &str) -> Result<String, Refusal> {
    let name = input[field].as_str().unwrap_or_default();
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    if !(3..=256).contains(&name.len()) || !name.chars().all(good) {
        return Err(Refusal::validation(format!("{field} is not valid: {name:?}")));
    }
    Ok(name.to_owned())
}

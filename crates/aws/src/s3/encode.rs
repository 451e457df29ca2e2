//! Rows as Parquet.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::Value;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::rows::{Row, Series};
use super::schema;

/// Rows in a row group: what a question for one series has to read at least.
pub(super) const GROUP_ROWS: usize = 64 << 10;

/// Where the footer of a merged object keeps the names that it was merged from, one in a line.
pub(super) const INPUTS: &str = "fieldline.inputs";
/// Where the footer of a catalog keeps the days that it covers, with their fingerprints.
pub(super) const COVERED: &str = "fieldline.covered";

/// Writes an object in memory, row group by row group. Series come in their order, rows settled.
pub(super) struct Encoder {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: Columns,
}

#[derive(Default)]
struct Columns {
    devices: Vec<ByteArray>,
    metrics: Vec<ByteArray>,
    times: Vec<i64>,
    floats: Optional<f64>,
    integers: Optional<i64>,
    booleans: Optional<bool>,
    texts: Optional<ByteArray>,
    qualities: Vec<i32>,
    places: Vec<i64>,
}

/// The values that are there, and of each row whether it has one.
struct Optional<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T> Optional<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl Encoder {
    pub(super) fn new() -> Result<Self> {
        let properties = Arc::new(schema::properties()?);
        let writer = SerializedFileWriter::new(Vec::new(), schema::schema()?, properties)?;
        Ok(Self { writer, columns: Columns::default() })
    }

    pub(super) fn push(&mut self, (device, metric): &Series, rows: &[Row]) -> Result<()> {
        let name = |text: &str| ByteArray::from(Bytes::copy_from_slice(text.as_bytes()));
        let (device, metric) = (name(device.as_str()), name(metric.as_str()));
        for row in rows {
            self.columns.push(&device, &metric, row);
            if self.columns.times.len() >= GROUP_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Notes lines in the footer, under a name.
    pub(super) fn note(&mut self, name: &str, lines: &[impl AsRef<str>]) {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        self.writer.append_key_value_metadata(KeyValue::new(name.to_owned(), lines.join("\n")));
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.flush()?;
        self.writer.into_inner()
    }

    fn flush(&mut self) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        if columns.times.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        write::<ByteArrayType>(&mut group, &columns.devices, None)?;
        write::<ByteArrayType>(&mut group, &columns.metrics, None)?;
        write::<Int64Type>(&mut group, &columns.times, None)?;
        write::<DoubleType>(&mut group, &columns.floats.values, Some(&columns.floats.levels))?;
        write::<Int64Type>(&mut group, &columns.integers.values, Some(&columns.integers.levels))?;
        write::<BoolType>(&mut group, &columns.booleans.values, Some(&columns.booleans.levels))?;
        write::<ByteArrayType>(&mut group, &columns.texts.values, Some(&columns.texts.levels))?;
        write::<Int32Type>(&mut group, &columns.qualities, None)?;
        write::<Int64Type>(&mut group, &columns.places, None)?;
        group.close()?;
        Ok(())
    }
}

impl Columns {
    fn push(&mut self, device: &ByteArray, metric: &ByteArray, row: &Row) {
        self.devices.push(device.clone());
        self.metrics.push(metric.clone());
        self.times.push(row.time);
        self.floats.push(if let Value::Float(value) = row.value { Some(value) } else { None });
        self.integers.push(if let Value::Integer(value) = row.value { Some(value) } else { None });
        self.booleans.push(if let Value::Boolean(value) = row.value { Some(value) } else { None });
        self.texts.push(match &row.value {
            Value::Text(text) => Some(ByteArray::from(text.as_str())),
            _ => None,
        });
        self.qualities.push(i32::from(row.quality.code()));
        self.places.push(row.place);
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

//! Row groups read back.

use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use fieldline_model::{DeviceId, Metric, Quality, Value};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::rows::{Row, Series};
use super::schema::{BOOLEAN, DEVICE, FLOAT, INTEGER, METRIC, PLACE, QUALITY, TEXT, TIME};

/// Why something is no Parquet of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// Parquet does not go like that.
    #[error("it is no sound Parquet")]
    Parquet(#[from] ParquetError),
    /// It is Parquet, but not as it is written here.
    #[error("{0}")]
    Ours(&'static str),
}

/// Lets the Parquet reader loose on bytes: on some that are no Parquet it panics.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, Damage>) -> Result<T, Damage> {
    // Nothing outlives a panic that the reader could have left half done.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Damage::Ours("its reader gives up on it")))
}

/// A part of an object, which the reader of columns takes for the whole.
#[derive(Debug)]
pub(super) struct Part {
    /// Where in the object it begins.
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Part {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..)).ok_or_else(outside)
    }
}

fn outside() -> ParquetError {
    ParquetError::EOF("a column lies outside its row group".to_owned())
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(outside());
        }
        Ok(bytes.slice(..length))
    }
}

/// A row group: what its footer says, and its bytes.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) metadata: &'a RowGroupMetaData,
    pub(super) part: Arc<Part>,
}

/// Rows of a group that lie side by side and are of one series.
pub(super) struct Run {
    pub(super) series: Series,
    pub(super) rows: Range<usize>,
}

impl Group<'_> {
    /// The series of the group, in the order of its rows.
    pub(super) fn runs(&self) -> Result<Vec<Run>, Damage> {
        let (devices, metrics) = (self.names(DEVICE)?, self.names(METRIC)?);
        let mut runs: Vec<Run> = Vec::new();
        let mut before = None;
        for (at, names) in devices.iter().zip(&metrics).enumerate() {
            match runs.last_mut() {
                Some(run) if before == Some(names) => run.rows.end = at + 1,
                _ => {
                    let (device, metric) = (names.0.as_utf8()?, names.1.as_utf8()?);
                    let series = DeviceId::new(device).ok().zip(Metric::new(metric).ok());
                    let series = series.ok_or(Damage::Ours("it has a name that is none"))?;
                    runs.push(Run { series, rows: at..at + 1 });
                }
            }
            before = Some(names);
        }
        Ok(runs)
    }

    /// The times of all rows.
    pub(super) fn times(&self) -> Result<Vec<i64>, Damage> {
        self.required::<Int64Type>(TIME)
    }

    /// Brings the rows of the series that are wanted, where their times are, run by run.
    pub(super) fn rows(
        &self,
        wanted: impl Fn(&Series) -> bool,
        times: &RangeInclusive<i64>,
        mut each: impl FnMut(&Series, Vec<Row>),
    ) -> Result<(), Damage> {
        let runs: Vec<Run> = self.runs()?.into_iter().filter(|run| wanted(&run.series)).collect();
        if runs.is_empty() {
            return Ok(());
        }
        let values = self.values()?;
        let (all_times, places) = (self.times()?, self.required::<Int64Type>(PLACE)?);
        let qualities = self.required::<Int32Type>(QUALITY)?;
        for Run { series, rows } in runs {
            let mut taken = Vec::with_capacity(rows.len());
            for at in rows {
                let (Some(&time), Some(&place), Some(&quality)) =
                    (all_times.get(at), places.get(at), qualities.get(at))
                else {
                    return Err(Damage::Ours("its columns differ in length"));
                };
                if !times.contains(&time) {
                    continue;
                }
                let value = values.get(at).cloned().flatten();
                let value = value.ok_or(Damage::Ours("it has a row without a value"))?;
                let quality = u8::try_from(quality).ok().and_then(Quality::from_code);
                let quality = quality.ok_or(Damage::Ours("it has a quality that is none"))?;
                taken.push(Row { time, place, value, quality });
            }
            if !taken.is_empty() {
                each(&series, taken);
            }
        }
        Ok(())
    }

    /// The one value that each row has.
    fn values(&self) -> Result<Vec<Option<Value>>, Damage> {
        let mut values = vec![None; self.count()?];
        fill(&mut values, self.column::<DoubleType>(FLOAT)?, |value| Ok(Value::Float(value)))?;
        fill(&mut values, self.column::<Int64Type>(INTEGER)?, |value| Ok(Value::Integer(value)))?;
        fill(&mut values, self.column::<BoolType>(BOOLEAN)?, |value| Ok(Value::Boolean(value)))?;
        fill(&mut values, self.column::<ByteArrayType>(TEXT)?, |value| {
            Ok(Value::Text(value.as_utf8()?.to_owned()))
        })?;
        Ok(values)
    }

    fn count(&self) -> Result<usize, Damage> {
        usize::try_from(self.metadata.num_rows()).map_err(|_| Damage::Ours("it has less than no rows"))
    }

    fn names(&self, column: usize) -> Result<Vec<ByteArray>, Damage> {
        self.required::<ByteArrayType>(column)
    }

    fn required<T: DataType>(&self, column: usize) -> Result<Vec<T::T>, Damage> {
        Ok(self.column::<T>(column)?.0)
    }

    /// Values and, in an optional column, of each row whether it has one.
    fn column<T: DataType>(&self, column: usize) -> Result<(Vec<T::T>, Vec<i16>), Damage> {
        guarded(|| self.read::<T>(column))
    }

    fn read<T: DataType>(&self, column: usize) -> Result<(Vec<T::T>, Vec<i16>), Damage> {
        let count = self.count()?;
        let chunk = self.metadata.columns().get(column).ok_or(Damage::Ours("it lacks a column"))?;
        let pages = SerializedPageReader::new(Arc::clone(&self.part), chunk, count, None)?;
        let reader = get_column_reader(chunk.column_descr_ptr(), Box::new(pages));
        let mut reader: ColumnReaderImpl<T> =
            T::get_column_reader(reader).ok_or(Damage::Ours("a column is of another type"))?;
        let optional = chunk.column_descr().max_def_level() > 0;
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut read = 0;
        while read < count {
            let (records, _, _) =
                reader.read_records(count - read, optional.then_some(&mut levels), None, &mut values)?;
            if records == 0 {
                return Err(Damage::Ours("a column is too short"));
            }
            read += records;
        }
        Ok((values, levels))
    }
}

fn fill<T>(
    into: &mut [Option<Value>],
    (values, levels): (Vec<T>, Vec<i16>),
    make: impl Fn(T) -> Result<Value, Damage>,
) -> Result<(), Damage> {
    let present = into.iter_mut().zip(levels).filter(|(_, level)| *level > 0);
    for ((slot, _), value) in present.zip(values) {
        *slot = Some(make(value)?);
    }
    Ok(())
}

//! Objects opened: their footers, and which of their row groups are worth reading.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::bucket::{Bucket, Object, Trouble};
use super::decode::{Damage, Part, guarded};
use super::schema;

/// An object of at most so many bytes is fetched whole.
const WHOLE_MAX: u64 = 1 << 20;
/// Of a greater one so many bytes of its end are fetched first; its footer is mostly among them.
const TAIL: u64 = 128 << 10;
/// A footer has at most so many bytes.
const FOOTER_MAX: u64 = 16 << 20;
/// A row group has at most so many bytes, packed and unpacked, and rows.
const GROUP_BYTES_MAX: u64 = 256 << 20;
const GROUP_ROWS_MAX: i64 = 1 << 21;

/// What is asked for, as far as statistics can tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    /// The first and the last device.
    pub(super) devices: Option<RangeInclusive<String>>,
    /// The first and the last metric.
    pub(super) metrics: Option<RangeInclusive<String>>,
    /// Nanoseconds since the epoch.
    pub(super) times: RangeInclusive<i64>,
}

/// An object whose footer has been read.
#[derive(Debug)]
pub(super) struct Opened {
    metadata: ParquetMetaData,
    whole: Option<Arc<Part>>,
}

impl Opened {
    /// Fetches the footer; the inner error says that the object is none of ours.
    pub(super) async fn open(bucket: &Bucket, object: &Object) -> Result<Result<Self, Damage>, Trouble> {
        let whole = object.size <= WHOLE_MAX;
        let start = if whole { 0 } else { object.size - TAIL.min(object.size) };
        let mut tail = bucket.get(object, start..object.size).await?;
        let footer = match footer_length(&tail) {
            Ok(length) if length > FOOTER_MAX.min(object.size) => {
                return Ok(Err(Damage::Ours("its footer is too long")));
            }
            Ok(length) => length,
            Err(damage) => return Ok(Err(damage)),
        };
        if footer > tail.len() as u64 {
            tail = bucket.get(object, object.size - footer..object.size).await?;
        }
        let part = whole.then(|| Arc::new(Part { start: 0, bytes: tail.clone() }));
        Ok(parse(&tail, footer).map(|metadata| Self { metadata, whole: part }))
    }

    /// The lines that the footer keeps under a name.
    pub(super) fn note(&self, name: &str) -> Vec<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let noted = pairs.into_iter().flatten().filter(|pair| pair.key == name);
        noted.filter_map(|pair| pair.value.as_deref()).flat_map(str::lines).collect()
    }

    /// The row groups that may hold something of what is asked for.
    pub(super) fn groups(&self, filter: &Filter) -> impl Iterator<Item = &RowGroupMetaData> {
        self.metadata.row_groups().iter().filter(|group| filter.may_be_in(group))
    }

    /// Fetches a row group's bytes.
    pub(super) async fn part(
        &self,
        bucket: &Bucket,
        object: &Object,
        group: &RowGroupMetaData,
    ) -> Result<Result<Arc<Part>, Damage>, Trouble> {
        if let Some(whole) = &self.whole {
            return Ok(Ok(Arc::clone(whole)));
        }
        let Some(range) = bytes_of(group).filter(|range| range.end <= object.size) else {
            return Ok(Err(Damage::Ours("a row group lies outside the object")));
        };
        let start = range.start;
        let bytes = bucket.get(object, range).await?;
        Ok(Ok(Arc::new(Part { start, bytes })))
    }
}

/// The length of metadata and tail together.
fn footer_length(tail: &Bytes) -> Result<u64, Damage> {
    let last = tail.last_chunk::<FOOTER_SIZE>().ok_or(Damage::Ours("it is too short"))?;
    let length = FooterTail::try_new(last)?.metadata_length();
    Ok((length as u64).saturating_add(FOOTER_SIZE as u64))
}

fn parse(tail: &Bytes, footer: u64) -> Result<ParquetMetaData, Damage> {
    let start = usize::try_from(footer).ok().and_then(|footer| tail.len().checked_sub(footer));
    let bytes = start.and_then(|start| tail.get(start..tail.len().checked_sub(FOOTER_SIZE)?));
    let bytes = bytes.ok_or(Damage::Ours("its footer is cut off"))?;
    let metadata = guarded(|| Ok(ParquetMetaDataReader::decode_metadata(bytes)?))?;
    if !schema::is_ours(metadata.file_metadata().schema_descr()) {
        return Err(Damage::Ours("its columns are others than ours"));
    }
    if metadata.row_groups().iter().any(|group| bytes_of(group).is_none()) {
        return Err(Damage::Ours("a row group cannot be"));
    }
    Ok(metadata)
}

/// Where a row group lies; `None` if its metadata makes no sense or is beyond all bounds.
fn bytes_of(group: &RowGroupMetaData) -> Option<Range<u64>> {
    let (mut start, mut end) = (u64::MAX, 0);
    if !(0..=GROUP_ROWS_MAX).contains(&group.num_rows()) {
        return None;
    }
    for column in group.columns() {
        let begin = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let begin = u64::try_from(begin).ok()?;
        let length = u64::try_from(column.compressed_size()).ok()?;
        let unpacked = u64::try_from(column.uncompressed_size()).ok()?;
        if length > GROUP_BYTES_MAX || unpacked > GROUP_BYTES_MAX {
            return None;
        }
        (start, end) = (start.min(begin), end.max(begin.checked_add(length)?));
    }
    (start <= end && end - start <= GROUP_BYTES_MAX).then_some(start..end)
}

impl Filter {
    fn may_be_in(&self, group: &RowGroupMetaData) -> bool {
        let within = |column: usize, wanted: &Option<RangeInclusive<String>>| {
            let (Some(wanted), Some((least, greatest))) = (wanted, bounds(group, column)) else {
                return true;
            };
            wanted.start().as_bytes() <= greatest && least <= wanted.end().as_bytes()
        };
        let times = match group.columns().get(schema::TIME).and_then(|column| column.statistics()) {
            Some(Statistics::Int64(times)) => times.min_opt().zip(times.max_opt()),
            _ => None,
        };
        within(schema::DEVICE, &self.devices)
            && within(schema::METRIC, &self.metrics)
            && times
                .is_none_or(|(least, greatest)| least <= self.times.end() && self.times.start() <= greatest)
    }
}

fn bounds(group: &RowGroupMetaData, column: usize) -> Option<(&[u8], &[u8])> {
    let statistics = group.columns().get(column)?.statistics()?;
    statistics.min_bytes_opt().zip(statistics.max_bytes_opt())
}

#[cfg(test)]
mod tests {
    use fieldline_model::{DeviceId, Metric, Quality, Value};

    use super::super::decode::Group;
    use super::super::encode::Encoder;
    use super::super::rows::Row;
    use super::super::scan::ALWAYS;
    use super::*;

    /// Two hundred rows of each kind of value.
    fn object() -> Vec<u8> {
        let mut encoder = Encoder::new().unwrap();
        for device in ["a", "b"] {
            let value = |at: i64| match at % 4 {
                0 => Value::Float(at as f64 / 3.0),
                1 => Value::Integer(at),
                2 => Value::Boolean(at % 3 == 0),
                _ => Value::Text(format!("text {at}")),
            };
            let row = |time| Row { time, place: 7, value: value(time), quality: Quality::Uncertain };
            let series = (DeviceId::new(device).unwrap(), Metric::new("m").unwrap());
            encoder.push(&series, &(0..100).map(row).collect::<Vec<_>>()).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn read(object: &[u8]) -> Result<usize, Damage> {
        let bytes = Bytes::copy_from_slice(object);
        let footer = footer_length(&bytes)?;
        let metadata = parse(&bytes, footer)?;
        let part = Arc::new(Part { start: 0, bytes });
        let mut count = 0;
        for metadata in metadata.row_groups() {
            let group = Group { metadata, part: Arc::clone(&part) };
            group.rows(|_| true, &ALWAYS, |_, rows| count += rows.len())?;
        }
        Ok(count)
    }

    #[test]
    fn whatever_is_in_an_object_reading_it_ends_in_rows_or_in_an_error() {
        let sound = object();
        assert_eq!(read(&sound).unwrap(), 200);
        for length in 0..sound.len() {
            assert!(read(sound.get(..length).unwrap()).is_err(), "cut off after {length} bytes");
        }
        let mut damaged = 0;
        for at in 0..sound.len() {
            for change in [0x01_u8, 0x80, 0xff] {
                let mut object = sound.clone();
                object[at] ^= change;
                damaged += usize::from(read(&object).is_err());
            }
        }
        assert!(damaged > sound.len(), "{damaged} of {} changes are noticed", 3 * sound.len());
    }
}

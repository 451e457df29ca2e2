//! The payload of one journal record: some readings in order. See `docs/formats/record.md`.
//!
//! ```
//! use fieldline_model::{Quality, ReadingRef, Timestamp, ValueRef};
//! use fieldline_wire::record;
//!
//! let reading = ReadingRef {
//!     device: "press-4",
//!     metric: "temperature",
//!     time: Timestamp::EPOCH,
//!     value: ValueRef::Float(21.5),
//!     quality: Quality::Good,
//! };
//! let mut bytes = Vec::new();
//! record::encode([reading, reading].into_iter(), &mut bytes);
//! let readings = record::decode(&bytes)?.collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(readings, [reading, reading]);
//! # Ok::<(), record::RecordError>(())
//! ```

use fieldline_model::{DeviceId, Metric, Quality, ReadingRef, Timestamp, ValueRef};

use crate::varint::{put, take, unzigzag, zigzag};

/// The first byte of a record.
pub const VERSION: u8 = 1;

/// How many series of one record can be named by number; later ones are spelled out each time.
const TABLE_MAX: usize = 1024;
/// Up to so many series, looking at each is quicker than hashing.
const LINEAR_MAX: usize = 8;

const KIND_MASK: u8 = 0b0000_0011;
const KIND_BOOLEAN: u8 = 0;
const KIND_INTEGER: u8 = 1;
const KIND_FLOAT: u8 = 2;
const KIND_TEXT: u8 = 3;
const QUALITY_SHIFT: u8 = 2;
const QUALITY_MASK: u8 = 0b0000_1100;
const SAME_TIME: u8 = 0b0001_0000;
const TRUE: u8 = 0b0010_0000;
const UNKNOWN: u8 = 0b1100_0000;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version of Fieldline: upgrade before reading it.
    #[error("the record has format version {version}, this program reads version {VERSION}")]
    Version {
        /// What the record says.
        version: u8,
    },
    /// The bytes break the format; nothing after this point can be read.
    #[error("the record is damaged: {what}")]
    Damaged {
        /// The rule that is broken.
        what: &'static str,
    },
}

/// Appends a record with these readings to `out`.
pub fn encode<'a>(readings: impl Iterator<Item = ReadingRef<'a>>, out: &mut Vec<u8>) {
    out.push(VERSION);
    let mut table = Table::default();
    let mut time = 0_i64;
    for reading in readings {
        encode_series(&mut table, reading.device, reading.metric, out);
        let nanos = reading.time.nanos();
        let same_time = if nanos == time { SAME_TIME } else { 0 };
        out.push(value_flags(reading.value) | reading.quality.code() << QUALITY_SHIFT | same_time);
        if nanos != time {
            put(out, zigzag(nanos.wrapping_sub(time)));
            time = nanos;
        }
        match reading.value {
            ValueRef::Boolean(_) => {}
            ValueRef::Integer(value) => put(out, zigzag(value)),
            ValueRef::Float(value) => out.extend_from_slice(&value.to_bits().to_le_bytes()),
            ValueRef::Text(value) => put_text(out, value),
        }
    }
}

/// Reads a record. The readings borrow from `payload`; the iterator ends after the first error.
pub fn decode(payload: &[u8]) -> Result<Readings<'_>, RecordError> {
    match payload.split_first() {
        None => Err(RecordError::Damaged { what: "it is empty" }),
        Some((&VERSION, rest)) => Ok(Readings { rest, table: Table::default(), time: 0 }),
        Some((&version, _)) => Err(RecordError::Version { version }),
    }
}

/// The readings of one record; made by [`decode`].
#[derive(Debug, Clone)]
pub struct Readings<'a> {
    rest: &'a [u8],
    table: Table<'a>,
    time: i64,
}

impl<'a> Iterator for Readings<'a> {
    type Item = Result<ReadingRef<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let reading = self.reading();
        if reading.is_err() {
            self.rest = &[];
        }
        Some(reading)
    }
}

impl<'a> Readings<'a> {
    fn reading(&mut self) -> Result<ReadingRef<'a>, RecordError> {
        let (device, metric) = self.series()?;
        let (&flags, rest) =
            self.rest.split_first().ok_or(RecordError::Damaged { what: "a reading is cut off" })?;
        self.rest = rest;
        if flags & UNKNOWN != 0 {
            return Err(RecordError::Damaged { what: "unknown flags" });
        }
        let quality = Quality::from_code((flags & QUALITY_MASK) >> QUALITY_SHIFT)
            .ok_or(RecordError::Damaged { what: "unknown quality" })?;
        if flags & SAME_TIME == 0 {
            self.time = self.time.wrapping_add(unzigzag(self.number()?));
        }
        let value = self.value(flags)?;
        Ok(ReadingRef { device, metric, time: Timestamp::from_nanos(self.time), value, quality })
    }

    fn series(&mut self) -> Result<(&'a str, &'a str), RecordError> {
        let number = self.number()?;
        if number > 0 {
            return self.table.choose(number - 1).ok_or(RecordError::Damaged { what: "an unknown series" });
        }
        let device = match self.text()? {
            "" => self.table.previous.0,
            device => {
                DeviceId::check(device).map_err(|_| RecordError::Damaged { what: "a bad device id" })?;
                device
            }
        };
        let metric = self.text()?;
        Metric::check(metric).map_err(|_| RecordError::Damaged { what: "a bad metric name" })?;
        if device.is_empty() {
            return Err(RecordError::Damaged { what: "the first reading names no device" });
        }
        self.table.add(device, metric);
        Ok((device, metric))
    }

    fn value(&mut self, flags: u8) -> Result<ValueRef<'a>, RecordError> {
        if flags & KIND_MASK != KIND_BOOLEAN && flags & TRUE != 0 {
            return Err(RecordError::Damaged { what: "unknown flags" });
        }
        match flags & KIND_MASK {
            KIND_BOOLEAN => Ok(ValueRef::Boolean(flags & TRUE != 0)),
            KIND_INTEGER => Ok(ValueRef::Integer(unzigzag(self.number()?))),
            KIND_FLOAT => {
                let (bits, rest) = self
                    .rest
                    .split_first_chunk::<8>()
                    .ok_or(RecordError::Damaged { what: "a number is cut off" })?;
                self.rest = rest;
                Ok(ValueRef::Float(f64::from_bits(u64::from_le_bytes(*bits))))
            }
            _ => Ok(ValueRef::Text(self.text()?)),
        }
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        take(&mut self.rest).ok_or(RecordError::Damaged { what: "a number is cut off or too long" })
    }

    fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let (text, rest) =
            self.rest.split_at_checked(length).ok_or(RecordError::Damaged { what: "a text is cut off" })?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| RecordError::Damaged { what: "a text is not UTF-8" })
    }
}

/// The series that a record has named so far.
#[derive(Debug, Clone, Default)]
struct Table<'a> {
    entries: Vec<(&'a str, &'a str)>,
    previous: (&'a str, &'a str),
    /// The writer's guess: the entry after the previous reading's, since devices send the same
    /// metrics in the same order again and again.
    next: usize,
    /// The writer's index: by hash, the latest entry with that hash. An entry that it forgets is
    /// spelled out again.
    slots: Vec<u16>,
}

impl<'a> Table<'a> {
    fn find(&mut self, device: &'a str, metric: &'a str) -> Option<usize> {
        let series = (device, metric);
        let is_it = |position: &usize| self.entries.get(*position) == Some(&series);
        let guess = if self.next < self.entries.len() { self.next } else { 0 };
        let position = if is_it(&guess) {
            guess
        } else if self.entries.len() <= LINEAR_MAX {
            (0..self.entries.len()).find(is_it)?
        } else {
            self.slots.get(slot(series)).map(|position| usize::from(*position)).filter(is_it)?
        };
        self.previous = series;
        self.next = position + 1;
        Some(position)
    }

    fn choose(&mut self, number: u64) -> Option<(&'a str, &'a str)> {
        let series = *self.entries.get(usize::try_from(number).ok()?)?;
        self.previous = series;
        Some(series)
    }

    fn add(&mut self, device: &'a str, metric: &'a str) {
        self.previous = (device, metric);
        if self.entries.len() < TABLE_MAX {
            self.entries.push(self.previous);
            self.next = self.entries.len();
        }
    }

    /// Keeps the writer's index up with the entries.
    fn index(&mut self) {
        if self.entries.len() <= LINEAR_MAX {
            return;
        }
        let already = if self.slots.is_empty() { 0 } else { self.entries.len() - 1 };
        self.slots.resize(TABLE_MAX, 0);
        for (position, series) in self.entries.iter().enumerate().skip(already) {
            if let (Some(place), Ok(position)) = (self.slots.get_mut(slot(*series)), u16::try_from(position))
            {
                *place = position;
            }
        }
    }
}

/// A place in the writer's index. A collision costs some bytes, nothing else.
fn slot((device, metric): (&str, &str)) -> usize {
    let mut hash = 0_u64;
    for piece in [device.as_bytes(), metric.as_bytes()] {
        for chunk in piece.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    (hash >> 54) as usize
}

fn encode_series<'a>(table: &mut Table<'a>, device: &'a str, metric: &'a str, out: &mut Vec<u8>) {
    if let Some(position) = table.find(device, metric) {
        put(out, position as u64 + 1);
        return;
    }
    put(out, 0);
    put_text(out, if device == table.previous.0 { "" } else { device });
    put_text(out, metric);
    if table.entries.len() < TABLE_MAX {
        table.add(device, metric);
        table.index();
    } else {
        table.previous = (device, metric);
    }
}

fn value_flags(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Boolean(false) => KIND_BOOLEAN,
        ValueRef::Boolean(true) => KIND_BOOLEAN | TRUE,
        ValueRef::Integer(_) => KIND_INTEGER,
        ValueRef::Float(_) => KIND_FLOAT,
        ValueRef::Text(_) => KIND_TEXT,
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;

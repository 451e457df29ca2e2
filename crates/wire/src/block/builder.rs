use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use fieldline_model::{Class, DeviceId, IdError, Metric, Quality, ReadingRef, StreamId, ValueRef};

use super::size::{COLUMN_BYTES, ColumnSize, ENVELOPE_BYTES, NAME_BYTES};
use super::{Block, Column, Values, order};

/// Gathers readings into a [`Block`].
///
/// Give it consecutive readings of one stream, and stop when [`BlockBuilder::estimated_bytes`]
/// comes to the size that the block may have.
#[derive(Debug)]
pub struct BlockBuilder {
    stream: StreamId,
    class: Class,
    first_seq: u64,
    count: u64,
    bytes: usize,
    text_bytes: usize,
    base_time: i64,
    columns: Vec<Growing>,
    devices: HashMap<DeviceId, usize>,
    /// The time of each device's latest reading.
    latest: Vec<i64>,
    /// See [`Block::order`].
    order: Vec<u32>,
    metrics: HashSet<Metric>,
    /// The first column of each hash of device, metric and family of kinds.
    heads: HashMap<u64, usize>,
    hasher: RandomState,
    /// The column of the previous reading.
    last: Option<usize>,
}

/// A column that is being filled.
#[derive(Debug)]
struct Growing {
    column: Column,
    size: ColumnSize,
    /// Whether a double holds each of a column's whole numbers.
    all_exact: bool,
    /// The number of its device.
    who: usize,
    /// The next column with the same hash.
    twin: Option<usize>,
    /// The column of the reading that came after this column's latest one. Devices repeat
    /// themselves, so it is likely to be right again, and spares the hash.
    follower: usize,
}

impl BlockBuilder {
    /// A builder for the readings of `stream` from `first_seq` on.
    pub fn new(stream: StreamId, class: Class, first_seq: u64) -> Self {
        Self {
            stream,
            class,
            first_seq,
            count: 0,
            bytes: ENVELOPE_BYTES,
            text_bytes: 0,
            base_time: 0,
            columns: Vec::new(),
            devices: HashMap::new(),
            latest: Vec::new(),
            order: Vec::new(),
            metrics: HashSet::new(),
            heads: HashMap::new(),
            hasher: RandomState::new(),
            last: None,
        }
    }

    /// Adds the reading with the next sequence number.
    ///
    /// A reading whose device or metric breaks the contract of [`ReadingRef`] takes its sequence
    /// number along and nothing else, so that [`Block::decode`] refuses the block.
    pub fn push(&mut self, reading: ReadingRef<'_>) {
        self.count += 1;
        if let ValueRef::Text(text) = reading.value {
            self.text_bytes += text.len();
        }
        let position = match self.find(&reading) {
            Some(position) => position,
            None => match self.add(&reading) {
                Ok(position) => position,
                Err(_) => return,
            },
        };
        if let Some(before) = self.last.and_then(|last| self.columns.get_mut(last)) {
            before.follower = position;
        }
        self.last = Some(position);
        self.keep_order(position, reading.time.nanos());
        if let Some(growing) = self.columns.get_mut(position) {
            growing.push(&reading, &mut self.bytes);
        }
    }

    /// How many readings have been added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// About how large the block would be by now; rather too much than too little, since it counts
    /// what is there before compression.
    pub fn estimated_bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of all text values so far, repeats included: decoders have a limit of it
    /// ([`super::Limits::decompressed_bytes_max`]), however little a text that repeats takes in the block.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The block; `None` if there is no reading in it.
    pub fn finish(mut self) -> Option<Block> {
        let last_seq = self.first_seq.checked_add(self.count.checked_sub(1)?)?;
        let columns = std::mem::take(&mut self.columns).into_iter().map(|growing| growing.column).collect();
        let Self { stream, class, first_seq, order, .. } = self;
        Some(Block { stream, class, first_seq, last_seq, columns, order })
    }

    /// From the first reading on that is older than the one before of its device, columns are noted.
    fn keep_order(&mut self, position: usize, time: i64) {
        let who = self.columns.get(position).map(|growing| growing.who);
        let Some(latest) = who.and_then(|who| self.latest.get_mut(who)) else { return };
        let falls = time < *latest;
        *latest = time;
        if falls && self.order.is_empty() {
            self.order = order::by_time(self.columns.iter().map(|growing| &growing.column));
            self.bytes += self.order.iter().map(|number| varint_bytes(*number)).sum::<usize>();
        }
        if !self.order.is_empty() {
            let number = u32::try_from(position).unwrap_or(u32::MAX);
            self.bytes += varint_bytes(number);
            self.order.push(number);
        }
    }

    fn find(&self, reading: &ReadingRef<'_>) -> Option<usize> {
        let fits =
            |position: &usize| self.columns.get(*position).is_some_and(|growing| growing.fits(reading));
        let likely = self.last.and_then(|last| self.columns.get(last)).map(|before| before.follower);
        if let Some(position) = likely.filter(fits) {
            return Some(position);
        }
        let mut candidate = self.heads.get(&self.hash(reading)).copied();
        while let Some(position) = candidate {
            if fits(&position) {
                return Some(position);
            }
            candidate = self.columns.get(position).and_then(|growing| growing.twin);
        }
        None
    }

    fn add(&mut self, reading: &ReadingRef<'_>) -> Result<usize, IdError> {
        let (device, who) = self.device(reading.device)?;
        let metric = self.metric(reading.metric)?;
        let values = Values::of_kind(reading.value);
        let column = Column { device, metric, times: Vec::new(), values, qualities: Vec::new() };
        let position = self.columns.len();
        if position == 0 {
            self.base_time = reading.time.nanos();
        }
        self.bytes += COLUMN_BYTES;
        let twin = self.heads.insert(self.hash(reading), position);
        let size = ColumnSize::new(self.base_time);
        self.columns.push(Growing { column, size, all_exact: true, who, twin, follower: position + 1 });
        Ok(position)
    }

    fn device(&mut self, name: &str) -> Result<(DeviceId, usize), IdError> {
        if let Some((known, who)) = self.devices.get_key_value(name) {
            return Ok((known.clone(), *who));
        }
        let device = DeviceId::new(name)?;
        self.bytes += name.len() + NAME_BYTES;
        let who = self.latest.len();
        self.latest.push(i64::MIN);
        self.devices.insert(device.clone(), who);
        Ok((device, who))
    }

    fn metric(&mut self, name: &str) -> Result<Metric, IdError> {
        if let Some(known) = self.metrics.get(name) {
            return Ok(known.clone());
        }
        let metric = Metric::new(name)?;
        self.bytes += name.len() + NAME_BYTES;
        self.metrics.insert(metric.clone());
        Ok(metric)
    }

    fn hash(&self, reading: &ReadingRef<'_>) -> u64 {
        let family = match reading.value {
            ValueRef::Float(_) | ValueRef::Integer(_) => 0_u8,
            ValueRef::Boolean(_) => 1,
            ValueRef::Text(_) => 2,
        };
        self.hasher.hash_one((reading.device, reading.metric, family))
    }
}

impl Growing {
    fn fits(&self, reading: &ReadingRef<'_>) -> bool {
        self.column.metric.as_str() == reading.metric
            && self.column.device.as_str() == reading.device
            && self.takes(reading.value)
    }

    /// Whole numbers and fractions of one series share a column as long as a double holds each of
    /// them: devices write 21 and 21.5 for one metric, and in two columns their order would be lost.
    fn takes(&self, value: ValueRef<'_>) -> bool {
        match (&self.column.values, value) {
            (Values::Float(_), ValueRef::Integer(value)) => is_exact(value),
            (Values::Integer(_), ValueRef::Float(_)) => self.all_exact,
            (values, value) => values.takes(value),
        }
    }

    fn push(&mut self, reading: &ReadingRef<'_>, bytes: &mut usize) {
        let column = &mut self.column;
        let mut reading = *reading;
        match (&mut column.values, reading.value) {
            (Values::Float(_), ValueRef::Integer(value)) => reading.value = ValueRef::Float(value as f64),
            (Values::Integer(values), ValueRef::Float(_)) => {
                column.values = Values::Float(values.iter().map(|value| *value as f64).collect());
            }
            (_, ValueRef::Integer(value)) => self.all_exact &= is_exact(value),
            _ => {}
        }
        let reading = &reading;
        if reading.quality != Quality::Good && column.qualities.is_empty() {
            column.qualities.resize(column.times.len(), Quality::Good);
        }
        if reading.quality != Quality::Good || !column.qualities.is_empty() {
            self.size.quality(reading.quality, column.qualities.last().copied(), bytes);
            column.qualities.push(reading.quality);
        }
        self.size.reading(reading, &column.values, bytes);
        column.times.push(reading.time.nanos());
        match (&mut column.values, reading.value) {
            (Values::Float(values), ValueRef::Float(value)) => values.push(value),
            (Values::Integer(values), ValueRef::Integer(value)) => values.push(value),
            (Values::Boolean(values), ValueRef::Boolean(value)) => values.push(value),
            (Values::Text(values), ValueRef::Text(value)) => values.push(value.to_owned()),
            _ => {}
        }
    }
}

/// How long Protocol Buffers write it.
fn varint_bytes(number: u32) -> usize {
    (number.checked_ilog2().unwrap_or(0) / 7 + 1) as usize
}

/// Whether a double holds the number, and no other whole number becomes the same double.
fn is_exact(value: i64) -> bool {
    value.unsigned_abs() < 1 << 53
}

impl Values {
    fn of_kind(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Float(_) => Self::Float(Vec::new()),
            ValueRef::Integer(_) => Self::Integer(Vec::new()),
            ValueRef::Boolean(_) => Self::Boolean(Vec::new()),
            ValueRef::Text(_) => Self::Text(Vec::new()),
        }
    }

    fn takes(&self, value: ValueRef<'_>) -> bool {
        matches!(
            (self, value),
            (Self::Float(_), ValueRef::Float(_))
                | (Self::Integer(_), ValueRef::Integer(_))
                | (Self::Boolean(_), ValueRef::Boolean(_))
                | (Self::Text(_), ValueRef::Text(_))
        )
    }
}

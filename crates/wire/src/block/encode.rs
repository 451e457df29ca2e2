//! From columns to bytes.

use std::collections::HashMap;

use fieldline_model::Quality;
use prost::Message;

use super::message::Columns;
use super::numbers::{Encoding, differences, is_exception, scale};
use super::{Column, Values, times};

const ZSTD_LEVEL: i32 = 3;

/// The packed columns, and their length before compression, 0 if they are not compressed.
pub(super) fn columns(columns: &[Column], order: &[u32]) -> (Vec<u8>, u32) {
    let mut packer = Packer::default();
    let count = columns.iter().map(|column| column.values.len()).sum();
    packer.message.number_rests.reserve_exact(count);
    packer.message.base_time = columns.first().and_then(|c| c.times.first()).copied().unwrap_or_default();
    for column in columns {
        packer.column(column);
    }
    packer.message.order.extend_from_slice(order);
    let raw = packer.message.encode_to_vec();
    drop(packer);
    match (zstd::bulk::compress(&raw, ZSTD_LEVEL), u32::try_from(raw.len())) {
        (Ok(packed), Ok(raw_bytes)) if packed.len() < raw.len() => (packed, raw_bytes),
        _ => (raw, 0),
    }
}

#[derive(Default)]
struct Packer<'a> {
    message: Columns,
    devices: Dictionary<'a>,
    metrics: Dictionary<'a>,
    texts: HashMap<&'a str, u32>,
    vectors: TimeVectors<'a>,
    columns_since_quality: u32,
    scaled_since_exception: u32,
    boolean_count: usize,
    integers: Vec<i64>,
}

impl<'a> Packer<'a> {
    fn column(&mut self, column: &'a Column) {
        let count = column.times.len().min(column.values.len());
        let message = &mut self.message;
        message.device_steps.push(self.devices.step(column.device.as_str(), &mut message.devices));
        message.metric_steps.push(self.metrics.step(column.metric.as_str(), &mut message.metrics));
        let times = column.times.get(..count).unwrap_or_default();
        let time_step = self.vectors.step(times, message);
        message.time_steps.push(time_step);
        let encoding = match &column.values {
            Values::Float(values) => self.floats(values.get(..count).unwrap_or_default()),
            Values::Integer(values) => self.whole(values.get(..count).unwrap_or_default()),
            Values::Boolean(values) => self.booleans(values.get(..count).unwrap_or_default()),
            Values::Text(values) => self.texts(values.get(..count).unwrap_or_default()),
        };
        self.message.encodings.push(encoding.code());
        self.qualities(&column.qualities);
    }

    fn floats(&mut self, values: &[f64]) -> Encoding {
        let Some(scale) = scale(values, &mut self.integers) else {
            self.message.doubles.extend_from_slice(values);
            return Encoding::Doubles;
        };
        for &x in values {
            if is_exception(x) {
                self.message.exception_steps.push(self.scaled_since_exception);
                self.message.exception_bits.push(x.to_bits());
                self.scaled_since_exception = 0;
            } else {
                self.scaled_since_exception = self.scaled_since_exception.saturating_add(1);
            }
        }
        self.message.number_firsts.extend(self.integers.first());
        Encoding::Scaled(scale, differences(&self.integers, &mut self.message.number_rests))
    }

    fn whole(&mut self, values: &[i64]) -> Encoding {
        self.message.number_firsts.extend(values.first());
        Encoding::Integers(differences(values, &mut self.message.number_rests))
    }

    fn booleans(&mut self, values: &[bool]) -> Encoding {
        for &value in values {
            let bit = self.boolean_count % 8;
            if bit == 0 {
                self.message.booleans.push(0);
            }
            if let Some(byte) = self.message.booleans.last_mut() {
                *byte |= u8::from(value) << bit;
            }
            self.boolean_count += 1;
        }
        Encoding::Booleans
    }

    fn texts(&mut self, values: &'a [String]) -> Encoding {
        for value in values {
            let next = self.message.texts.len() as u32;
            let choice = *self.texts.entry(value).or_insert(next);
            if choice == next {
                self.message.texts.push(value.clone());
            }
            self.message.text_choices.push(choice);
        }
        Encoding::Texts
    }

    fn qualities(&mut self, qualities: &[Quality]) {
        if qualities.iter().all(|quality| *quality == Quality::Good) {
            self.columns_since_quality += 1;
            return;
        }
        self.message.quality_columns.push(self.columns_since_quality);
        self.columns_since_quality = 0;
        for run in qualities.chunk_by(|one, other| one == other) {
            let code = run.first().copied().unwrap_or_default().code();
            self.message.quality_runs.push((run.len() as u32) << 2 | u32::from(code));
        }
    }
}

/// Names by position, as steps from one column to the next.
#[derive(Default)]
struct Dictionary<'a> {
    positions: HashMap<&'a str, i32>,
    last: (Option<&'a str>, i32),
}

impl<'a> Dictionary<'a> {
    fn step(&mut self, name: &'a str, names: &mut Vec<String>) -> i32 {
        if self.last.0 == Some(name) {
            return 0;
        }
        let position = *self.positions.entry(name).or_insert_with(|| {
            names.push(name.to_owned());
            names.len() as i32 - 1
        });
        let step = position - self.last.1;
        self.last = (Some(name), position);
        step
    }
}

/// Length, first, second and last time.
type VectorKey = (usize, i64, i64, i64);

/// The different vectors of times: columns that share one name it instead of repeating it.
#[derive(Default)]
struct TimeVectors<'a> {
    /// The key tells almost all vectors apart; where two agree in it and yet differ, the later one
    /// is written out.
    known: HashMap<VectorKey, (&'a [i64], i32)>,
    last: i32,
}

impl<'a> TimeVectors<'a> {
    fn step(&mut self, times: &'a [i64], message: &mut Columns) -> i32 {
        let position = self.position(times, message);
        let step = position - self.last;
        self.last = position;
        step
    }

    fn position(&mut self, times: &'a [i64], message: &mut Columns) -> i32 {
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        let key = (times.len(), at(0), at(1), at(times.len().saturating_sub(1)));
        let next = message.time_counts.len() as i32;
        let (known, position) = *self.known.entry(key).or_insert((times, next));
        if position != next && known == times {
            return position;
        }
        message.time_counts.push(times.len() as u32);
        message.time_firsts.push(at(0).wrapping_sub(message.base_time));
        message.time_units.push(times::encode(times, &mut message.time_rests).code());
        next
    }
}

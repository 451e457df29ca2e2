//! From bytes to columns, trusting nothing.

use fieldline_model::{DeviceId, Metric, Quality, TEXT_BYTES_MAX};
use prost::Message;

use super::envelope::Envelope;
use super::message::Columns;
use super::numbers::{Encoding, integers};
use super::{BlockError, BlockHeader, Column, Limits, Values, order, times};

/// The columns and the order of a block whose checksum has been checked.
pub(super) fn columns(
    envelope: &Envelope<'_>,
    limits: &Limits,
) -> Result<(Vec<Column>, Vec<u32>), BlockError> {
    let raw = unpack(envelope, limits)?;
    let mut message =
        Columns::decode(raw.as_slice()).map_err(|_| format_error("the columns are no Columns message"))?;
    within("columns", message.encodings.len() as u64, limits.columns_max)?;
    let shapes = shapes(&message)?;
    let count = shapes.iter().fold(0_u64, |sum, shape| sum.saturating_add(shape.count as u64));
    check_count(count, &envelope.header, limits)?;
    let mut unpacker = Unpacker::new(&message, limits)?;
    let columns = shapes.iter().map(|shape| unpacker.column(shape)).collect::<Result<Vec<_>, _>>()?;
    unpacker.finish()?;
    let order = std::mem::take(&mut message.order);
    if !order.is_empty() && !order::fits(&order, &columns) {
        return Err(format_error("the order does not fit the columns"));
    }
    Ok((columns, order))
}

fn unpack(envelope: &Envelope<'_>, limits: &Limits) -> Result<Vec<u8>, BlockError> {
    let max = limits.decompressed_bytes_max;
    if envelope.columns_bytes == 0 {
        within("bytes", envelope.columns.len() as u64, max)?;
        return Ok(envelope.columns.to_vec());
    }
    within("bytes", envelope.columns_bytes.into(), max)?;
    let mut raw = vec![0; envelope.columns_bytes as usize];
    match zstd::bulk::decompress_to_buffer(envelope.columns, &mut raw) {
        Ok(written) if written == raw.len() => Ok(raw),
        _ => Err(format_error("the columns do not unpack to the length that the header tells")),
    }
}

/// A column before its values: positions in the dictionaries, and how many readings it has.
struct Shape {
    device: usize,
    metric: usize,
    vector: usize,
    count: usize,
    encoding: Encoding,
}

fn shapes(message: &Columns) -> Result<Vec<Shape>, BlockError> {
    let columns = message.encodings.len();
    let steps = [&message.device_steps, &message.metric_steps, &message.time_steps];
    if steps.iter().any(|steps| steps.len() != columns) {
        return Err(format_error("the fields of the columns differ in length"));
    }
    let (mut device, mut metric, mut vector) = (0_i64, 0_i64, 0_i64);
    let mut shapes = Vec::with_capacity(columns);
    let each = message.device_steps.iter().zip(&message.metric_steps).zip(&message.time_steps);
    for (((device_step, metric_step), time_step), code) in each.zip(&message.encodings) {
        device += i64::from(*device_step);
        metric += i64::from(*metric_step);
        vector += i64::from(*time_step);
        let vector = usize::try_from(vector).map_err(|_| format_error("an unknown vector of times"))?;
        let count = message.time_counts.get(vector).ok_or(format_error("an unknown vector of times"))?;
        shapes.push(Shape {
            device: usize::try_from(device).map_err(|_| format_error("an unknown device"))?,
            metric: usize::try_from(metric).map_err(|_| format_error("an unknown metric"))?,
            vector,
            count: *count as usize,
            encoding: Encoding::from_code(*code).ok_or(format_error("an unknown encoding"))?,
        });
    }
    if shapes.iter().any(|shape| shape.count == 0) {
        return Err(format_error("an empty column"));
    }
    Ok(shapes)
}

fn check_count(count: u64, header: &BlockHeader, limits: &Limits) -> Result<(), BlockError> {
    within("readings", count, limits.readings_max)?;
    if count.checked_sub(1) == Some(header.last_seq - header.first_seq) {
        Ok(())
    } else {
        Err(format_error("the columns have not as many readings as there are sequence numbers"))
    }
}

/// Hands out the fields of [`Columns`] column by column.
struct Unpacker<'a> {
    message: &'a Columns,
    devices: Vec<DeviceId>,
    metrics: Vec<Metric>,
    vectors: Vec<Vec<i64>>,
    number_firsts: &'a [i64],
    number_rests: &'a [i64],
    doubles: &'a [f64],
    text_choices: &'a [u32],
    text_bytes_left: usize,
    text_bytes_max: usize,
    boolean_count: usize,
    quality_columns: &'a [u32],
    quality_runs: &'a [u32],
    columns_since_quality: u32,
    exception_steps: &'a [u32],
    exception_bits: &'a [u64],
    scaled_since_exception: u32,
}

impl<'a> Unpacker<'a> {
    fn new(message: &'a Columns, limits: &Limits) -> Result<Self, BlockError> {
        let devices = message.devices.iter().map(|name| DeviceId::new(name)).collect::<Result<_, _>>();
        let metrics = message.metrics.iter().map(|name| Metric::new(name)).collect::<Result<_, _>>();
        if message.texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(format_error("a text is too long"));
        }
        Ok(Self {
            message,
            devices: devices.map_err(|_| format_error("a bad device id"))?,
            metrics: metrics.map_err(|_| format_error("a bad metric name"))?,
            vectors: time_vectors(message, limits)?,
            number_firsts: &message.number_firsts,
            number_rests: &message.number_rests,
            doubles: &message.doubles,
            text_choices: &message.text_choices,
            text_bytes_left: limits.decompressed_bytes_max,
            text_bytes_max: limits.decompressed_bytes_max,
            boolean_count: 0,
            quality_columns: &message.quality_columns,
            quality_runs: &message.quality_runs,
            columns_since_quality: 0,
            exception_steps: &message.exception_steps,
            exception_bits: &message.exception_bits,
            scaled_since_exception: 0,
        })
    }

    fn column(&mut self, shape: &Shape) -> Result<Column, BlockError> {
        let device = self.devices.get(shape.device).ok_or(format_error("an unknown device"))?.clone();
        let metric = self.metrics.get(shape.metric).ok_or(format_error("an unknown metric"))?.clone();
        let times = self.vectors.get(shape.vector).ok_or(format_error("an unknown vector of times"))?.clone();
        let count = shape.count;
        let values = match shape.encoding {
            Encoding::Doubles => Values::Float(chunk(&mut self.doubles, count)?.to_vec()),
            Encoding::Booleans => self.booleans(count)?,
            Encoding::Texts => self.texts(count)?,
            Encoding::Integers(order) => {
                let (first, rests) = self.numbers(count)?;
                Values::Integer(integers(order, first, rests).collect())
            }
            Encoding::Scaled(scale, order) => {
                let (first, rests) = self.numbers(count)?;
                let mut values: Vec<f64> =
                    integers(order, first, rests).map(|integer| scale.value(integer)).collect();
                self.exceptions(&mut values)?;
                Values::Float(values)
            }
        };
        let qualities = self.qualities(count)?;
        Ok(Column { device, metric, times, values, qualities })
    }

    fn numbers(&mut self, count: usize) -> Result<(i64, &'a [i64]), BlockError> {
        let first = chunk(&mut self.number_firsts, 1)?.first().copied().unwrap_or_default();
        Ok((first, chunk(&mut self.number_rests, count - 1)?))
    }

    fn exceptions(&mut self, values: &mut [f64]) -> Result<(), BlockError> {
        let mut index = 0_usize;
        while let Some((&step, steps)) = self.exception_steps.split_first() {
            // Of the step, what lies in earlier columns has been counted there.
            let ahead = step
                .checked_sub(self.scaled_since_exception)
                .ok_or(format_error("an exception out of order"))?;
            let place = index.saturating_add(ahead as usize);
            let Some(value) = values.get_mut(place) else { break };
            let (&bits, later) =
                self.exception_bits.split_first().ok_or(format_error("an exception without a value"))?;
            *value = f64::from_bits(bits);
            (self.exception_steps, self.exception_bits) = (steps, later);
            self.scaled_since_exception = 0;
            index = place + 1;
        }
        let passed = values.len() - index;
        self.scaled_since_exception = self.scaled_since_exception.saturating_add(passed as u32);
        Ok(())
    }

    fn booleans(&mut self, count: usize) -> Result<Values, BlockError> {
        let start = self.boolean_count;
        self.boolean_count += count;
        let bit =
            |index: usize| self.message.booleans.get(index / 8).map(|byte| byte >> (index % 8) & 1 == 1);
        (start..self.boolean_count)
            .map(bit)
            .collect::<Option<_>>()
            .map(Values::Boolean)
            .ok_or(format_error("a column is cut off"))
    }

    fn texts(&mut self, count: usize) -> Result<Values, BlockError> {
        let mut texts = Vec::with_capacity(count);
        for choice in chunk(&mut self.text_choices, count)? {
            let text = self.message.texts.get(*choice as usize).ok_or(format_error("an unknown text"))?;
            self.text_bytes_left = self.text_bytes_left.checked_sub(text.len()).ok_or(BlockError::Limit {
                what: "bytes of text",
                found: (self.text_bytes_max as u64).saturating_add(1),
                max: self.text_bytes_max as u64,
            })?;
            texts.push(text.clone());
        }
        Ok(Values::Text(texts))
    }

    fn qualities(&mut self, count: usize) -> Result<Vec<Quality>, BlockError> {
        match self.quality_columns.split_first() {
            Some((&step, later)) if step == self.columns_since_quality => self.quality_columns = later,
            _ => {
                self.columns_since_quality = self.columns_since_quality.saturating_add(1);
                return Ok(Vec::new());
            }
        }
        self.columns_since_quality = 0;
        let mut qualities = Vec::with_capacity(count);
        while qualities.len() < count {
            let (&run, later) =
                self.quality_runs.split_first().ok_or(format_error("a quality is missing"))?;
            self.quality_runs = later;
            let quality = Quality::from_code((run & 3) as u8).ok_or(format_error("an unknown quality"))?;
            let length = (run >> 2) as usize;
            if length == 0 || length > count - qualities.len() {
                return Err(format_error("a run of qualities does not fit its column"));
            }
            qualities.extend(std::iter::repeat_n(quality, length));
        }
        Ok(qualities)
    }

    /// Everything must have been used: what is left over would belong to another block.
    fn finish(&self) -> Result<(), BlockError> {
        let used = self.number_firsts.is_empty()
            && self.number_rests.is_empty()
            && self.doubles.is_empty()
            && self.text_choices.is_empty()
            && self.quality_columns.is_empty()
            && self.quality_runs.is_empty()
            && self.exception_steps.is_empty()
            && self.exception_bits.is_empty()
            && self.message.booleans.len() == self.boolean_count.div_ceil(8);
        if used { Ok(()) } else { Err(format_error("values are left over")) }
    }
}

fn time_vectors(message: &Columns, limits: &Limits) -> Result<Vec<Vec<i64>>, BlockError> {
    let vectors = message.time_counts.len();
    if message.time_units.len() != vectors || message.time_firsts.len() != vectors {
        return Err(format_error("the fields of the times differ in length"));
    }
    let total = message.time_counts.iter().fold(0_u64, |sum, count| sum.saturating_add((*count).into()));
    within("times", total, limits.readings_max)?;
    let mut rests = message.time_rests.as_slice();
    let mut out = Vec::with_capacity(vectors);
    let each = message.time_counts.iter().zip(&message.time_units).zip(&message.time_firsts);
    for ((count, code), first) in each {
        let form = times::Form::from_code(*code).ok_or(format_error("an unknown unit of time"))?;
        let count = *count as usize;
        let own = chunk(&mut rests, form.rests(count))?;
        out.push(times::decode(form, message.base_time.wrapping_add(*first), own, count));
    }
    if rests.is_empty() { Ok(out) } else { Err(format_error("times are left over")) }
}

/// Takes `count` items off the front.
fn chunk<'a, T>(items: &mut &'a [T], count: usize) -> Result<&'a [T], BlockError> {
    let (front, rest) = items.split_at_checked(count).ok_or(format_error("a column is cut off"))?;
    *items = rest;
    Ok(front)
}

fn within(what: &'static str, found: u64, max: usize) -> Result<(), BlockError> {
    let max = max as u64;
    if found <= max { Ok(()) } else { Err(BlockError::Limit { what, found, max }) }
}

fn format_error(what: &'static str) -> BlockError {
    BlockError::Format { what }
}

//! A chunk's points as bytes; `docs/formats/store.md` describes them.

use fieldline_model::{Quality, Value};

use super::bytes::{Reader, put_signed, put_unsigned};
use super::numbers;
use crate::points::{OrderRun, Points, Values};

const VERSION: u8 = 1;
/// More points than this are in no chunk.
const POINTS_MAX: usize = 1 << 20;
/// Unpacked texts of one chunk; a chunk has at most 8,192 of 1 KiB.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// What the values are.
const FLOAT: u8 = 0;
const DECIMAL: u8 = 1;
const INTEGER: u8 = 2;
const BOOLEAN: u8 = 3;
const TEXT: u8 = 4;
const MIXED: u8 = 5;
const KIND_BITS: u8 = 0x07;
/// The times have one step.
const REGULAR: u8 = 0x08;
/// Not all qualities are good.
const QUALITIES: u8 = 0x10;

/// Packed points, and the exponent if they were decimals.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) exponent: Option<u8>,
}

/// Packs at least one tidy point; `None` only if a library fails.
pub(super) fn encode(points: &Points, orders: &[OrderRun]) -> Option<Packed> {
    let mut out = vec![0, 0, 0, 0, VERSION, 0];
    let mut flags = encode_times(&points.times, &mut out)?;
    put_orders(orders, &mut out);
    if !points.qualities.is_empty() {
        flags |= QUALITIES;
        put_qualities(&points.qualities, &mut out);
    }
    let (kind, exponent) = encode_values(&points.values, &mut out)?;
    *out.get_mut(5)? = flags | kind;
    let sum = checksum(out.get(4..)?);
    out.get_mut(..4)?.copy_from_slice(&sum.to_le_bytes());
    Some(Packed { bytes: out, exponent })
}

/// Unpacks `count` points, the first at `first`; `None` if the bytes are damaged.
pub(super) fn decode(bytes: &[u8], count: usize, first: i64) -> Option<Points> {
    let (sum, body) = bytes.split_at_checked(4)?;
    if u32::from_le_bytes(sum.try_into().ok()?) != checksum(body) {
        return None;
    }
    let mut reader = Reader::new(body);
    let (version, flags) = (reader.byte()?, reader.byte()?);
    if version != VERSION || !(1..=POINTS_MAX).contains(&count) {
        return None;
    }
    let times = decode_times(&mut reader, flags, count, first)?;
    let orders = take_orders(&mut reader, count)?;
    let qualities = if flags & QUALITIES != 0 { take_qualities(&mut reader, count)? } else { Vec::new() };
    let values = decode_values(&mut reader, flags & KIND_BITS, count)?;
    let points = Points::new(times, values, qualities, orders);
    (points.values.len() == count && points.times.first() == Some(&first) && points.is_tidy())
        .then_some(points)
}

fn checksum(body: &[u8]) -> u32 {
    // The algorithm has 32 bits.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, body) as u32
}

fn section(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
    let mut bytes = Vec::new();
    fill(&mut bytes)?;
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    Some(())
}

fn take_section<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let size = reader.size()?;
    reader.take(size)
}

fn encode_times(times: &[i64], out: &mut Vec<u8>) -> Option<u8> {
    let first = *times.first()?;
    // Differences wrap where the span of a chunk exceeds 63 bits; they wrap back when read.
    let step = times.get(1).map_or(0, |second| second.wrapping_sub(first));
    let regular = times.iter().zip(times.iter().skip(1)).all(|(one, next)| next.wrapping_sub(*one) == step);
    if regular {
        put_signed(out, step);
        return Some(REGULAR);
    }
    section(out, |out| numbers::pack(times, out))?;
    Some(0)
}

fn decode_times(reader: &mut Reader<'_>, flags: u8, count: usize, first: i64) -> Option<Vec<i64>> {
    if flags & REGULAR == 0 {
        return numbers::unpack(take_section(reader)?, count);
    }
    let step = reader.signed()?;
    Some((0..count as i64).map(|at| first.wrapping_add(at.wrapping_mul(step))).collect())
}

/// The last run ends where the points do.
fn put_orders(orders: &[OrderRun], out: &mut Vec<u8>) {
    let mut last = OrderRun { order: 0, end: 0 };
    let inner = orders.len().saturating_sub(1);
    put_unsigned(out, inner as u64);
    for (at, run) in orders.iter().enumerate() {
        put_signed(out, run.order.wrapping_sub(last.order) as i64);
        if at < inner {
            put_unsigned(out, (run.end - last.end) as u64);
        }
        last = *run;
    }
}

fn take_orders(reader: &mut Reader<'_>, count: usize) -> Option<Vec<OrderRun>> {
    let inner = reader.size().filter(|inner| *inner < count)?;
    let mut orders = Vec::with_capacity(inner + 1);
    let mut last = OrderRun { order: 0, end: 0 };
    for at in 0..=inner {
        let order = last.order.wrapping_add(reader.signed()? as u64);
        let length = if at < inner { reader.size()? } else { count.checked_sub(last.end)? };
        let end = last.end.checked_add(length).filter(|end| *end <= count)?;
        last = OrderRun { order, end };
        orders.push(last);
    }
    Some(orders)
}

fn put_qualities(qualities: &[Quality], out: &mut Vec<u8>) {
    for run in qualities.chunk_by(|one, next| one == next) {
        out.push(run.first().copied().unwrap_or_default().code());
        put_unsigned(out, run.len() as u64);
    }
}

fn take_qualities(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Quality>> {
    let mut qualities = Vec::with_capacity(count);
    while qualities.len() < count {
        let quality = Quality::from_code(reader.byte()?)?;
        let end = qualities.len().checked_add(reader.size()?).filter(|end| *end <= count)?;
        if end == qualities.len() {
            return None;
        }
        qualities.resize(end, quality);
    }
    Some(qualities)
}

fn encode_values(values: &Values, out: &mut Vec<u8>) -> Option<(u8, Option<u8>)> {
    let kind = match values {
        Values::Float(values) => {
            if let Some((exponent, whole)) = numbers::as_decimals(values) {
                out.push(exponent);
                section(out, |out| numbers::pack_whole(&whole, out))?;
                return Some((DECIMAL, Some(exponent)));
            }
            section(out, |out| numbers::pack(values, out))?;
            FLOAT
        }
        Values::Integer(values) => {
            section(out, |out| numbers::pack(values, out))?;
            INTEGER
        }
        Values::Boolean(values) => {
            let bits = values.chunks(8).map(|byte| {
                byte.iter().enumerate().fold(0u8, |byte, (at, value)| byte | (u8::from(*value) << at))
            });
            squeeze(&bits.collect::<Vec<u8>>(), out)?;
            BOOLEAN
        }
        Values::Text(values) => {
            let mut plain = Vec::new();
            for value in values {
                put_text(value, &mut plain);
            }
            squeeze(&plain, out)?;
            TEXT
        }
        Values::Mixed(values) => {
            let mut plain = Vec::new();
            for value in values {
                put_value(value, &mut plain);
            }
            squeeze(&plain, out)?;
            MIXED
        }
    };
    Some((kind, None))
}

fn decode_values(reader: &mut Reader<'_>, kind: u8, count: usize) -> Option<Values> {
    let exponent = if kind == DECIMAL { reader.byte()? } else { 0 };
    let packed = take_section(reader)?;
    Some(match kind {
        FLOAT => Values::Float(numbers::unpack(packed, count)?),
        DECIMAL => {
            let whole = numbers::unpack(packed, count)?;
            Values::Float(numbers::from_decimals(exponent, &whole)?)
        }
        INTEGER => Values::Integer(numbers::unpack(packed, count)?),
        BOOLEAN => {
            let bits = unsqueeze(packed, count.div_ceil(8))?;
            let bit = |at: usize| bits.get(at / 8).map(|byte| byte >> (at % 8) & 1 == 1);
            Values::Boolean((0..count).map(bit).collect::<Option<_>>()?)
        }
        TEXT => {
            let plain = unsqueeze(packed, TEXT_BYTES_MAX)?;
            let mut reader = Reader::new(&plain);
            Values::Text((0..count).map(|_| take_text(&mut reader)).collect::<Option<_>>()?)
        }
        MIXED => {
            let plain = unsqueeze(packed, TEXT_BYTES_MAX)?;
            let mut reader = Reader::new(&plain);
            Values::Mixed((0..count).map(|_| take_value(&mut reader)).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_unsigned(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn take_text(reader: &mut Reader<'_>) -> Option<String> {
    let size = reader.size()?;
    Some(std::str::from_utf8(reader.take(size)?).ok()?.to_owned())
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(value) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Integer(value) => {
            out.push(INTEGER);
            put_signed(out, *value);
        }
        Value::Boolean(value) => out.extend_from_slice(&[BOOLEAN, u8::from(*value)]),
        Value::Text(value) => {
            out.push(TEXT);
            put_text(value, out);
        }
    }
}

fn take_value(reader: &mut Reader<'_>) -> Option<Value> {
    Some(match reader.byte()? {
        FLOAT => Value::Float(reader.float()?),
        INTEGER => Value::Integer(reader.signed()?),
        BOOLEAN => Value::Boolean(reader.byte()? == 1),
        TEXT => Value::Text(take_text(reader)?),
        _ => return None,
    })
}

fn squeeze(plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
    section(out, |out| {
        *out = zstd::bulk::compress(plain, 3).ok()?;
        Some(())
    })
}

fn unsqueeze(packed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    zstd::bulk::decompress(packed, bytes_max).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::summary;
    use super::*;
    use crate::aggregate::Summary;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,12}".prop_map(Value::Text),
        ]
    }

    fn any_values() -> impl Strategy<Value = Values> {
        let sizes = 1..60usize;
        let decimal = (-1_000_000i64..1_000_000).prop_map(|whole| whole as f64 / 1_000.0);
        prop_oneof![
            prop::collection::vec(any::<u64>().prop_map(f64::from_bits), sizes.clone())
                .prop_map(Values::Float),
            prop::collection::vec(decimal, sizes.clone()).prop_map(Values::Float),
            prop::collection::vec(any::<i64>(), sizes.clone()).prop_map(Values::Integer),
            prop::collection::vec(any::<bool>(), sizes.clone()).prop_map(Values::Boolean),
            prop::collection::vec(".{0,12}", sizes.clone()).prop_map(Values::Text),
            prop::collection::vec(any_value(), sizes).prop_map(Values::Mixed),
        ]
    }

    fn any_points() -> impl Strategy<Value = Points> {
        let step = prop_oneof![Just(1_000_000_000i64), 1..5_000_000_000i64, 1..i64::MAX / 128];
        (any_values(), any::<i64>(), step, any::<bool>(), any::<u32>()).prop_map(
            |(values, first, step, regular, odd)| {
                let count = values.len();
                let first = first / 4;
                let time = |at: usize| first + at as i64 * step + i64::from(!regular && at % 3 == 1);
                let quality =
                    |at: usize| Quality::from_code((odd >> (at % 16)) as u8 % 4).unwrap_or_default();
                let qualities = if odd % 2 == 0 { Vec::new() } else { (0..count).map(quality).collect() };
                let middle = OrderRun { order: u64::from(odd), end: count / 2 };
                let orders = [middle, OrderRun { order: 7, end: count }];
                let orders = orders.into_iter().filter(|run| run.end > 0).collect();
                Points::new((0..count).map(time).collect(), values, qualities, orders)
            },
        )
    }

    /// A NaN is not equal to itself; as text with bits, everything is.
    fn text(points: &Points) -> String {
        let bits: Vec<u64> = match &points.values {
            Values::Float(values) => values.iter().map(|value| value.to_bits()).collect(),
            _ => Vec::new(),
        };
        format!("{points:?} {bits:?}")
    }

    proptest! {
        #[test]
        fn points_come_back_to_the_bit(points in any_points().prop_filter("tidy", Points::is_tidy)) {
            let packed = encode(&points, &points.orders).unwrap();
            let first = points.times[0];
            let found = decode(&packed.bytes, points.len(), first).unwrap();
            prop_assert_eq!(text(&found), text(&points));

            let summary = Summary::of(&points, 0..points.len());
            let bytes = summary::encode(&summary, &points.values, packed.exponent);
            let read = summary::decode(&bytes, summary.count).unwrap();
            let lasting = |summary: &Summary| {
                let numbers = (summary.min, summary.max, summary.integer_sum, summary.worst);
                format!("{} {} {numbers:?}", summary.count, summary.numbers)
            };
            prop_assert_eq!(lasting(&read), lasting(&summary));
            if let Some(ends) = read.ends {
                prop_assert_eq!(format!("{ends:?}"), format!("{:?}", summary.ends.unwrap()));
            }
            let near = (read.float_sum - summary.float_sum).abs() <= 1e-9 * summary.float_sum.abs().max(1.0);
            prop_assert!(near || read.float_sum.to_bits() == summary.float_sum.to_bits());
        }

        #[test]
        fn a_flipped_bit_is_seen(points in any_points().prop_filter("tidy", Points::is_tidy), at: prop::sample::Index) {
            let mut bytes = encode(&points, &points.orders).unwrap().bytes;
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes, points.len(), points.times[0]).is_none());
        }
    }
}

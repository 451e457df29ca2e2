//! A chunk's summary as bytes; `docs/formats/store.md` describes them.

use fieldline_model::{Quality, Value};

use super::bytes::{Reader, put_signed, put_unsigned};
use super::numbers::{from_whole, nearest_whole, to_whole};
use crate::aggregate::{Number, Summary};
use crate::points::Values;

const NO_NUMBERS: u8 = 0;
const FLOATS: u8 = 1;
const DECIMALS: u8 = 2;
const INTEGERS: u8 = 3;
const BOOLEANS: u8 = 4;
const MIXED: u8 = 5;
const FORM_BITS: u8 = 0x07;
const QUALITY_SHIFT: u8 = 4;

/// Packs the summary of a chunk with such values; `exponent` is that of decimals.
pub(super) fn encode(summary: &Summary, values: &Values, exponent: Option<u8>) -> Vec<u8> {
    let mut out = vec![0];
    put_unsigned(&mut out, summary.count - summary.numbers);
    let form = match values {
        _ if summary.numbers == 0 => NO_NUMBERS,
        Values::Float(_) if put_decimals(summary, exponent, &mut out).is_some() => DECIMALS,
        Values::Float(_) if put_floats(summary, &mut out).is_some() => FLOATS,
        Values::Integer(_) if put_integers(summary, &mut out).is_some() => INTEGERS,
        Values::Boolean(_) if put_integers(summary, &mut out).is_some() => BOOLEANS,
        _ => {
            put_mixed(summary, &mut out);
            MIXED
        }
    };
    if let Some(head) = out.first_mut() {
        *head = form | summary.worst.code() << QUALITY_SHIFT;
    }
    out
}

/// Unpacks the summary of a chunk of `count` points; `None` if the bytes are damaged.
pub(super) fn decode(bytes: &[u8], count: u64) -> Option<Summary> {
    let mut reader = Reader::new(bytes);
    let head = reader.byte()?;
    let numbers = count.checked_sub(reader.unsigned()?)?;
    let mut summary = match head & FORM_BITS {
        NO_NUMBERS => Summary::default(),
        FLOATS => take_floats(&mut reader)?,
        DECIMALS => take_decimals(&mut reader)?,
        INTEGERS => take_integers(&mut reader, Value::Integer)?,
        BOOLEANS => take_integers(&mut reader, |value| Value::Boolean(value != 0))?,
        MIXED => take_mixed(&mut reader)?,
        _ => return None,
    };
    summary.count = count;
    summary.numbers = numbers;
    summary.worst = Quality::from_code(head >> QUALITY_SHIFT)?;
    Some(summary)
}

/// Sum, least, greatest, first and last value in units of the chunk's resolution; the ends are exact,
/// the sum is rounded to the unit, which heals the rounding of its additions.
fn put_decimals(summary: &Summary, exponent: Option<u8>, out: &mut Vec<u8>) -> Option<()> {
    let exponent = exponent?;
    let ends = float_ends(summary)?;
    let mut numbers = vec![nearest_whole(summary.float_sum, exponent)?];
    for value in [float(summary.min)?, float(summary.max)?, ends.0, ends.1] {
        numbers.push(to_whole(value, exponent)?);
    }
    out.push(exponent);
    numbers.into_iter().for_each(|number| put_signed(out, number));
    Some(())
}

fn take_decimals(reader: &mut Reader<'_>) -> Option<Summary> {
    let exponent = reader.byte()?;
    let mut next = || from_whole(reader.signed()?, exponent);
    let (sum, min, max, first, last) = (next()?, next()?, next()?, next()?, next()?);
    Some(of_floats(sum, min, max, first, last))
}

fn put_floats(summary: &Summary, out: &mut Vec<u8>) -> Option<()> {
    let ends = float_ends(summary)?;
    for value in [summary.float_sum, float(summary.min)?, float(summary.max)?, ends.0, ends.1] {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    Some(())
}

fn take_floats(reader: &mut Reader<'_>) -> Option<Summary> {
    let mut next = || reader.float();
    let (sum, min, max, first, last) = (next()?, next()?, next()?, next()?, next()?);
    Some(of_floats(sum, min, max, first, last))
}

fn of_floats(sum: f64, min: f64, max: f64, first: f64, last: f64) -> Summary {
    Summary {
        floats: true,
        float_sum: sum,
        min: Some(Number::Float(min)),
        max: Some(Number::Float(max)),
        ends: Some((Value::Float(first), Value::Float(last))),
        ..Summary::default()
    }
}

fn put_integers(summary: &Summary, out: &mut Vec<u8>) -> Option<()> {
    let integer = |number: Option<Number>| match number? {
        Number::Integer(value) => Some(value),
        Number::Float(_) => None,
    };
    let end = |value: &Value| match value {
        Value::Integer(value) => Some(*value),
        Value::Boolean(value) => Some(i64::from(*value)),
        Value::Float(_) | Value::Text(_) => None,
    };
    let (first, last) = summary.ends.as_ref()?;
    let numbers = [integer(summary.min)?, integer(summary.max)?, end(first)?, end(last)?];
    out.extend_from_slice(&summary.integer_sum.to_le_bytes());
    numbers.into_iter().for_each(|number| put_signed(out, number));
    Some(())
}

fn take_integers(reader: &mut Reader<'_>, value: impl Fn(i64) -> Value) -> Option<Summary> {
    Some(Summary {
        integer_sum: reader.wide()?,
        min: Some(Number::Integer(reader.signed()?)),
        max: Some(Number::Integer(reader.signed()?)),
        ends: Some((value(reader.signed()?), value(reader.signed()?))),
        ..Summary::default()
    })
}

/// Without the ends: they can be texts.
fn put_mixed(summary: &Summary, out: &mut Vec<u8>) {
    out.push(u8::from(summary.floats));
    out.extend_from_slice(&summary.integer_sum.to_le_bytes());
    out.extend_from_slice(&summary.float_sum.to_bits().to_le_bytes());
    for number in [summary.min, summary.max].into_iter().flatten() {
        match number {
            Number::Integer(value) => {
                out.push(INTEGERS);
                put_signed(out, value);
            }
            Number::Float(value) => {
                out.push(FLOATS);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
    }
}

fn take_mixed(reader: &mut Reader<'_>) -> Option<Summary> {
    let floats = reader.byte()? != 0;
    let (integer_sum, float_sum) = (reader.wide()?, reader.float()?);
    let mut number = || match reader.byte()? {
        INTEGERS => Some(Number::Integer(reader.signed()?)),
        FLOATS => Some(Number::Float(reader.float()?)),
        _ => None,
    };
    let (min, max) = (Some(number()?), Some(number()?));
    Some(Summary { floats, integer_sum, float_sum, min, max, ..Summary::default() })
}

fn float(number: Option<Number>) -> Option<f64> {
    match number? {
        Number::Float(value) => Some(value),
        Number::Integer(_) => None,
    }
}

fn float_ends(summary: &Summary) -> Option<(f64, f64)> {
    match summary.ends.as_ref()? {
        (Value::Float(first), Value::Float(last)) => Some((*first, *last)),
        _ => None,
    }
}

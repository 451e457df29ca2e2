//! Readings as line protocol.

use std::fmt::Write;
use std::time::Duration;

use fieldline_model::{Quality, Timestamp};
use fieldline_wire::{Block, Column, Values};

use super::config::InfluxDialect;
use super::entry::Entry;
use super::name;
use super::reason::Reason;

/// The times that InfluxDB holds.
pub(super) const TIME_MIN: i64 = i64::MIN + 2;
/// See [`TIME_MIN`].
pub(super) const TIME_MAX: i64 = i64::MAX - 1;
/// Of VictoriaMetrics: what is further ahead is dropped in silence.
const AHEAD_NANOS_MAX: i64 = 2 * 86_400 * 1_000_000_000;
/// Integers up to here are floats exactly.
const EXACT_MAX: u64 = 1 << 53;

/// The value of the field `kind`.
pub(super) mod kind {
    pub(in super::super) const FLOAT: i64 = 0;
    pub(in super::super) const INTEGER: i64 = 1;
    pub(in super::super) const BOOLEAN: i64 = 2;
    pub(in super::super) const TEXT: i64 = 3;
    /// A float that line protocol does not take, by its bits in `value_bits`.
    pub(in super::super) const BITS: i64 = 4;
}

/// Milliseconds, rounded down.
pub(super) fn millis(nanos: i64) -> i64 {
    nanos.div_euclid(1_000_000)
}

/// What a dialect cannot hold.
pub(super) struct Check<'a> {
    pub(super) block: &'a Block,
    pub(super) dialect: InfluxDialect,
    /// When the block arrived.
    pub(super) now: Timestamp,
    pub(super) retention: Option<Duration>,
}

impl Check<'_> {
    /// Why a reading can never be stored; `next` is the one behind it.
    pub(super) fn refuses(&self, entry: Entry, next: Option<&Entry>) -> Option<Reason> {
        let (time, now) = (entry.time, self.now.nanos());
        if !(TIME_MIN..=TIME_MAX).contains(&time) {
            return Some(Reason::TimeOutOfRange);
        }
        let kept = self.retention.map(|kept| i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX));
        if kept.is_some_and(|kept| time < now.saturating_sub(kept)) {
            return Some(Reason::TooOld);
        }
        if self.dialect != InfluxDialect::VictoriaMetrics {
            return None;
        }
        if time < 0 {
            return Some(Reason::TimeOutOfRange);
        }
        if time > now.saturating_add(AHEAD_NANOS_MAX) {
            return Some(Reason::InTheFuture);
        }
        if next.is_some_and(|next| next.series == entry.series && millis(next.time) == millis(time)) {
            return Some(Reason::SameMillisecond);
        }
        let row = entry.row as usize;
        match &entry.column(self.block)?.values {
            Values::Float(values) => values.get(row).filter(|v| !v.is_finite()).map(|_| Reason::NotFinite),
            Values::Integer(values) => {
                values.get(row).filter(|v| v.unsigned_abs() > EXACT_MAX).map(|_| Reason::NotExact)
            }
            Values::Boolean(_) => None,
            Values::Text(_) => Some(Reason::Text),
        }
    }
}

/// Writes lines, one after the other.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) block: &'a Block,
    pub(super) place: u64,
    pub(super) dialect: InfluxDialect,
    /// Measurement and tags of the series of the line before.
    head: (Option<u32>, String),
}

impl<'a> Lines<'a> {
    pub(super) fn new(block: &'a Block, place: u64, dialect: InfluxDialect) -> Self {
        Self { block, place, dialect, head: (None, String::new()) }
    }

    /// Appends the line of a reading to `out`.
    pub(super) fn push(&mut self, entry: Entry, out: &mut String) {
        let Some(column) = entry.column(self.block) else { return };
        if self.head.0 != Some(entry.series) {
            self.head = (Some(entry.series), head(column));
        }
        out.push_str(&self.head.1);
        let written = if self.dialect == InfluxDialect::VictoriaMetrics {
            numbers(entry, column, out)
        } else {
            self.fields(entry, column, out)
        };
        written.expect("a String takes all that is written to it");
    }

    fn fields(&self, entry: Entry, column: &Column, out: &mut String) -> std::fmt::Result {
        let row = entry.row as usize;
        let kind = match &column.values {
            Values::Float(values) => match values.get(row).copied().unwrap_or_default() {
                value if value.is_finite() => {
                    out.push_str("value=");
                    float(value, out)?;
                    kind::FLOAT
                }
                odd => {
                    write!(out, "value_bits={}i", odd.to_bits().cast_signed())?;
                    kind::BITS
                }
            },
            Values::Integer(values) => {
                write!(out, "value_int={}i", values.get(row).copied().unwrap_or_default())?;
                kind::INTEGER
            }
            Values::Boolean(values) => {
                let value = values.get(row).copied().unwrap_or_default();
                out.push_str(if value { "value_bool=true" } else { "value_bool=false" });
                kind::BOOLEAN
            }
            Values::Text(values) => {
                out.push_str("value_text=\"");
                text(values.get(row).map_or("", String::as_str), out);
                out.push('"');
                kind::TEXT
            }
        };
        let (place, quality) = (self.place, entry.quality(column).code());
        writeln!(out, ",place={place}i,kind={kind}i,quality={quality}i {}", entry.time)
    }
}

fn numbers(entry: Entry, column: &Column, out: &mut String) -> std::fmt::Result {
    let row = entry.row as usize;
    out.push_str("value=");
    match &column.values {
        Values::Float(values) => float(values.get(row).copied().unwrap_or_default(), out)?,
        Values::Integer(values) => write!(out, "{}", values.get(row).copied().unwrap_or_default())?,
        Values::Boolean(values) => out.push(if values.get(row) == Some(&true) { '1' } else { '0' }),
        // Kept out by `Check`.
        Values::Text(_) => out.push('0'),
    }
    if entry.quality(column) != Quality::Good {
        write!(out, ",quality={}", entry.quality(column).code())?;
    }
    writeln!(out, " {}", millis(entry.time))
}

fn head(column: &Column) -> String {
    let mut out = String::new();
    for character in name::measurement(column.metric.as_str()).chars() {
        if matches!(character, ',' | ' ') {
            out.push('\\');
        }
        out.push(character);
    }
    // A device's characters need no escape.
    out.push_str(",device=");
    out.push_str(column.device.as_str());
    out.push(' ');
    out
}

/// The shortest digits that read back as the same bits.
fn float(value: f64, out: &mut String) -> std::fmt::Result {
    write!(out, "{value:?}")?;
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
    Ok(())
}

fn text(value: &str, out: &mut String) {
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
}

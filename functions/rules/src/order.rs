//! The order in which readings are evaluated.

use std::collections::{HashMap, HashSet};

use fieldline_model::{Class, ReadingRef, SeqRange};
use fieldline_wire::Block;

/// The readings of a block with sequence numbers in these ranges. A block keeps the order within a device only, so
/// one of several devices is taken whole: whose readings were the first is not known, and the engine knows the latest
/// of a series again. Where no order is named, that of one moment is not kept; if some of it are sought, all are taken.
pub(crate) fn within<'a>(block: &'a Block, sought: &[SeqRange]) -> Vec<ReadingRef<'a>> {
    let all = || block.readings();
    let devices: HashSet<&str> = block.columns.iter().map(|column| column.device.as_str()).collect();
    if sought == [block.seqs()] || devices.len() > 1 {
        return all().collect();
    }
    let is_sought = |seq: u64| sought.iter().any(|range| range.contains(seq));
    let numbered = || (block.first_seq..).zip(all());
    if !block.order.is_empty() {
        return numbered().filter(|(seq, _)| is_sought(*seq)).map(|(_, reading)| reading).collect();
    }
    let moments: HashSet<i64> =
        numbered().filter(|(seq, _)| is_sought(*seq)).map(|(_, reading)| reading.time.nanos()).collect();
    all().filter(|reading| moments.contains(&reading.time.nanos())).collect()
}

/// In the order in which they came, but what a device says of one moment stands together, in the order of the
/// metrics' names: the fields of a message have no order, and not every way here keeps the one they were written in.
pub(crate) fn by_moment<'a>(
    readings: impl Iterator<Item = (Class, ReadingRef<'a>)>,
) -> impl Iterator<Item = (Class, ReadingRef<'a>)> {
    let mut moments: HashMap<&str, (i64, usize)> = HashMap::new();
    let mut placed: Vec<(usize, Class, ReadingRef<'a>)> = Vec::with_capacity(readings.size_hint().0);
    let mut is_ordered = true;
    for (number, (class, reading)) in readings.enumerate() {
        let time = reading.time.nanos();
        let moment = moments.entry(reading.device).or_insert((time, number));
        if moment.0 != time {
            *moment = (time, number);
        }
        is_ordered &=
            placed.last().is_none_or(|(place, _, last)| (*place, last.metric) <= (moment.1, reading.metric));
        placed.push((moment.1, class, reading));
    }
    if !is_ordered {
        placed.sort_by(|(a, _, first), (b, _, second)| (a, first.metric).cmp(&(b, second.metric)));
    }
    placed.into_iter().map(|(_, class, reading)| (class, reading))
}

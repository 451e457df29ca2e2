//! The order in which readings are evaluated.

use std::collections::HashMap;

use fieldline_model::{Class, ReadingRef};

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

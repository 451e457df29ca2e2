//! One function over one run of neighbouring samples, kept up as the run moves.

use std::collections::VecDeque;

use super::exact::Exact;
use super::samples::{Sample, Samples};
use crate::{Extent, Function};

/// What is kept of the samples within the run.
#[derive(Debug, Clone)]
enum Held {
    /// Nothing: the ends of the run are enough.
    Ends,
    Sum(Exact),
    Squares(Exact, Exact),
    /// Candidates with strictly rising values (`min`) or falling ones.
    Extreme {
        min: bool,
        candidates: VecDeque<Sample>,
    },
    /// Values in order.
    Ranks(Vec<f64>, f64),
    /// The sum of a counter's increases, and its newest value.
    Increase(Exact, Option<f64>),
}

/// A window function over a series.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    function: Function,
    extent: Extent,
    held: Held,
    /// Times of the first and the last sample within.
    within: Option<(i64, i64)>,
    /// What is held does not fit the samples any longer.
    stale: bool,
}

fn empty(function: Function) -> Held {
    match function {
        Function::Avg | Function::Sum => Held::Sum(Exact::default()),
        Function::Stddev => Held::Squares(Exact::default(), Exact::default()),
        Function::Min => Held::Extreme { min: true, candidates: VecDeque::new() },
        Function::Max => Held::Extreme { min: false, candidates: VecDeque::new() },
        Function::P50 => Held::Ranks(Vec::new(), 0.5),
        Function::P95 => Held::Ranks(Vec::new(), 0.95),
        Function::P99 => Held::Ranks(Vec::new(), 0.99),
        Function::Rate => Held::Increase(Exact::default(), None),
        _ => Held::Ends,
    }
}

/// How much a counter has grown; after a fall it has started from zero.
fn increase(from: f64, to: f64) -> f64 {
    if to < from { to } else { (to - from).min(f64::MAX) }
}

impl Run {
    pub(crate) fn new(function: Function, extent: Extent) -> Self {
        Self { function, extent, held: empty(function), within: None, stale: false }
    }

    /// Bytes of what it holds.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.held {
            Held::Extreme { candidates, .. } => candidates.len() * size_of::<Sample>(),
            Held::Ranks(values, _) => values.len() * size_of::<f64>(),
            _ => size_of::<Held>(),
        }
    }

    /// Forgets what it holds.
    pub(crate) fn clear(&mut self) {
        self.held = empty(self.function);
        self.within = None;
        self.stale = false;
    }

    /// Accounts for a sample that has come between others, or whose value has changed.
    pub(crate) fn late(&mut self, time: i64, former: Option<f64>, value: f64) {
        if self.within.is_none_or(|(first, last)| time < first || time > last) {
            return;
        }
        match &mut self.held {
            Held::Ends => {}
            Held::Extreme { .. } | Held::Increase(..) => self.stale = true,
            Held::Sum(_) | Held::Squares(..) | Held::Ranks(..) => {
                if let Some(former) = former {
                    self.take_unordered(former);
                }
                self.put((time, value));
            }
        }
    }

    /// Accounts for the oldest sample of the series, which is gone; `next` is the oldest now.
    pub(crate) fn expired(&mut self, sample: Sample, next: Option<Sample>) {
        let Some((first, last)) = self.within.filter(|(first, _)| sample.0 >= *first) else { return };
        match next.filter(|next| sample.0 == first && next.0 <= last && !self.stale) {
            Some(next) => {
                self.take(sample, Some(next));
                self.within = Some((next.0, last));
            }
            None => self.clear(),
        }
    }

    fn move_to(&mut self, samples: &Samples, start: usize, end: usize) {
        let mut from = start;
        let current =
            self.within.map(|(first, last)| (samples.after(first.saturating_sub(1)), samples.after(last)));
        match current {
            Some((first, last)) if !self.stale && first <= start && start < last && last <= end => {
                for index in first..start {
                    let next = samples.get(index + 1);
                    if let Some(sample) = samples.get(index) {
                        self.take(sample, next);
                    }
                }
                from = last;
            }
            _ => self.clear(),
        }
        let added = (from..end).filter_map(|index| samples.get(index));
        match &mut self.held {
            // One by one it would take the square of their number.
            Held::Ranks(values, _) if values.is_empty() => {
                values.extend(added.map(|(_, value)| value));
                values.sort_unstable_by(f64::total_cmp);
            }
            _ => added.for_each(|sample| self.put(sample)),
        }
        let ends = samples.get(start).zip(end.checked_sub(1).and_then(|last| samples.get(last)));
        self.within = ends.filter(|_| start < end).map(|(first, last)| (first.0, last.0));
    }

    fn put(&mut self, (time, value): Sample) {
        match &mut self.held {
            Held::Ends => {}
            Held::Sum(sum) => sum.add(value, false),
            Held::Squares(sum, squares) => {
                sum.add(value, false);
                squares.add_square(value, false);
            }
            Held::Extreme { min, candidates } => {
                let beaten = |old: f64| if *min { value <= old } else { value >= old };
                while candidates.back().is_some_and(|(_, old)| beaten(*old)) {
                    candidates.pop_back();
                }
                candidates.push_back((time, value));
            }
            Held::Ranks(values, _) => {
                let at = values.partition_point(|other| other.total_cmp(&value).is_lt());
                values.insert(at, value);
            }
            Held::Increase(sum, newest) => {
                if let Some(from) = newest.replace(value) {
                    sum.add(increase(from, value), false);
                }
            }
        }
    }

    /// Takes the oldest sample away; `next` is the one after it.
    fn take(&mut self, (time, value): Sample, next: Option<Sample>) {
        match &mut self.held {
            Held::Extreme { candidates, .. } => {
                if candidates.front().is_some_and(|(first, _)| *first <= time) {
                    candidates.pop_front();
                }
            }
            Held::Increase(sum, _) => {
                if let Some((_, to)) = next {
                    sum.add(increase(value, to), true);
                }
            }
            _ => self.take_unordered(value),
        }
    }

    fn take_unordered(&mut self, value: f64) {
        match &mut self.held {
            Held::Sum(sum) => sum.add(value, true),
            Held::Squares(sum, squares) => {
                sum.add(value, true);
                squares.add_square(value, true);
            }
            Held::Ranks(values, _) => {
                let at = values.partition_point(|other| other.total_cmp(&value).is_lt());
                if at < values.len() {
                    values.remove(at);
                }
            }
            Held::Ends | Held::Extreme { .. } | Held::Increase(..) => {}
        }
    }

    /// The function's value at this time; none without samples enough, or beyond the range of floats.
    pub(crate) fn value(&mut self, samples: &Samples, at: i64) -> Option<f64> {
        let (start, end) = samples.bounds(self.extent, at);
        let count = end.saturating_sub(start);
        if self.function == Function::Count {
            return Some(count as f64);
        }
        if count == 0 {
            return None;
        }
        if !matches!(self.held, Held::Ends) {
            self.move_to(samples, start, end);
        }
        let value = self.result(samples.get(start)?, samples.get(end - 1)?, count)?;
        value.is_finite().then_some(value)
    }

    fn result(&self, first: Sample, last: Sample, count: usize) -> Option<f64> {
        match &self.held {
            Held::Ends => (count > 1).then_some(last.1 - first.1),
            Held::Sum(sum) if self.function == Function::Sum => Some(sum.sum()),
            Held::Sum(sum) => Some(sum.sum() / count as f64),
            Held::Squares(sum, squares) if count > 1 => {
                let pairs = count as f64 * (count - 1) as f64;
                Some((sum.spread(squares, count) / pairs).sqrt())
            }
            Held::Increase(sum, _) if count > 1 => Some(sum.sum() / (last.0.abs_diff(first.0) as f64 / 1e9)),
            Held::Squares(..) | Held::Increase(..) => None,
            Held::Extreme { candidates, .. } => candidates.front().map(|(_, value)| *value),
            Held::Ranks(values, share) => percentile(values, *share),
        }
    }
}

/// Linear between the neighbours in rank at (n − 1) · share, of values in order.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let rank = values.len().checked_sub(1)? as f64 * share;
    let (low, high) = (values.get(rank.floor() as usize)?, values.get(rank.ceil() as usize)?);
    let part = rank - rank.floor();
    Some(low * (1.0 - part) + high * part)
}

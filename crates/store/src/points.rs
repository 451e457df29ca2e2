//! Points of one series in columns, with their places in the order.

use fieldline_model::{Quality, Value};
use fieldline_wire::{Column, Values as Received};

/// Values of one kind, or of several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Float(Vec<f64>),
    Integer(Vec<i64>),
    Boolean(Vec<bool>),
    Text(Vec<String>),
    Mixed(Vec<Value>),
}

/// The points up to (not including) `end` that earlier runs do not hold have this order number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderRun {
    pub(crate) order: u64,
    pub(crate) end: usize,
}

/// Points in order of arrival or, when tidy, by strictly ascending time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Values,
    /// Empty when all are good.
    pub(crate) qualities: Vec<Quality>,
    /// Covers all points.
    pub(crate) orders: Vec<OrderRun>,
    tidy: bool,
}

impl Default for Points {
    fn default() -> Self {
        Self {
            times: Vec::new(),
            values: Values::Float(Vec::new()),
            qualities: Vec::new(),
            orders: Vec::new(),
            tidy: true,
        }
    }
}

impl Points {
    /// Points with `times` strictly ascending or not, all parts of one length.
    pub(crate) fn new(
        times: Vec<i64>,
        values: Values,
        qualities: Vec<Quality>,
        orders: Vec<OrderRun>,
    ) -> Self {
        let tidy = ascending(&times);
        Self { times, values, qualities, orders, tidy }
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn is_tidy(&self) -> bool {
        self.tidy
    }

    /// The least and the greatest time.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        if self.tidy {
            return Some((*self.times.first()?, *self.times.last()?));
        }
        Some((*self.times.iter().min()?, *self.times.iter().max()?))
    }

    /// The greatest order number.
    pub(crate) fn order_max(&self) -> u64 {
        self.orders.iter().map(|run| run.order).max().unwrap_or(0)
    }

    pub(crate) fn quality(&self, at: usize) -> Quality {
        self.qualities.get(at).copied().unwrap_or_default()
    }

    /// Appends a column of a block. With `joins`, the last run takes on `order` and these points, too.
    pub(crate) fn append_column(&mut self, column: &Column, order: u64, joins: bool) {
        self.follow(&column.times);
        self.values.append_received(&column.values);
        self.append_qualities(&column.qualities, column.times.len());
        let end = self.times.len();
        match self.orders.last_mut().filter(|_| joins) {
            Some(run) => *run = OrderRun { order, end },
            None => self.orders.push(OrderRun { order, end }),
        }
    }

    /// Appends all of `other`.
    pub(crate) fn append(&mut self, other: &Points) {
        let start = self.times.len();
        self.follow(&other.times);
        self.tidy &= other.tidy;
        self.values.append(&other.values);
        self.append_qualities(&other.qualities, other.times.len());
        self.orders.extend(other.orders.iter().map(|run| OrderRun { end: run.end + start, ..*run }));
    }

    fn follow(&mut self, times: &[i64]) {
        let follows = match (self.times.last(), times.first()) {
            (Some(last), Some(first)) => last < first,
            _ => true,
        };
        self.tidy = self.tidy && follows && ascending(times);
        self.times.extend_from_slice(times);
    }

    /// Call it after `times` have grown by `count`.
    fn append_qualities(&mut self, qualities: &[Quality], count: usize) {
        if self.qualities.is_empty() && qualities.is_empty() {
            return;
        }
        self.qualities.resize(self.times.len() - count, Quality::Good);
        self.qualities.extend_from_slice(qualities);
        self.qualities.resize(self.times.len(), Quality::Good);
    }

    /// Sorts by time and keeps of each time the point with the greatest order number, of several of
    /// those the last one.
    pub(crate) fn make_tidy(&mut self) {
        if self.tidy {
            return;
        }
        let orders = self.orders_each();
        let mut places: Vec<usize> = (0..self.times.len()).collect();
        // Stable: where times and orders are equal, position counts. Also quick for a few sorted runs.
        places.sort_by_key(|at| (self.times.get(*at), orders.get(*at)));
        let mut kept: Vec<usize> = Vec::with_capacity(places.len());
        for at in places {
            match kept.last_mut() {
                Some(last) if self.times.get(*last) == self.times.get(at) => *last = at,
                _ => kept.push(at),
            }
        }
        *self = self.gather(&kept, &orders);
    }

    fn orders_each(&self) -> Vec<u64> {
        let mut each = Vec::with_capacity(self.times.len());
        for run in &self.orders {
            each.resize(run.end, run.order);
        }
        each.resize(self.times.len(), 0);
        each
    }

    fn gather(&self, places: &[usize], orders: &[u64]) -> Self {
        let picked: Vec<u64> = pick(orders, places);
        let mut qualities = pick(&self.qualities, places);
        if qualities.iter().all(|quality| *quality == Quality::Good) {
            qualities.clear();
        }
        Self {
            times: pick(&self.times, places),
            values: self.values.gather(places),
            qualities,
            orders: runs_of(&picked),
            tidy: true,
        }
    }

    /// The points of a part, by position.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.times.len());
        let from = from.min(to);
        let mut qualities = self.qualities.get(from..to).unwrap_or_default().to_vec();
        if qualities.iter().all(|quality| *quality == Quality::Good) {
            qualities.clear();
        }
        let mut orders: Vec<OrderRun> = Vec::new();
        for run in self.orders.iter().filter(|run| run.end > from) {
            let end = run.end.min(to) - from;
            orders.push(OrderRun { order: run.order, end });
            if run.end >= to {
                break;
            }
        }
        Self {
            times: self.times.get(from..to).unwrap_or_default().to_vec(),
            values: self.values.slice(from, to),
            qualities,
            orders,
            tidy: self.tidy,
        }
    }

    /// The positions of the points in `[from, to)`; the points are tidy.
    pub(crate) fn positions(&self, from: i64, to: i64) -> std::ops::Range<usize> {
        let start = self.times.partition_point(|time| *time < from);
        start..self.times.partition_point(|time| *time < to).max(start)
    }

    /// Gives back memory that is held in reserve.
    pub(crate) fn shrink(&mut self) {
        self.times.shrink_to_fit();
        self.qualities.shrink_to_fit();
        self.orders.shrink_to_fit();
        match &mut self.values {
            Values::Float(values) => values.shrink_to_fit(),
            Values::Integer(values) => values.shrink_to_fit(),
            Values::Boolean(values) => values.shrink_to_fit(),
            Values::Text(values) => values.shrink_to_fit(),
            Values::Mixed(values) => values.shrink_to_fit(),
        }
    }
}

fn ascending(times: &[i64]) -> bool {
    times.iter().zip(times.iter().skip(1)).all(|(one, next)| one < next)
}

fn pick<T: Clone>(from: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|at| from.get(*at).cloned()).collect()
}

/// Runs of equal order numbers.
pub(crate) fn runs_of(orders: &[u64]) -> Vec<OrderRun> {
    let mut runs: Vec<OrderRun> = Vec::new();
    for (at, order) in orders.iter().enumerate() {
        match runs.last_mut().filter(|run| run.order == *order) {
            Some(run) => run.end = at + 1,
            None => runs.push(OrderRun { order: *order, end: at + 1 }),
        }
    }
    runs
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Mixed(values) => values.len(),
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<Value> {
        Some(match self {
            Self::Float(values) => Value::Float(*values.get(at)?),
            Self::Integer(values) => Value::Integer(*values.get(at)?),
            Self::Boolean(values) => Value::Boolean(*values.get(at)?),
            Self::Text(values) => Value::Text(values.get(at)?.clone()),
            Self::Mixed(values) => values.get(at)?.clone(),
        })
    }

    fn append_received(&mut self, values: &Received) {
        if self.len() == 0 {
            *self = received(values);
            return;
        }
        match (&mut *self, values) {
            (Self::Float(mine), Received::Float(more)) => mine.extend_from_slice(more),
            (Self::Integer(mine), Received::Integer(more)) => mine.extend_from_slice(more),
            (Self::Boolean(mine), Received::Boolean(more)) => mine.extend_from_slice(more),
            (Self::Text(mine), Received::Text(more)) => mine.extend_from_slice(more),
            _ => self.append(&received(values)),
        }
    }

    fn append(&mut self, other: &Self) {
        if self.len() == 0 {
            *self = other.clone();
            return;
        }
        match (&mut *self, other) {
            (Self::Float(mine), Self::Float(more)) => mine.extend_from_slice(more),
            (Self::Integer(mine), Self::Integer(more)) => mine.extend_from_slice(more),
            (Self::Boolean(mine), Self::Boolean(more)) => mine.extend_from_slice(more),
            (Self::Text(mine), Self::Text(more)) => mine.extend_from_slice(more),
            (Self::Mixed(mine), more) => mine.extend((0..more.len()).filter_map(|at| more.get(at))),
            (mine, more) => {
                let mut all: Vec<Value> = (0..mine.len()).filter_map(|at| mine.get(at)).collect();
                all.extend((0..more.len()).filter_map(|at| more.get(at)));
                *self = Self::Mixed(all);
            }
        }
    }

    fn gather(&self, places: &[usize]) -> Self {
        match self {
            Self::Float(values) => Self::Float(pick(values, places)),
            Self::Integer(values) => Self::Integer(pick(values, places)),
            Self::Boolean(values) => Self::Boolean(pick(values, places)),
            Self::Text(values) => Self::Text(pick(values, places)),
            Self::Mixed(values) => Self::Mixed(pick(values, places)),
        }
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        match self {
            Self::Float(values) => Self::Float(values.get(from..to).unwrap_or_default().to_vec()),
            Self::Integer(values) => Self::Integer(values.get(from..to).unwrap_or_default().to_vec()),
            Self::Boolean(values) => Self::Boolean(values.get(from..to).unwrap_or_default().to_vec()),
            Self::Text(values) => Self::Text(values.get(from..to).unwrap_or_default().to_vec()),
            Self::Mixed(values) => Self::Mixed(values.get(from..to).unwrap_or_default().to_vec()),
        }
    }
}

fn received(values: &Received) -> Values {
    match values {
        Received::Float(values) => Values::Float(values.clone()),
        Received::Integer(values) => Values::Integer(values.clone()),
        Received::Boolean(values) => Values::Boolean(values.clone()),
        Received::Text(values) => Values::Text(values.clone()),
    }
}

#[cfg(test)]
mod tests {
    use fieldline_model::{DeviceId, Metric};

    use super::*;

    fn column(times: &[i64], values: Received) -> Column {
        let device = DeviceId::new("d").unwrap();
        Column { device, metric: Metric::new("m").unwrap(), times: times.to_vec(), values, qualities: vec![] }
    }

    #[test]
    fn the_greatest_order_number_wins_whatever_the_order_of_arrival() {
        let mut points = Points::default();
        points.append_column(&column(&[1, 2, 3], Received::Integer(vec![10, 20, 30])), 9, false);
        points.append_column(&column(&[2, 4], Received::Integer(vec![21, 41])), 5, false);
        points.append_column(&column(&[3, 3], Received::Integer(vec![32, 33])), 12, false);
        points.make_tidy();
        assert_eq!(points.times, [1, 2, 3, 4]);
        assert_eq!(points.values, Values::Integer(vec![10, 20, 33, 41]));
        let orders: Vec<(u64, usize)> = points.orders.iter().map(|run| (run.order, run.end)).collect();
        assert_eq!(orders, [(9, 2), (12, 3), (5, 4)]);
        assert_eq!(
            points.slice(1, 3).orders,
            [OrderRun { order: 9, end: 1 }, OrderRun { order: 12, end: 2 }]
        );
    }

    #[test]
    fn kinds_mix_and_qualities_fill_up() {
        let mut points = Points::default();
        points.append_column(&column(&[1], Received::Integer(vec![1])), 1, false);
        let mut worse = column(&[2], Received::Text(vec!["x".to_owned()]));
        worse.qualities = vec![Quality::Bad];
        points.append_column(&worse, 2, true);
        points.append_column(&column(&[3], Received::Float(vec![0.5])), 3, true);
        assert_eq!(
            points.values,
            Values::Mixed(vec![Value::Integer(1), Value::Text("x".to_owned()), Value::Float(0.5)])
        );
        assert_eq!(points.qualities, [Quality::Good, Quality::Bad, Quality::Good]);
        assert_eq!(points.orders, [OrderRun { order: 3, end: 3 }]);
        assert!(points.is_tidy());
    }
}

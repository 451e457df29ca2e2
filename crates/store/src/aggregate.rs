use fieldline_model::{Quality, Value};

#[cfg(feature = "sqlite")]
use crate::points::{Points, Values};

/// How the points of a bucket become one value.
///
/// `Min`, `Max`, `Sum` and `Mean` look at numbers; a boolean counts as 0 or 1, a NaN is left out, and a
/// bucket without any number gives no point. Integers are summed exactly; a sum beyond 64 bits, a
/// mean, and whatever has a float among it is a float. `First` and `Last` give the value as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// The mean of the numbers.
    Mean,
    /// The least number.
    Min,
    /// The greatest number.
    Max,
    /// The sum of the numbers.
    Sum,
    /// How many points there are, of any kind.
    Count,
    /// The earliest value.
    First,
    /// The latest value.
    Last,
}

/// A number as it was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Integer(value) => Value::Integer(value),
            Self::Float(value) => Value::Float(value),
        }
    }

    fn less_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(mine), Self::Integer(other)) => mine < other,
            _ => self.as_float() < other.as_float(),
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// What a run of points of one series comes to. Runs in order of time can be added up.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Summary {
    /// All points.
    pub(crate) count: u64,
    /// Those that are numbers.
    pub(crate) numbers: u64,
    /// Those that are floats, or the reason why the sum is one.
    pub(crate) floats: bool,
    /// The sum of integers and booleans; cannot overflow below 2⁶⁴ points.
    pub(crate) integer_sum: i128,
    /// The sum of floats.
    pub(crate) float_sum: f64,
    pub(crate) min: Option<Number>,
    pub(crate) max: Option<Number>,
    /// `None` where they have to be read from the points.
    pub(crate) ends: Option<(Value, Value)>,
    /// The worst quality.
    pub(crate) worst: Quality,
}

impl Summary {
    /// Of the points at `positions`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of(points: &Points, positions: std::ops::Range<usize>) -> Self {
        let mut summary = Self { count: positions.len() as u64, ..Self::default() };
        match &points.values {
            Values::Float(values) => summary.add_floats(values.get(positions.clone()).unwrap_or_default()),
            Values::Integer(values) => {
                for value in values.get(positions.clone()).unwrap_or_default() {
                    summary.add_integer(*value);
                }
            }
            Values::Boolean(values) => {
                for value in values.get(positions.clone()).unwrap_or_default() {
                    summary.add_integer(i64::from(*value));
                }
            }
            Values::Text(_) => {}
            Values::Mixed(values) => {
                for value in values.get(positions.clone()).unwrap_or_default() {
                    summary.add_value(value);
                }
            }
        }
        summary.ends = positions
            .end
            .checked_sub(1)
            .and_then(|last| points.values.get(positions.start).zip(points.values.get(last)));
        let qualities = points.qualities.get(positions).unwrap_or_default();
        summary.worst = qualities.iter().copied().max_by_key(|quality| quality.code()).unwrap_or_default();
        summary
    }

    fn add_floats(&mut self, values: &[f64]) {
        let (mut numbers, mut sum) = (0u64, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.iter().copied().filter(|value| !value.is_nan()) {
            numbers += 1;
            sum += value;
            min = if value < min { value } else { min };
            max = if value > max { value } else { max };
        }
        if numbers == 0 {
            return;
        }
        self.numbers += numbers;
        self.floats = true;
        self.float_sum += sum;
        self.take_min(Number::Float(min));
        self.take_max(Number::Float(max));
    }

    fn add_integer(&mut self, value: i64) {
        self.numbers += 1;
        self.integer_sum += i128::from(value);
        self.take_min(Number::Integer(value));
        self.take_max(Number::Integer(value));
    }

    /// Adds a point that comes after these.
    pub(crate) fn push(&mut self, value: &Value, quality: Quality) {
        self.count += 1;
        self.add_value(value);
        match &mut self.ends {
            Some(ends) => ends.1 = value.clone(),
            None => self.ends = Some((value.clone(), value.clone())),
        }
        if quality.code() > self.worst.code() {
            self.worst = quality;
        }
    }

    fn add_value(&mut self, value: &Value) {
        match value {
            Value::Float(value) => self.add_floats(&[*value]),
            Value::Integer(value) => self.add_integer(*value),
            Value::Boolean(value) => self.add_integer(i64::from(*value)),
            Value::Text(_) => {}
        }
    }

    fn take_min(&mut self, number: Number) {
        if self.min.is_none_or(|min| number.less_than(min)) {
            self.min = Some(number);
        }
    }

    fn take_max(&mut self, number: Number) {
        if self.max.is_none_or(|max| max.less_than(number)) {
            self.max = Some(number);
        }
    }

    /// Adds points that come after these.
    #[cfg(feature = "sqlite")]
    pub(crate) fn add(&mut self, later: Self) {
        if self.count == 0 {
            *self = later;
            return;
        }
        self.count += later.count;
        self.numbers += later.numbers;
        self.floats |= later.floats;
        self.integer_sum += later.integer_sum;
        self.float_sum += later.float_sum;
        later.min.into_iter().for_each(|min| self.take_min(min));
        later.max.into_iter().for_each(|max| self.take_max(max));
        self.ends = self.ends.take().zip(later.ends).map(|(mine, later)| (mine.0, later.1));
        if later.worst.code() > self.worst.code() {
            self.worst = later.worst;
        }
    }

    /// Whether the aggregate can be told without the points.
    #[cfg(feature = "sqlite")]
    pub(crate) fn tells(&self, aggregate: Aggregate) -> bool {
        !matches!(aggregate, Aggregate::First | Aggregate::Last) || self.ends.is_some()
    }

    /// The aggregate; `None` if there is no number to make it of.
    pub(crate) fn value(&self, aggregate: Aggregate) -> Option<Value> {
        match aggregate {
            Aggregate::Count => Some(Value::Integer(i64::try_from(self.count).unwrap_or(i64::MAX))),
            Aggregate::First => self.ends.as_ref().map(|ends| ends.0.clone()),
            Aggregate::Last => self.ends.as_ref().map(|ends| ends.1.clone()),
            Aggregate::Min => self.min.map(Number::value),
            Aggregate::Max => self.max.map(Number::value),
            Aggregate::Sum | Aggregate::Mean if self.numbers == 0 => None,
            Aggregate::Sum => Some(match i64::try_from(self.integer_sum) {
                Ok(sum) if !self.floats => Value::Integer(sum),
                _ => Value::Float(self.sum()),
            }),
            Aggregate::Mean => Some(Value::Float(self.sum() / self.numbers as f64)),
        }
    }

    fn sum(&self) -> f64 {
        if self.floats { self.integer_sum as f64 + self.float_sum } else { self.integer_sum as f64 }
    }
}

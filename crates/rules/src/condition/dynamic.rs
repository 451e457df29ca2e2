//! Values while a condition is evaluated.

use std::cmp::Ordering;
use std::rc::Rc;

use fieldline_model::{Value, ValueRef};

use super::error::EvaluationError;
use super::node::Constant;
use super::numeric::Number;

/// A value, lent where that is possible.
#[derive(Debug, Clone)]
pub(super) enum Dynamic<'a> {
    /// Something that it depends on has no value yet.
    Unknown,
    Boolean(bool),
    Integer(i64),
    /// Never NaN; infinite only as a metric or a feature is.
    Float(f64),
    Text(Text<'a>),
    List(Rc<Vec<Dynamic<'a>>>),
}

/// A text, lent or made.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Lent(&'a str),
    Made(Rc<str>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> Dynamic<'a> {
    pub(super) fn of_value(value: ValueRef<'a>) -> Result<Self, EvaluationError> {
        Ok(match value {
            ValueRef::Boolean(value) => Self::Boolean(value),
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Float(value) => return Self::of_feature(value),
            ValueRef::Text(text) => Self::Text(Text::Lent(text)),
        })
    }

    pub(super) fn of_feature(value: f64) -> Result<Self, EvaluationError> {
        if value.is_nan() { Err(EvaluationError::NotANumber) } else { Ok(Self::Float(value)) }
    }

    /// A calculated number.
    pub(super) fn of_result(value: f64) -> Result<Self, EvaluationError> {
        if value.is_infinite() { Err(EvaluationError::Overflow) } else { Self::of_feature(value) }
    }

    pub(super) fn of_constant(constant: &'a Constant) -> Self {
        match constant {
            Constant::Boolean(value) => Self::Boolean(*value),
            Constant::Integer(value) => Self::Integer(*value),
            Constant::Float(value) => Self::Float(*value),
            Constant::Text(text) => Self::Text(Text::Lent(text)),
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Unknown => "an unknown value",
            Self::Boolean(_) => "true or false",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
        }
    }

    pub(super) fn of_number(number: Number) -> Self {
        match number {
            Number::Integer(value) => Self::Integer(value),
            Number::Float(value) => Self::Float(value),
        }
    }

    /// The number, where it is one.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Integer(value) => Some(Number::Integer(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    /// The number, where it is one, to the precision of a float.
    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// How they stand; none: they cannot be compared. Numbers compare by their exact values.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_str().cmp(b.as_str())),
            _ => self.as_number()?.order(other.as_number()?),
        }
    }

    /// The value as the outside knows it; none for a list.
    pub(super) fn into_value(self) -> Option<Value> {
        match self {
            Self::Boolean(value) => Some(Value::Boolean(value)),
            Self::Integer(value) => Some(Value::Integer(value)),
            Self::Float(value) => Some(Value::Float(value)),
            Self::Text(text) => Some(Value::Text(text.as_str().to_owned())),
            Self::List(_) | Self::Unknown => None,
        }
    }
}

/// 2^63, the first float above all integers.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// Exact, also where a float cannot hold the integer; none for NaN.
#[inline]
pub(super) fn order_mixed(integer: i64, float: f64) -> Option<Ordering> {
    /// Up to here every integer is a float.
    const EXACT: u64 = 1 << 53;
    if integer.unsigned_abs() <= EXACT {
        return (integer as f64).partial_cmp(&float);
    }
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    Some(
        integer
            .cmp(&(whole as i64))
            .then_with(|| 0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)),
    )
}

//! Arithmetic of metrics, features and constants, without a value that has to be made.

use std::cmp::Ordering;

use fieldline_model::ValueRef;

use super::Resolve;
use super::dynamic::order_mixed;
use super::error::EvaluationError;
use super::node::{Constant, Node, Operator};

/// A number; integers stay exact.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Integer(i64),
    /// Never NaN.
    Float(f64),
}

impl Number {
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => order_mixed(a, b),
            (Self::Float(a), Self::Integer(b)) => order_mixed(b, a).map(Ordering::reverse),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// A calculated number.
    fn of_result(value: f64) -> Result<Self, EvaluationError> {
        match value {
            infinite if infinite.is_infinite() => Err(EvaluationError::Overflow),
            nan if nan.is_nan() => Err(EvaluationError::NotANumber),
            value => Ok(Self::Float(value)),
        }
    }

    pub(super) fn negated(self) -> Result<Self, EvaluationError> {
        match self {
            Self::Integer(value) => value.checked_neg().map(Self::Integer).ok_or(EvaluationError::Overflow),
            Self::Float(value) => Ok(Self::Float(-value)),
        }
    }

    /// The arithmetic of all conditions.
    pub(super) fn calculate(operator: Operator, left: Self, right: Self) -> Result<Self, EvaluationError> {
        if let (Self::Integer(a), Self::Integer(b)) = (left, right) {
            let exact = match operator {
                Operator::Add => Some(a.checked_add(b)),
                Operator::Subtract => Some(a.checked_sub(b)),
                Operator::Multiply => Some(a.checked_mul(b)),
                Operator::Remainder if b == 0 => return Err(EvaluationError::DivisionByZero),
                Operator::Remainder => Some(a.checked_rem(b)),
                // A sensor that sends 7 and then 7.5 must not be divided in two ways.
                Operator::Divide => None,
            };
            if let Some(exact) = exact {
                return exact.map(Self::Integer).ok_or(EvaluationError::Overflow);
            }
        }
        let (a, b) = (left.as_f64(), right.as_f64());
        Self::of_result(match operator {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide | Operator::Remainder if b == 0.0 => {
                return Err(EvaluationError::DivisionByZero);
            }
            Operator::Divide => a / b,
            Operator::Remainder => a % b,
        })
    }
}

/// What an expression was found to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// It needs something that has no value yet.
    Unknown,
    Number(Number),
    /// A metric that is no number. It is an error where the other side is known.
    Other(&'static str),
}

/// An expression that is a number or an error.
#[derive(Debug, Clone)]
pub(super) enum Numeric {
    Constant(Number),
    Input(usize),
    Feature(usize),
    Negate(Box<Numeric>),
    Arithmetic(Operator, Box<[Numeric; 2]>),
}

impl Numeric {
    /// The same expression; none: it is not of this kind. A metric counts as a number only beside one: by itself it may
    /// be a text.
    pub(super) fn of(node: &Node) -> Option<Self> {
        match node {
            Node::Constant(Constant::Integer(value)) => Some(Self::Constant(Number::Integer(*value))),
            Node::Constant(Constant::Float(value)) => Some(Self::Constant(Number::Float(*value))),
            Node::Feature(index) => Some(Self::Feature(*index)),
            Node::Negate(inner) => Some(Self::Negate(Box::new(Self::operand(inner)?))),
            Node::Arithmetic(operator, sides) => {
                let sides = match operator {
                    Operator::Add => Self::pair(sides)?,
                    _ => [Self::operand(&sides[0])?, Self::operand(&sides[1])?],
                };
                Some(Self::Arithmetic(*operator, Box::new(sides)))
            }
            _ => None,
        }
    }

    /// Two sides of which one is a number, so that the other must be.
    pub(super) fn pair(sides: &[Node; 2]) -> Option<[Self; 2]> {
        let [left, right] = sides;
        match (Self::of(left), Self::of(right)) {
            (Some(left), Some(right)) => Some([left, right]),
            (Some(left), None) => Some([left, Self::operand(right)?]),
            (None, Some(right)) => Some([Self::operand(left)?, right]),
            (None, None) => None,
        }
    }

    fn operand(node: &Node) -> Option<Self> {
        match node {
            Node::Input(index) => Some(Self::Input(*index)),
            other => Self::of(other),
        }
    }

    pub(super) fn evaluate(&self, values: &dyn Resolve) -> Result<Found, EvaluationError> {
        match self {
            Self::Constant(number) => Ok(Found::Number(*number)),
            Self::Input(index) => match values.value(*index) {
                None => Ok(Found::Unknown),
                Some(ValueRef::Integer(value)) => Ok(Found::Number(Number::Integer(value))),
                Some(ValueRef::Float(value)) => float(value),
                Some(other) => Ok(Found::Other(type_name(other))),
            },
            Self::Feature(index) => values.feature(*index).map_or(Ok(Found::Unknown), float),
            Self::Negate(inner) => match inner.evaluate(values)? {
                Found::Unknown => Ok(Found::Unknown),
                Found::Number(number) => number.negated().map(Found::Number),
                Found::Other(found) => Err(EvaluationError::Type { operation: "-", found: found.to_owned() }),
            },
            Self::Arithmetic(operator, sides) => match Self::both(sides, values, operator.sign())? {
                Some((left, right)) => Number::calculate(*operator, left, right).map(Found::Number),
                None => Ok(Found::Unknown),
            },
        }
    }

    /// Two numbers; none: one of them is unknown.
    pub(super) fn both(
        sides: &[Self; 2],
        values: &dyn Resolve,
        operation: &'static str,
    ) -> Result<Option<(Number, Number)>, EvaluationError> {
        let [left, right] = sides;
        match (left.evaluate(values)?, right.evaluate(values)?) {
            (Found::Number(left), Found::Number(right)) => Ok(Some((left, right))),
            (Found::Unknown, _) | (_, Found::Unknown) => Ok(None),
            (left, right) => {
                let found = format!("{} and {}", left.type_name(), right.type_name());
                Err(EvaluationError::Type { operation, found })
            }
        }
    }
}

impl Found {
    fn type_name(self) -> &'static str {
        match self {
            Self::Other(found) => found,
            Self::Number(_) | Self::Unknown => "a number",
        }
    }
}

#[inline]
fn float(value: f64) -> Result<Found, EvaluationError> {
    if value.is_nan() { Err(EvaluationError::NotANumber) } else { Ok(Found::Number(Number::Float(value))) }
}

/// The type of a value, for a message.
pub(super) fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Boolean(_) => "true or false",
        ValueRef::Integer(_) | ValueRef::Float(_) => "a number",
        ValueRef::Text(_) => "a text",
    }
}

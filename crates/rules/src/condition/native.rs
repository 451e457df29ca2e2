//! Comparisons of numbers and of texts with constants, joined by `&&`, `||` and `!`: most rules are no more, and these take
//! nanoseconds.

use std::sync::Arc;

use fieldline_model::ValueRef;

use super::Resolve;
use super::dynamic::order_mixed;
use super::error::EvaluationError;
use super::node::{Comparison, Constant, Node};
use super::numeric::{Numeric, type_name};

/// A condition without a value that has to be made.
#[derive(Debug, Clone)]
pub(super) enum Native {
    /// A metric against a number.
    Input(usize, Comparison, f64),
    /// A feature against a number.
    Feature(usize, Comparison, f64),
    /// A metric against a text.
    Text(usize, Comparison, Arc<str>),
    /// Two numbers of which one at least is calculated.
    Numbers(Comparison, Box<[Numeric; 2]>),
    /// A metric that is true or false.
    Flag(usize),
    /// A feature that is true or false.
    Truth(usize),
    Not(Box<Native>),
    All(Box<[Native]>),
    Any(Box<[Native]>),
}

/// True, false, or unknown as none.
type Ternary = Result<Option<bool>, EvaluationError>;

impl Native {
    /// The same condition; none: it is not of this kind.
    pub(super) fn of(node: &Node) -> Option<Self> {
        match node {
            Node::Input(index) => Some(Self::Flag(*index)),
            Node::Truth(index) => Some(Self::Truth(*index)),
            Node::Not(inner) => Some(Self::Not(Box::new(Self::of(inner)?))),
            Node::All(nodes) => Some(Self::All(nodes.iter().map(Self::of).collect::<Option<_>>()?)),
            Node::Any(nodes) => Some(Self::Any(nodes.iter().map(Self::of).collect::<Option<_>>()?)),
            Node::Compare(comparison, sides) => {
                let simple = match sides.as_ref() {
                    [Node::Constant(constant), node] => {
                        Self::threshold(node, comparison.mirrored(), constant)
                    }
                    [node, Node::Constant(constant)] => Self::threshold(node, *comparison, constant),
                    _ => None,
                };
                simple.or_else(|| Some(Self::Numbers(*comparison, Box::new(Numeric::pair(sides)?))))
            }
            _ => None,
        }
    }

    fn threshold(node: &Node, comparison: Comparison, constant: &Constant) -> Option<Self> {
        match (node, constant) {
            (Node::Input(index), Constant::Text(text)) => Some(Self::Text(*index, comparison, text.clone())),
            (Node::Input(index), _) => Some(Self::Input(*index, comparison, number(constant)?)),
            (Node::Feature(index), _) => Some(Self::Feature(*index, comparison, number(constant)?)),
            _ => None,
        }
    }

    /// Evaluates it, as [`super::evaluate`] would.
    pub(super) fn evaluate(&self, values: &dyn Resolve) -> Ternary {
        match self {
            Self::Input(index, comparison, constant) => match values.value(*index) {
                None => Ok(None),
                Some(ValueRef::Float(value)) => compare(value, *comparison, *constant),
                Some(ValueRef::Integer(value)) => {
                    let order = order_mixed(value, *constant).ok_or(EvaluationError::NotANumber)?;
                    Ok(Some(comparison.holds(order)))
                }
                Some(other) => Err(mismatch(other, *comparison, "a number")),
            },
            Self::Text(index, comparison, constant) => match values.value(*index) {
                None => Ok(None),
                Some(ValueRef::Text(value)) => Ok(Some(comparison.holds(value.cmp(constant)))),
                Some(other) => Err(mismatch(other, *comparison, "a text")),
            },
            Self::Feature(index, comparison, constant) => match values.feature(*index) {
                None => Ok(None),
                Some(value) => compare(value, *comparison, *constant),
            },
            Self::Numbers(comparison, sides) => match Numeric::both(sides, values, comparison.sign())? {
                Some((left, right)) => {
                    let order = left.order(right).ok_or(EvaluationError::NotANumber)?;
                    Ok(Some(comparison.holds(order)))
                }
                None => Ok(None),
            },
            Self::Flag(index) => match values.value(*index) {
                None => Ok(None),
                Some(ValueRef::Boolean(value)) => Ok(Some(value)),
                Some(other) => Err(EvaluationError::Type {
                    operation: "a condition",
                    found: type_name(other).to_owned(),
                }),
            },
            Self::Truth(index) => match values.feature(*index) {
                None => Ok(None),
                Some(value) if value.is_nan() => Err(EvaluationError::NotANumber),
                Some(value) => Ok(Some(value != 0.0)),
            },
            Self::Not(inner) => Ok(inner.evaluate(values)?.map(|value| !value)),
            Self::All(nodes) => join(nodes, values, false),
            Self::Any(nodes) => join(nodes, values, true),
        }
    }
}

/// `&&` where one false decides, `||` where one true does: whatever the others are, unknown or in error.
fn join(nodes: &[Native], values: &dyn Resolve, decisive: bool) -> Ternary {
    let mut unknown = false;
    let mut error = None;
    for node in nodes {
        match node.evaluate(values) {
            Ok(Some(value)) if value == decisive => return Ok(Some(decisive)),
            Ok(Some(_)) => {}
            Ok(None) => unknown = true,
            Err(failed) => error = error.or(Some(failed)),
        }
    }
    match error {
        _ if unknown => Ok(None),
        Some(error) => Err(error),
        None => Ok(Some(!decisive)),
    }
}

#[inline]
fn compare(value: f64, comparison: Comparison, constant: f64) -> Ternary {
    let order = value.partial_cmp(&constant).ok_or(EvaluationError::NotANumber)?;
    Ok(Some(comparison.holds(order)))
}

/// A constant that a float holds exactly.
fn number(constant: &Constant) -> Option<f64> {
    match constant {
        Constant::Float(value) => Some(*value),
        Constant::Integer(value) if value.unsigned_abs() <= 1 << 53 => Some(*value as f64),
        _ => None,
    }
}

#[cold]
fn mismatch(value: ValueRef<'_>, comparison: Comparison, constant: &str) -> EvaluationError {
    EvaluationError::Type {
        operation: comparison.sign(),
        found: format!("{} and {constant}", type_name(value)),
    }
}

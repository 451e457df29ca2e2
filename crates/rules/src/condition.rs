//! Conditions: the text of a rule, checked once and compiled, then evaluated for each reading.
//!
//! The language is CEL; its parser reads the text, and what it says is compiled to a tree of our own. So integers
//! and floats compare freely, a metric without a value is unknown and not an error, and no condition can take
//! more time or memory than its size permits.

mod builtin;
pub(crate) mod display;
mod dynamic;
mod error;
mod evaluate;
mod guard;
mod lower;
mod names;
mod native;
mod node;
mod numeric;
mod operators;
mod parse;
#[cfg(test)]
mod tests;

pub use error::{ConditionError, EvaluationError, Position};
use fieldline_model::{Value, ValueRef};

use self::dynamic::Dynamic;
use self::evaluate::Machine;
use self::lower::{Leaf, Lowered};
use self::native::Native;
use self::node::Node;
use self::numeric::{Found, Numeric};
use crate::{FeatureSpec, Input};

/// What a condition is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false: `when` and `clear`.
    Truth,
    /// Any value: what is derived, what stands in a template.
    Value,
}

/// What came of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The value; for [`Kind::Truth`] always [`Value::Boolean`], and never a float that is not finite.
    Value(Value),
    /// Something that it needs has no value yet.
    Unknown,
}

impl Outcome {
    fn of_truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Unknown, |truth| Self::Value(Value::Boolean(truth)))
    }

    fn of_dynamic(value: Dynamic<'_>) -> Result<Self, EvaluationError> {
        match value {
            Dynamic::Unknown => Ok(Self::Unknown),
            Dynamic::Float(value) if value.is_infinite() => Err(EvaluationError::Overflow),
            Dynamic::List(_) => {
                Err(EvaluationError::Type { operation: "a value", found: "a list".to_owned() })
            }
            other => Ok(other.into_value().map_or(Self::Unknown, Self::Value)),
        }
    }

    /// Whether it is [`Value::Boolean`] and true.
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Value(Value::Boolean(true)))
    }
}

/// Where the values come from while a condition is evaluated.
pub trait Resolve {
    /// The current value of [`Condition::inputs`] at this index; none: it has none yet.
    fn value(&self, input: usize) -> Option<ValueRef<'_>>;
    /// The current value of [`Condition::features`] at this index; none: it has none yet.
    fn feature(&self, feature: usize) -> Option<f64>;
}

/// A condition, ready to be evaluated. It is `Send` and `Sync`, and cheap to share in an `Arc`.
///
/// ```
/// use fieldline_model::ValueRef;
/// use fieldline_rules::{Condition, Kind, Resolve};
///
/// struct Hot;
/// impl Resolve for Hot {
///     fn value(&self, _input: usize) -> Option<ValueRef<'_>> {
///         Some(ValueRef::Integer(81))
///     }
///     fn feature(&self, _feature: usize) -> Option<f64> {
///         None
///     }
/// }
/// let condition = Condition::compile("temperature > 80.0 || avg(temperature, '5m') > 75", Kind::Truth)?;
/// assert_eq!(condition.inputs().len(), 1);
/// assert!(condition.evaluate(&Hot).is_ok_and(|outcome| outcome.is_true()));
/// # Ok::<(), fieldline_rules::ConditionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Condition {
    source: Box<str>,
    plan: Plan,
    kind: Kind,
    inputs: Vec<Input>,
    features: Vec<FeatureSpec>,
    leaves: Vec<Leaf>,
    nodes: usize,
}

/// How it is evaluated.
#[derive(Debug, Clone)]
enum Plan {
    Native(Native),
    Number(Numeric),
    Tree(Box<Node>),
}

impl Condition {
    /// Compiles one text. Starts a thread: for many use [`Condition::compile_all`].
    ///
    /// # Errors
    /// The text breaks the language, names what there is not, or is more than a condition may be.
    pub fn compile(source: &str, kind: Kind) -> Result<Self, ConditionError> {
        let compiled = Self::compile_all(&[(source, kind)]).pop();
        compiled.unwrap_or_else(|| Err(ConditionError::at_start("there is no condition")))
    }

    /// Compiles many texts on one thread; the results stand in their order.
    pub fn compile_all(sources: &[(&str, Kind)]) -> Vec<Result<Self, ConditionError>> {
        let lowered = parse::parse_all(sources);
        let pairs = sources.iter().zip(lowered);
        pairs
            .map(|((source, kind), lowered)| lowered.map(|lowered| Self::of(source, *kind, lowered)))
            .collect()
    }

    fn of(source: &str, kind: Kind, lowered: Lowered) -> Self {
        let Lowered { root, inputs, features, leaves, nodes } = lowered;
        let quick = match kind {
            Kind::Truth => Native::of(&root).map(Plan::Native),
            Kind::Value => Numeric::of(&root).map(Plan::Number),
        };
        let plan = quick.unwrap_or_else(|| Plan::Tree(Box::new(root)));
        Self { source: source.into(), plan, kind, inputs, features, leaves, nodes }
    }

    /// The text that it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every metric that it names, also those of its features, each once: a new value of one of these is a reason
    /// to evaluate it again.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The features that it needs, each once.
    pub fn features(&self) -> &[FeatureSpec] {
        &self.features
    }

    /// Whether it consists of arithmetic and comparisons alone, which take nanoseconds.
    pub fn is_native(&self) -> bool {
        !matches!(self.plan, Plan::Tree(_))
    }

    /// The same, evaluated as a tree.
    #[cfg(test)]
    fn as_tree(source: &str, kind: Kind) -> Self {
        let lowered = parse::parse_all(&[(source, kind)]).remove(0).unwrap_or_else(|error| panic!("{error}"));
        let plan = Plan::Tree(Box::new(lowered.root.clone()));
        Self { plan, ..Self::of(source, kind, lowered) }
    }

    /// How many nodes it has, macros after their expansion; at most 200.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Evaluates it. Takes tens of nanoseconds for comparisons, and never more than 10 ms or 16 MiB.
    ///
    /// # Errors
    /// A division by zero, a number that is none, a value of the wrong type.
    pub fn evaluate(&self, values: &dyn Resolve) -> Result<Outcome, EvaluationError> {
        match (&self.plan, self.kind) {
            (Plan::Native(native), _) => native.evaluate(values).map(Outcome::of_truth),
            (Plan::Number(numeric), _) => Outcome::of_dynamic(match numeric.evaluate(values)? {
                Found::Number(number) => Dynamic::of_number(number),
                Found::Unknown | Found::Other(_) => Dynamic::Unknown,
            }),
            (Plan::Tree(root), Kind::Truth) => Machine::new(values).truth(root).map(Outcome::of_truth),
            (Plan::Tree(root), Kind::Value) => {
                Machine::new(values).evaluate(root).and_then(Outcome::of_dynamic)
            }
        }
    }

    /// The values that it was evaluated with: source text and value of each metric and feature, in the order of
    /// the text; `unknown` where there is none.
    pub fn explain(&self, values: &dyn Resolve) -> Vec<(String, String)> {
        let unknown = || "unknown".to_owned();
        let describe = |leaf: &Leaf| match leaf {
            Leaf::Input(index) => {
                let name = self.inputs.get(*index).map(display::input)?;
                Some((name, values.value(*index).map_or_else(unknown, display::value)))
            }
            Leaf::Feature(index) => {
                let spec = self.features.get(*index)?;
                let value = values.feature(*index).map(|value| match spec.function.is_truth() {
                    true => (value != 0.0).to_string(),
                    false => display::number(value),
                });
                Some((display::feature(spec), value.unwrap_or_else(unknown)))
            }
        };
        self.leaves.iter().filter_map(describe).collect()
    }
}

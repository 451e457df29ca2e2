//! The evaluation of what is more than a comparison with constants. Every step and every byte is counted.

use std::rc::Rc;

use fieldline_model::TEXT_BYTES_MAX;

use super::Resolve;
use super::builtin;
use super::dynamic::{Dynamic, Text};
use super::error::EvaluationError;
use super::node::{Comparison, Fold, Node, Operator};
use super::numeric::Number;

/// Steps of one evaluation. A step takes well below a microsecond, so this is far from 10 ms.
const STEPS_MAX: usize = 20_000;
/// Bytes of the texts and lists that one evaluation makes.
const BYTES_MAX: usize = 1 << 20;

/// One evaluation.
pub(super) struct Machine<'a> {
    values: &'a dyn Resolve,
    steps: usize,
    bytes: usize,
    element: Dynamic<'a>,
    gathered: Dynamic<'a>,
}

type Evaluated<'a> = Result<Dynamic<'a>, EvaluationError>;

impl<'a> Machine<'a> {
    pub(super) fn new(values: &'a dyn Resolve) -> Self {
        Self { values, steps: 0, bytes: 0, element: Dynamic::Unknown, gathered: Dynamic::Unknown }
    }

    pub(super) fn evaluate(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.spend(1)?;
        match node {
            Node::Constant(constant) => Ok(Dynamic::of_constant(constant)),
            Node::Input(index) => self.values.value(*index).map_or(Ok(Dynamic::Unknown), Dynamic::of_value),
            Node::Feature(index) => {
                self.values.feature(*index).map_or(Ok(Dynamic::Unknown), Dynamic::of_feature)
            }
            Node::Truth(index) => match self.values.feature(*index).map(Dynamic::of_feature).transpose()? {
                Some(Dynamic::Float(value)) => Ok(Dynamic::Boolean(value != 0.0)),
                _ => Ok(Dynamic::Unknown),
            },
            Node::Known(index) => Ok(Dynamic::Boolean(self.values.value(*index).is_some())),
            Node::Element => Ok(self.element.clone()),
            Node::Gathered => Ok(self.gathered.clone()),
            Node::Not(inner) => Ok(match self.truth(inner)? {
                Some(value) => Dynamic::Boolean(!value),
                None => Dynamic::Unknown,
            }),
            Node::All(nodes) => self.join(nodes, false),
            Node::Any(nodes) => self.join(nodes, true),
            Node::NotFalse(inner) => Ok(Dynamic::Boolean(!matches!(self.truth(inner), Ok(Some(false))))),
            Node::Choose(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                match self.truth(condition)? {
                    None => Ok(Dynamic::Unknown),
                    Some(true) => self.evaluate(then),
                    Some(false) => self.evaluate(otherwise),
                }
            }
            Node::Negate(inner) => match self.evaluate(inner)? {
                Dynamic::Unknown => Ok(Dynamic::Unknown),
                value => match value.as_number() {
                    Some(number) => number.negated().map(Dynamic::of_number),
                    None => Err(mismatch("-", &[&value])),
                },
            },
            Node::Arithmetic(_, sides) | Node::Compare(_, sides) | Node::In(sides) | Node::Index(sides) => {
                let [left, right] = sides.as_ref();
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                if left.is_unknown() || right.is_unknown() {
                    return Ok(Dynamic::Unknown);
                }
                self.binary(node, left, right)
            }
            Node::List(nodes) => {
                self.allocate(nodes.len() * size_of::<Dynamic<'_>>())?;
                let items: Result<Vec<_>, _> = nodes.iter().map(|node| self.evaluate(node)).collect();
                Ok(Dynamic::List(Rc::new(items?)))
            }
            Node::Call(function, nodes) => {
                let arguments: Result<Vec<_>, _> = nodes.iter().map(|node| self.evaluate(node)).collect();
                let arguments = arguments?;
                if arguments.iter().any(Dynamic::is_unknown) {
                    return Ok(Dynamic::Unknown);
                }
                // A text is at most as long as a metric may be, or a constant.
                self.spend(builtin::weight(&arguments))?;
                self.allocate(builtin::bytes(*function))?;
                builtin::call(*function, &arguments)
            }
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// The value as true or false; none: unknown.
    pub(super) fn truth(&mut self, node: &'a Node) -> Result<Option<bool>, EvaluationError> {
        match self.evaluate(node)? {
            Dynamic::Boolean(value) => Ok(Some(value)),
            Dynamic::Unknown => Ok(None),
            other => Err(mismatch("a condition", &[&other])),
        }
    }

    /// As in [`super::native`]: one decisive value is enough, then unknown, then the first error.
    fn join(&mut self, nodes: &'a [Node], decisive: bool) -> Evaluated<'a> {
        let mut unknown = false;
        let mut error = None;
        for node in nodes {
            match self.truth(node) {
                Ok(Some(value)) if value == decisive => return Ok(Dynamic::Boolean(decisive)),
                Ok(Some(_)) => {}
                Ok(None) => unknown = true,
                Err(limit @ EvaluationError::Limit(_)) => return Err(limit),
                Err(failed) => error = error.or(Some(failed)),
            }
        }
        match error {
            _ if unknown => Ok(Dynamic::Unknown),
            Some(error) => Err(error),
            None => Ok(Dynamic::Boolean(!decisive)),
        }
    }

    /// What an operator makes of two known values.
    fn binary(&mut self, node: &Node, left: Dynamic<'a>, right: Dynamic<'a>) -> Evaluated<'a> {
        match node {
            Node::Arithmetic(operator, _) => self.arithmetic(*operator, left, right),
            Node::Compare(comparison, _) => compare(*comparison, &left, &right).map(Dynamic::Boolean),
            Node::In(_) => self.contained(&left, &right),
            _ => element(&left, &right),
        }
    }

    fn arithmetic(&mut self, operator: Operator, left: Dynamic<'a>, right: Dynamic<'a>) -> Evaluated<'a> {
        match (operator, left, right) {
            (Operator::Add, Dynamic::Text(a), Dynamic::Text(b)) => {
                let (a, b) = (a.as_str(), b.as_str());
                if a.len() + b.len() > TEXT_BYTES_MAX {
                    return Err(EvaluationError::Limit("a text is too long"));
                }
                self.allocate(a.len() + b.len())?;
                Ok(Dynamic::Text(Text::Made(Rc::from([a, b].concat()))))
            }
            (Operator::Add, Dynamic::List(a), Dynamic::List(b)) => {
                self.allocate((a.len() + b.len()) * size_of::<Dynamic<'_>>())?;
                self.spend((a.len() + b.len()) / 8)?;
                let mut joined = Rc::unwrap_or_clone(a);
                joined.extend(b.iter().cloned());
                Ok(Dynamic::List(Rc::new(joined)))
            }
            (_, left, right) => match (left.as_number(), right.as_number()) {
                (Some(a), Some(b)) => Number::calculate(operator, a, b).map(Dynamic::of_number),
                _ => Err(mismatch(operator.sign(), &[&left, &right])),
            },
        }
    }

    /// Whether a list holds a value; an unknown element may be it.
    fn contained(&mut self, wanted: &Dynamic<'a>, list: &Dynamic<'a>) -> Evaluated<'a> {
        let Dynamic::List(items) = list else {
            return Err(mismatch("in", &[wanted, list]));
        };
        self.spend(items.len())?;
        if items.iter().any(|item| wanted.order(item).is_some_and(|order| order.is_eq())) {
            return Ok(Dynamic::Boolean(true));
        }
        let unknown = items.iter().any(Dynamic::is_unknown);
        Ok(if unknown { Dynamic::Unknown } else { Dynamic::Boolean(false) })
    }

    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let items = match self.evaluate(&fold.range)? {
            Dynamic::List(items) => items,
            Dynamic::Unknown => return Ok(Dynamic::Unknown),
            other => return Err(mismatch("a comprehension", &[&other])),
        };
        self.gathered = self.evaluate(&fold.start)?;
        let mut failed = None;
        for item in items.iter() {
            if !matches!(self.truth(&fold.go_on)?, Some(true)) {
                break;
            }
            self.element = item.clone();
            match self.evaluate(&fold.step) {
                Ok(next) => self.gathered = next,
                Err(limit @ EvaluationError::Limit(_)) => return Err(limit),
                // An element after it may decide, as in `||`; what was gathered stays.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let result = self.evaluate(&fold.result)?;
        self.gathered = Dynamic::Unknown;
        match failed {
            // Only `exists` and `all` are decided by one element, and then the loop has ended early.
            Some(error) if !decided(fold, &result) => Err(error),
            _ => Ok(result),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), EvaluationError> {
        self.steps += steps;
        if self.steps > STEPS_MAX { Err(EvaluationError::Limit("too many steps")) } else { Ok(()) }
    }

    fn allocate(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.bytes += bytes;
        if self.bytes > BYTES_MAX { Err(EvaluationError::Limit("too much memory")) } else { Ok(()) }
    }
}

/// Whether a comprehension has its result whatever the elements that failed would have been.
fn decided(fold: &Fold, result: &Dynamic<'_>) -> bool {
    match (&fold.step, result) {
        (Node::Any(_), Dynamic::Boolean(value)) => *value,
        (Node::All(_), Dynamic::Boolean(value)) => !*value,
        _ => false,
    }
}

fn compare(comparison: Comparison, left: &Dynamic<'_>, right: &Dynamic<'_>) -> Result<bool, EvaluationError> {
    let orders_truths = matches!(left, Dynamic::Boolean(_)) && !comparison.is_equality();
    match left.order(right) {
        Some(order) if !orders_truths => Ok(comparison.holds(order)),
        _ => Err(mismatch(comparison.sign(), &[left, right])),
    }
}

fn element<'a>(list: &Dynamic<'a>, index: &Dynamic<'a>) -> Evaluated<'a> {
    let (Dynamic::List(items), Some(wanted)) = (list, index.as_f64()) else {
        return Err(mismatch("[]", &[list, index]));
    };
    let place = if wanted >= 0.0 && wanted.fract() == 0.0 { items.get(wanted as usize) } else { None };
    place.cloned().ok_or_else(|| EvaluationError::Element(wanted.to_string()))
}

#[cold]
pub(super) fn mismatch(operation: &'static str, values: &[&Dynamic<'_>]) -> EvaluationError {
    let found: Vec<&str> = values.iter().map(|value| value.type_name()).collect();
    EvaluationError::Type { operation, found: found.join(" and ") }
}

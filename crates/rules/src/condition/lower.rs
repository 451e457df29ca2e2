//! From CEL's syntax tree to ours: names become inputs and features, and types are checked as far as they are known.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr};
use cel::parser::Expression;

use super::Kind;
use super::error::ConditionError;
use super::guard::NODES_MAX;
use super::names;
use super::node::{Builtin, Constant, Fold, Node, Type};
use super::parse::Places;
use crate::nearest::hint;
use crate::spec::check_cost;
use crate::{FeatureSpec, Function, Input};

/// A condition as a tree, with what it needs.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) root: Node,
    pub(super) inputs: Vec<Input>,
    pub(super) features: Vec<FeatureSpec>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) nodes: usize,
}

/// A value that a condition looks at, in the order of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Input(usize),
    Feature(usize),
}

/// A node and what is known of its type.
pub(super) type Typed = Result<(Node, Type), ConditionError>;

/// Lowers the whole of a text.
pub(super) fn lower(
    expression: &Expression,
    places: &Places<'_>,
    kind: Kind,
) -> Result<Lowered, ConditionError> {
    let mut lowering = Lowering::new(places);
    let (root, found) = lowering.node(expression)?;
    if kind == Kind::Truth && !found.may_be(Type::Truth) {
        let reason = format!("a condition must be true or false, this is {}", found.name());
        return Err(ConditionError::new(places.of(expression), reason));
    }
    if found == Type::List {
        return Err(ConditionError::new(places.of(expression), "a list is no value; compare it or count it"));
    }
    let Lowering { inputs, features, leaves, nodes, .. } = lowering;
    Ok(Lowered { root, inputs, features, leaves, nodes })
}

/// A lowering that is under way.
pub(super) struct Lowering<'a> {
    places: &'a Places<'a>,
    pub(super) inputs: Vec<Input>,
    features: Vec<FeatureSpec>,
    leaves: Vec<Leaf>,
    nodes: usize,
    /// What each input was used as, first.
    uses: Vec<(usize, Type)>,
    /// Within a comprehension: the names of its element and of what it gathers.
    scope: Option<(String, String)>,
}

impl<'a> Lowering<'a> {
    fn new(places: &'a Places<'a>) -> Self {
        Self {
            places,
            inputs: Vec::new(),
            features: Vec::new(),
            leaves: Vec::new(),
            nodes: 0,
            uses: Vec::new(),
            scope: None,
        }
    }

    pub(super) fn error(&self, at: &Expression, reason: impl Into<String>) -> ConditionError {
        ConditionError::new(self.places.of(at), reason)
    }

    pub(super) fn node(&mut self, at: &Expression) -> Typed {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.error(at, format!("the condition has more than {NODES_MAX} nodes")));
        }
        match &at.expr {
            Expr::Literal(literal) => self.literal(at, literal),
            Expr::Ident(name) => self.identifier(at, name),
            Expr::Select(select) => self.select(at, select),
            Expr::Call(call) => self.call(at, call),
            Expr::List(list) => {
                let nodes: Result<Vec<_>, _> = list.elements.iter().map(|e| Ok(self.node(e)?.0)).collect();
                Ok((Node::List(nodes?), Type::List))
            }
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension),
            Expr::Map(_) | Expr::Struct(_) => {
                Err(self.error(at, "maps and messages are not part of a condition"))
            }
            Expr::Unspecified => Err(self.error(at, "something is missing here")),
        }
    }

    fn literal(&self, at: &Expression, literal: &LiteralValue) -> Typed {
        let whole = |value: i64| (Node::Constant(Constant::Integer(value)), Type::Number);
        match literal {
            LiteralValue::Boolean(value) => {
                Ok((Node::Constant(Constant::Boolean(*value.inner())), Type::Truth))
            }
            LiteralValue::Int(value) => Ok(whole(*value.inner())),
            LiteralValue::UInt(value) => i64::try_from(*value.inner())
                .map(whole)
                .map_err(|_| self.error(at, "the number is larger than 2^63 - 1")),
            LiteralValue::Double(value) if value.inner().is_finite() => {
                Ok((Node::Constant(Constant::Float(*value.inner())), Type::Number))
            }
            LiteralValue::Double(_) => Err(self.error(at, "the number is out of range")),
            LiteralValue::String(text) => {
                Ok((Node::Constant(Constant::Text(text.inner().into())), Type::Text))
            }
            LiteralValue::Bytes(_) | LiteralValue::Null => Err(self.error(
                at,
                "bytes and null are not part of a condition; known(x) tells whether x has a value",
            )),
        }
    }

    fn identifier(&mut self, at: &Expression, name: &str) -> Typed {
        match &self.scope {
            Some((element, _)) if element == name => return Ok((Node::Element, Type::Any)),
            Some((_, gathered)) if gathered == name => return Ok((Node::Gathered, Type::Any)),
            _ => {}
        }
        let input = names::metric_of(self, at)?;
        Ok(self.input(input))
    }

    fn select(&mut self, at: &Expression, select: &SelectExpr) -> Typed {
        let input = names::metric_of(self, at)?;
        if select.test {
            let index = self.input_index(input);
            return Ok((Node::Known(index), Type::Truth));
        }
        Ok(self.input(input))
    }

    /// The name of the element of the comprehension that is being read.
    pub(super) fn is_element(&self, name: &str) -> bool {
        self.scope.as_ref().is_some_and(|(element, _)| element == name)
    }

    fn input_index(&mut self, input: Input) -> usize {
        index_of(&mut self.inputs, input)
    }

    fn input(&mut self, input: Input) -> (Node, Type) {
        let index = self.input_index(input);
        self.leaf(Leaf::Input(index));
        (Node::Input(index), Type::Any)
    }

    fn leaf(&mut self, leaf: Leaf) {
        if !self.leaves.contains(&leaf) {
            self.leaves.push(leaf);
        }
    }

    fn call(&mut self, at: &Expression, call: &CallExpr) -> Typed {
        if let Some(found) = self.operator(at, call) {
            return found;
        }
        let name = call.func_name.as_str();
        if call.target.is_none() {
            if let Some(function) = Function::named(name) {
                return self.feature(at, function, &call.args);
            }
            match (name, call.args.as_slice()) {
                ("metric" | "value", _) => {
                    let input = names::metric_of(self, at)?;
                    return Ok(self.input(input));
                }
                ("known", [metric]) => {
                    let input = names::metric_of(self, metric)?;
                    let index = self.input_index(input);
                    return Ok((Node::Known(index), Type::Truth));
                }
                ("device", _) => {
                    return Err(self.error(
                        at,
                        "device(\"name\") is followed by a metric: device(\"name\").temperature",
                    ));
                }
                _ => {}
            }
        }
        self.builtin(at, call)
    }

    fn feature(&mut self, at: &Expression, function: Function, arguments: &[Expression]) -> Typed {
        let spec = names::feature_of(self, at, function, arguments)?;
        index_of(&mut self.inputs, spec.input.clone());
        let index = index_of(&mut self.features, spec);
        check_cost(&self.features).map_err(|reason| self.error(at, reason))?;
        self.leaf(Leaf::Feature(index));
        self.nodes += arguments.len();
        Ok(if function.is_truth() {
            (Node::Truth(index), Type::Truth)
        } else {
            (Node::Feature(index), Type::Number)
        })
    }

    fn builtin(&mut self, at: &Expression, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        let Some((_, function, wanted, result)) = Builtin::TABLE.iter().find(|row| row.0 == name) else {
            return Err(self.error(at, unknown_function(name)));
        };
        let arguments: Vec<&Expression> = call.target.as_deref().into_iter().chain(&call.args).collect();
        if arguments.len() != wanted.len() {
            let reason = format!("{name} takes {} arguments, not {}", wanted.len(), arguments.len());
            return Err(self.error(at, reason));
        }
        let nodes: Result<Vec<_>, _> = arguments
            .iter()
            .zip(*wanted)
            .map(|(argument, wanted)| self.typed(argument, *wanted, name))
            .collect();
        Ok((Node::Call(*function, nodes?), *result))
    }

    /// A node whose type fits.
    pub(super) fn typed(&mut self, at: &Expression, wanted: Type, by: &str) -> Result<Node, ConditionError> {
        let (node, found) = self.node(at)?;
        if !found.may_be(wanted) {
            return Err(self.error(at, format!("{by} needs {}, this is {}", wanted.name(), found.name())));
        }
        self.used(at, &node, wanted)?;
        Ok(node)
    }

    /// A metric cannot be a number here and a text there.
    pub(super) fn used(&mut self, at: &Expression, node: &Node, found: Type) -> Result<(), ConditionError> {
        let Node::Input(index) = node else { return Ok(()) };
        if found == Type::Any {
            return Ok(());
        }
        match self.uses.iter().find(|(known, _)| known == index) {
            Some((_, before)) if *before != found => {
                let reason = format!("used as {} here, and as {} before", found.name(), before.name());
                Err(self.error(at, reason))
            }
            Some(_) => Ok(()),
            None => {
                self.uses.push((*index, found));
                Ok(())
            }
        }
    }

    fn comprehension(&mut self, at: &Expression, comprehension: &ComprehensionExpr) -> Typed {
        if self.scope.is_some() {
            return Err(self.error(at, "comprehensions cannot stand within each other"));
        }
        if comprehension.iter_var2.is_some() {
            return Err(self.error(at, "a comprehension has one variable"));
        }
        let range = self.typed(&comprehension.iter_range, Type::List, "a comprehension")?;
        let (start, start_type) = self.node(&comprehension.accu_init)?;
        self.scope = Some((comprehension.iter_var.clone(), comprehension.accu_var.clone()));
        let go_on = self.node(&comprehension.loop_cond);
        let step = self.node(&comprehension.loop_step);
        let result = self.node(&comprehension.result);
        self.scope = None;
        let (go_on, step, (result, found)) = (go_on?.0, step?.0, result?);
        let found = if found == Type::Any { start_type } else { found };
        Ok((Node::Fold(Box::new(Fold { range, start, go_on, step, result })), found))
    }
}

fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    if let Some(index) = list.iter().position(|known| *known == item) {
        return index;
    }
    list.push(item);
    list.len() - 1
}

fn unknown_function(name: &str) -> String {
    if name == "matches" {
        return "there are no regular expressions; use contains, startsWith or endsWith".to_owned();
    }
    let features = Function::ALL.into_iter().map(Function::name);
    let builtins = Builtin::TABLE.iter().map(|row| row.0);
    let others = ["metric", "value", "device", "known", "all", "exists", "exists_one", "map", "filter"];
    format!("there is no function {name:?}{}", hint(name, features.chain(builtins).chain(others)))
}

//! Operators: what they take and what they give.

use cel::common::ast::{CallExpr, operators};
use cel::parser::Expression;

use super::error::ConditionError;
use super::lower::{Lowering, Typed};
use super::node::{Comparison, Node, Operator, Type};

impl Lowering<'_> {
    /// None: it is no operator.
    pub(super) fn operator(&mut self, at: &Expression, call: &CallExpr) -> Option<Typed> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                Some(self.junction(name == operators::LOGICAL_AND, [left, right]))
            }
            (operators::LOGICAL_NOT, [inner]) => {
                Some(self.typed(inner, Type::Truth, "!").map(|n| (Node::Not(Box::new(n)), Type::Truth)))
            }
            (operators::NOT_STRICTLY_FALSE, [inner]) => {
                Some(self.node(inner).map(|(n, _)| (Node::NotFalse(Box::new(n)), Type::Truth)))
            }
            (operators::NEGATE, [inner]) => {
                Some(self.typed(inner, Type::Number, "-").map(|n| (Node::Negate(Box::new(n)), Type::Number)))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                Some(self.choice(condition, then, otherwise))
            }
            (operators::IN, [item, list]) => Some(self.contained(item, list)),
            (operators::INDEX, [list, index]) => Some(self.index(list, index)),
            (_, [left, right]) if call.target.is_none() => {
                let arithmetic = Operator::named(name).map(|o| self.arithmetic(at, o, [left, right]));
                arithmetic.or_else(|| Comparison::named(name).map(|c| self.compare(at, c, [left, right])))
            }
            _ => None,
        }
    }

    /// `a && b && c` becomes one node with three parts.
    fn junction(&mut self, all: bool, sides: [&Expression; 2]) -> Typed {
        let mut parts = Vec::new();
        for side in sides {
            match (all, self.typed(side, Type::Truth, if all { "&&" } else { "||" })?) {
                (true, Node::All(inner)) | (false, Node::Any(inner)) => parts.extend(inner),
                (_, node) => parts.push(node),
            }
        }
        Ok((if all { Node::All(parts) } else { Node::Any(parts) }, Type::Truth))
    }

    fn choice(&mut self, condition: &Expression, then: &Expression, otherwise: &Expression) -> Typed {
        let condition = self.typed(condition, Type::Truth, "? :")?;
        let (then, then_type) = self.node(then)?;
        let (otherwise, otherwise_type) = self.node(otherwise)?;
        let found = if then_type == otherwise_type { then_type } else { Type::Any };
        Ok((Node::Choose(Box::new([condition, then, otherwise])), found))
    }

    fn contained(&mut self, item: &Expression, list: &Expression) -> Typed {
        let (item, _) = self.node(item)?;
        let list = self.typed(list, Type::List, "in")?;
        Ok((Node::In(Box::new([item, list])), Type::Truth))
    }

    fn index(&mut self, list: &Expression, index: &Expression) -> Typed {
        let list = self.typed(list, Type::List, "[]")?;
        let index = self.typed(index, Type::Number, "[]")?;
        Ok((Node::Index(Box::new([list, index])), Type::Any))
    }

    fn arithmetic(&mut self, at: &Expression, operator: Operator, sides: [&Expression; 2]) -> Typed {
        let (left, left_type) = self.node(sides[0])?;
        let (right, right_type) = self.node(sides[1])?;
        let fits = |found: Type| match operator {
            Operator::Add => found != Type::Truth,
            _ => found.may_be(Type::Number),
        };
        if !fits(left_type) || !fits(right_type) || !left_type.may_be(right_type) {
            return Err(self.misfit(at, operator.sign(), left_type, right_type));
        }
        let found = match operator {
            Operator::Add if left_type == Type::Any => right_type,
            Operator::Add => left_type,
            _ => Type::Number,
        };
        self.used(sides[0], &left, found)?;
        self.used(sides[1], &right, found)?;
        Ok((Node::Arithmetic(operator, Box::new([left, right])), found))
    }

    fn compare(&mut self, at: &Expression, comparison: Comparison, sides: [&Expression; 2]) -> Typed {
        let (left, left_type) = self.node(sides[0])?;
        let (right, right_type) = self.node(sides[1])?;
        let fits = |found: Type| match found {
            Type::List => false,
            Type::Truth => comparison.is_equality(),
            _ => true,
        };
        if !fits(left_type) || !fits(right_type) || !left_type.may_be(right_type) {
            return Err(self.misfit(at, comparison.sign(), left_type, right_type));
        }
        self.used(sides[0], &left, right_type)?;
        self.used(sides[1], &right, left_type)?;
        Ok((Node::Compare(comparison, Box::new([left, right])), Type::Truth))
    }

    fn misfit(&self, at: &Expression, sign: &str, left: Type, right: Type) -> ConditionError {
        self.error(at, format!("{sign} cannot be applied to {} and {}", left.name(), right.name()))
    }
}

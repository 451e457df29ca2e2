//! What a condition is compiled to.

use std::cmp::Ordering;
use std::sync::Arc;

use cel::common::ast::operators;

/// An expression; at most [`super::guard::NODES_MAX`] of them make a condition.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A literal.
    Constant(Constant),
    /// The current value of an input.
    Input(usize),
    /// The current value of a feature.
    Feature(usize),
    /// The same, of a feature that is true or false.
    Truth(usize),
    /// Whether an input has a value.
    Known(usize),
    /// The element that a comprehension is at.
    Element,
    /// What a comprehension has gathered.
    Gathered,
    /// `!a`
    Not(Box<Node>),
    /// `-a`
    Negate(Box<Node>),
    /// `a && b && …`
    All(Vec<Node>),
    /// `a || b || …`
    Any(Vec<Node>),
    /// `a ? b : c`
    Choose(Box<[Node; 3]>),
    /// `a + b` and so on.
    Arithmetic(Operator, Box<[Node; 2]>),
    /// `a < b` and so on.
    Compare(Comparison, Box<[Node; 2]>),
    /// `a in b`
    In(Box<[Node; 2]>),
    /// `a[b]`
    Index(Box<[Node; 2]>),
    /// `[a, b, …]`
    List(Vec<Node>),
    /// A function of values.
    Call(Builtin, Vec<Node>),
    /// `all`, `exists`, `exists_one`, `map`, `filter`.
    Fold(Box<Fold>),
    /// Everything but false: what tells a comprehension to go on.
    NotFalse(Box<Node>),
}

/// A comprehension, as CEL's macros write it.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) start: Node,
    pub(super) go_on: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Arc<str>),
}

/// Arithmetic of two numbers; `+` also joins texts and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// By CEL's name of it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            operators::ADD => Self::Add,
            operators::SUBSTRACT => Self::Subtract,
            operators::MULTIPLY => Self::Multiply,
            operators::DIVIDE => Self::Divide,
            operators::MODULO => Self::Remainder,
            _ => return None,
        })
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// By CEL's name of it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it is about equality, which every type has.
    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether it holds of two values that stand so.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The same with its sides exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

/// What is known of a value before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A metric, or an element of a list: it will be seen.
    Any,
    Truth,
    Number,
    Text,
    List,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Truth => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
        }
    }

    /// Whether a value of this type may turn out to be of that one.
    pub(super) fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

/// The functions of values. None of them is left to the platform's mathematical library, whose last digits differ from
/// host to host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    String,
    Abs,
    Floor,
    Ceil,
    Round,
    Sqrt,
    Least,
    Greatest,
}

impl Builtin {
    /// Name, types of the arguments, type of the result.
    pub(super) const TABLE: [(&'static str, Self, &'static [Type], Type); 14] = [
        ("size", Self::Size, &[Type::Any], Type::Number),
        ("contains", Self::Contains, &[Type::Text, Type::Text], Type::Truth),
        ("startsWith", Self::StartsWith, &[Type::Text, Type::Text], Type::Truth),
        ("endsWith", Self::EndsWith, &[Type::Text, Type::Text], Type::Truth),
        ("int", Self::Int, &[Type::Any], Type::Number),
        ("double", Self::Double, &[Type::Any], Type::Number),
        ("string", Self::String, &[Type::Any], Type::Text),
        ("abs", Self::Abs, &[Type::Number], Type::Number),
        ("floor", Self::Floor, &[Type::Number], Type::Number),
        ("ceil", Self::Ceil, &[Type::Number], Type::Number),
        ("round", Self::Round, &[Type::Number], Type::Number),
        ("sqrt", Self::Sqrt, &[Type::Number], Type::Number),
        ("least", Self::Least, &[Type::Number, Type::Number], Type::Number),
        ("greatest", Self::Greatest, &[Type::Number, Type::Number], Type::Number),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.1 == self).map_or("function", |row| row.0)
    }
}

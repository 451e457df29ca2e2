//! What is wrong with a condition, and where.

use std::fmt;

use serde::Serialize;

/// A place in a text, both counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The beginning of the text.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place of the character number `offset`, counted from 0.
    pub fn of_character(text: &str, offset: usize) -> Self {
        let before = text.chars().take(offset);
        let (mut line, mut column) = (1, 1);
        for character in before {
            if character == '\n' {
                line += 1;
                column = 1;
            } else {
                column += 1;
            }
        }
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A condition cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {reason}")]
pub struct ConditionError {
    /// Where in its text.
    pub position: Position,
    /// Why, and what to do.
    pub reason: String,
}

impl ConditionError {
    pub(crate) fn new(position: Position, reason: impl Into<String>) -> Self {
        Self { position, reason: reason.into() }
    }

    pub(crate) fn at_start(reason: impl Into<String>) -> Self {
        Self::new(Position::START, reason)
    }
}

/// A condition has no value, by what its metrics were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Neither a number nor infinite: 0 / 0, a metric that is NaN.
    #[error("not a number")]
    NotANumber,
    /// A number is too large.
    #[error("the number is out of range")]
    Overflow,
    /// An operator or function cannot be applied to a value.
    #[error("{operation} cannot be applied to {found}")]
    Type {
        /// Operator or function.
        operation: &'static str,
        /// The types of its operands.
        found: String,
    },
    /// A text or list is longer than permitted, or too many steps were taken.
    #[error("the condition takes more than it may: {0}")]
    Limit(&'static str),
    /// An index or key that is not there.
    #[error("there is no element {0}")]
    Element(String),
}

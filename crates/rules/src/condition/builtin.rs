//! The functions of values.

use std::rc::Rc;

use fieldline_model::TEXT_BYTES_MAX;

use super::dynamic::{Dynamic, Text};
use super::error::EvaluationError;
use super::evaluate::mismatch;
use super::node::Builtin;

/// How many steps a call counts for: texts are read through.
pub(super) fn weight(arguments: &[Dynamic<'_>]) -> usize {
    let length = |value: &Dynamic<'_>| match value {
        Dynamic::Text(text) => text.as_str().len() / 64,
        _ => 0,
    };
    arguments.iter().map(length).sum()
}

/// How many bytes a call may make.
pub(super) fn bytes(function: Builtin) -> usize {
    if function == Builtin::String { 64 } else { 0 }
}

/// Calls a function; none of the arguments is unknown, and their number is right.
pub(super) fn call<'a>(function: Builtin, arguments: &[Dynamic<'a>]) -> Result<Dynamic<'a>, EvaluationError> {
    let wrong = || mismatch(function.name(), &arguments.iter().collect::<Vec<_>>());
    match (function, arguments) {
        (Builtin::Size, [Dynamic::List(items)]) => Ok(integer(items.len())),
        (Builtin::Size, [Dynamic::Text(text)]) => Ok(integer(text.as_str().chars().count())),
        (Builtin::Contains, [Dynamic::Text(a), Dynamic::Text(b)]) => {
            Ok(Dynamic::Boolean(a.as_str().contains(b.as_str())))
        }
        (Builtin::StartsWith, [Dynamic::Text(a), Dynamic::Text(b)]) => {
            Ok(Dynamic::Boolean(a.as_str().starts_with(b.as_str())))
        }
        (Builtin::EndsWith, [Dynamic::Text(a), Dynamic::Text(b)]) => {
            Ok(Dynamic::Boolean(a.as_str().ends_with(b.as_str())))
        }
        (Builtin::Int, [value]) => whole(value).ok_or_else(wrong)?,
        (Builtin::Double, [Dynamic::Text(text)]) => {
            text.as_str().trim().parse().map_err(|_| EvaluationError::NotANumber).and_then(Dynamic::of_result)
        }
        (Builtin::Double, [value]) => value.as_f64().map(Dynamic::of_result).ok_or_else(wrong)?,
        (Builtin::String, [value]) => text(value).ok_or_else(wrong),
        (Builtin::Abs, [Dynamic::Integer(value)]) => {
            value.checked_abs().map(Dynamic::Integer).ok_or(EvaluationError::Overflow)
        }
        (Builtin::Floor | Builtin::Ceil | Builtin::Round, [Dynamic::Integer(value)]) => {
            Ok(Dynamic::Integer(*value))
        }
        (Builtin::Least, [a, b]) => extreme(a, b, true).ok_or_else(wrong),
        (Builtin::Greatest, [a, b]) => extreme(a, b, false).ok_or_else(wrong),
        (_, [value]) => {
            let result = value.as_f64().and_then(|number| of_one(function, number));
            result.map_or_else(|| Err(wrong()), Dynamic::of_result)
        }
        _ => Err(wrong()),
    }
}

/// None: it is no function of a number.
fn of_one(function: Builtin, value: f64) -> Option<f64> {
    Some(match function {
        Builtin::Abs => value.abs(),
        Builtin::Floor => value.floor(),
        Builtin::Ceil => value.ceil(),
        Builtin::Round => value.round(),
        Builtin::Sqrt => value.sqrt(),
        _ => return None,
    })
}

fn integer<'a>(count: usize) -> Dynamic<'a> {
    Dynamic::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Towards zero, as in CEL.
fn whole<'a>(value: &Dynamic<'a>) -> Option<Result<Dynamic<'a>, EvaluationError>> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Dynamic::Integer(value) => Some(Ok(Dynamic::Integer(*value))),
        Dynamic::Float(value) if *value >= BEYOND || *value < -BEYOND => Some(Err(EvaluationError::Overflow)),
        Dynamic::Float(value) => Some(Ok(Dynamic::Integer(value.trunc() as i64))),
        Dynamic::Text(text) => {
            Some(text.as_str().trim().parse().map(Dynamic::Integer).map_err(|_| EvaluationError::NotANumber))
        }
        _ => None,
    }
}

fn text<'a>(value: &Dynamic<'a>) -> Option<Dynamic<'a>> {
    let made = match value {
        Dynamic::Text(_) => return Some(value.clone()),
        Dynamic::Boolean(value) => value.to_string(),
        Dynamic::Integer(value) => value.to_string(),
        Dynamic::Float(value) => super::display::number(*value),
        _ => return None,
    };
    debug_assert!(made.len() <= TEXT_BYTES_MAX, "a number is short");
    Some(Dynamic::Text(Text::Made(Rc::from(made))))
}

fn extreme<'a>(a: &Dynamic<'a>, b: &Dynamic<'a>, least: bool) -> Option<Dynamic<'a>> {
    a.as_f64().and(b.as_f64())?;
    let order = a.order(b)?;
    let first = if least { order.is_le() } else { order.is_ge() };
    Some(if first { a.clone() } else { b.clone() })
}

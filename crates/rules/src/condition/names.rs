//! Which metric and which feature an expression names.

use std::time::Duration;

use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::parser::Expression;
use fieldline_model::{DeviceId, Metric};

use super::error::ConditionError;
use super::lower::Lowering;
use crate::{Argument, COUNT_MAX, COUNT_MIN, EXTENT_MAX, EXTENT_MIN, Extent, FeatureSpec, Function, Input};

/// `temperature`, `cpu.usage`, `metric("…")`, `value("…", "…")`, `device("…").temperature`.
pub(super) fn metric_of(lowering: &Lowering<'_>, at: &Expression) -> Result<Input, ConditionError> {
    match &at.expr {
        Expr::Ident(name) if lowering.is_element(name) => {
            Err(lowering.error(at, format!("{name} is an element of a list here, not a metric")))
        }
        Expr::Ident(name) => input(lowering, at, None, name),
        Expr::Select(select) => path(lowering, at, select),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("metric", [name]) => input(lowering, at, None, text(lowering, name)?),
            ("value", [device, name]) => {
                input(lowering, at, Some(text(lowering, device)?), text(lowering, name)?)
            }
            ("metric", _) => Err(lowering.error(at, "metric(\"name\") takes one text")),
            ("value", _) => Err(lowering.error(at, "value(\"device\", \"metric\") takes two texts")),
            _ => Err(lowering.error(at, NO_METRIC)),
        },
        _ => Err(lowering.error(at, NO_METRIC)),
    }
}

const NO_METRIC: &str =
    "a metric is expected here: temperature, metric(\"a name\"), device(\"name\").temperature";

/// Names joined by dots, perhaps after `device("…")`.
fn path(lowering: &Lowering<'_>, at: &Expression, select: &SelectExpr) -> Result<Input, ConditionError> {
    let mut parts = vec![select.field.as_str()];
    let mut operand = select.operand.as_ref();
    loop {
        match &operand.expr {
            Expr::Select(inner) => {
                parts.push(&inner.field);
                operand = &inner.operand;
            }
            Expr::Ident(name) if lowering.is_element(name) => {
                return Err(lowering.error(at, format!("{name} is an element of a list, it has no parts")));
            }
            Expr::Ident(name) => {
                parts.push(name);
                return joined(lowering, at, None, &parts);
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == "device" => {
                let [device] = args.as_slice() else {
                    return Err(lowering.error(operand, "device(\"name\") takes one text"));
                };
                return joined(lowering, at, Some(text(lowering, device)?), &parts);
            }
            _ => return Err(lowering.error(operand, "only a device has parts: device(\"name\").temperature")),
        }
    }
}

fn joined(
    lowering: &Lowering<'_>,
    at: &Expression,
    device: Option<&str>,
    parts: &[&str],
) -> Result<Input, ConditionError> {
    let parts: Vec<&str> = parts.iter().rev().copied().collect();
    input(lowering, at, device, &parts.join("."))
}

fn input(
    lowering: &Lowering<'_>,
    at: &Expression,
    device: Option<&str>,
    metric: &str,
) -> Result<Input, ConditionError> {
    let device =
        device.map(DeviceId::new).transpose().map_err(|error| lowering.error(at, error.to_string()))?;
    let metric = Metric::new(metric).map_err(|error| lowering.error(at, error.to_string()))?;
    Ok(Input { device, metric })
}

/// The feature that a call of `function` asks for.
pub(super) fn feature_of(
    lowering: &Lowering<'_>,
    at: &Expression,
    function: Function,
    arguments: &[Expression],
) -> Result<FeatureSpec, ConditionError> {
    let wanted = function.arguments();
    let (Some(metric), true) = (arguments.first(), arguments.len() == wanted.len()) else {
        let reason = format!("{} is called as {}", function.name(), function.usage());
        return Err(lowering.error(at, reason));
    };
    let input = metric_of(lowering, metric)?;
    let mut spec = FeatureSpec { function, input, extent: None, parameters: Vec::new() };
    for (argument, wanted) in arguments.iter().zip(wanted).skip(1) {
        let found = match wanted {
            Argument::Metric => continue,
            Argument::Window | Argument::Duration => {
                extent(argument, *wanted == Argument::Window).map(|extent| spec.extent = Some(extent))
            }
            Argument::Weight | Argument::Number => {
                parameter(argument, *wanted).map(|value| spec.parameters.push(value))
            }
        };
        found.map_err(|reason| {
            lowering
                .error(argument, format!("{reason}; {} is called as {}", function.name(), function.usage()))
        })?;
    }
    Ok(spec)
}

fn extent(at: &Expression, counts: bool) -> Result<Extent, String> {
    match &at.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            let time = humantime::parse_duration(text.inner())
                .map_err(|_| format!("{:?} is no duration", text.inner()))?;
            within(time)?;
            Ok(Extent::Duration(time))
        }
        Expr::Literal(LiteralValue::Int(count)) if counts => match u32::try_from(*count.inner()) {
            Ok(count) if (COUNT_MIN..=COUNT_MAX).contains(&count) => Ok(Extent::Count(count)),
            _ => Err(format!("a window has {COUNT_MIN} to {COUNT_MAX} samples")),
        },
        _ if counts => Err("a duration or a number of samples is expected here, as a constant".to_owned()),
        _ => Err("a duration is expected here, as a constant".to_owned()),
    }
}

fn within(time: Duration) -> Result<(), String> {
    if (EXTENT_MIN..=EXTENT_MAX).contains(&time) {
        Ok(())
    } else {
        Err("a window lasts 1 s to 366 days".to_owned())
    }
}

fn parameter(at: &Expression, wanted: Argument) -> Result<f64, String> {
    let value = constant(at).ok_or("a number is expected here, as a constant")?;
    if wanted == Argument::Weight && !(value > 0.0 && value <= 1.0) {
        return Err("a weight is more than 0 and at most 1".to_owned());
    }
    Ok(value)
}

/// A finite number, perhaps with its sign.
fn constant(at: &Expression) -> Option<f64> {
    match &at.expr {
        Expr::Literal(LiteralValue::Int(value)) => Some(*value.inner() as f64),
        Expr::Literal(LiteralValue::Double(value)) => Some(*value.inner()).filter(|value| value.is_finite()),
        Expr::Call(call) if call.func_name == operators::NEGATE => {
            call.args.first().and_then(constant).map(|v| -v)
        }
        _ => None,
    }
}

fn text<'a>(lowering: &Lowering<'_>, at: &'a Expression) -> Result<&'a str, ConditionError> {
    match &at.expr {
        Expr::Literal(LiteralValue::String(text)) => Ok(text.inner()),
        _ => Err(lowering.error(at, "a text is expected here, as a constant")),
    }
}

//! Values and names as people read them.

use fieldline_model::ValueRef;

use crate::{Extent, FeatureSpec, Input};

/// A number with all its digits, as JSON would have it; very large and very small ones with an exponent.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-6..1e16).contains(&size) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// A value with all its digits.
pub(crate) fn value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Boolean(value) => value.to_string(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Float(value) => number(value),
        ValueRef::Text(text) => text.to_owned(),
    }
}

/// The source text of a metric.
pub(crate) fn input(input: &Input) -> String {
    let metric = input.metric.as_str();
    match &input.device {
        Some(device) if is_identifier(metric) => format!("device({:?}).{metric}", device.as_str()),
        Some(device) => format!("value({:?}, {metric:?})", device.as_str()),
        None if is_identifier(metric) => metric.to_owned(),
        None => format!("metric({metric:?})"),
    }
}

/// The source text of a feature.
pub(crate) fn feature(spec: &FeatureSpec) -> String {
    let mut arguments = vec![input(&spec.input)];
    arguments.extend(spec.parameters.iter().map(|parameter| number(*parameter)));
    match spec.extent {
        Some(Extent::Duration(time)) => {
            let time = humantime::format_duration(time).to_string();
            arguments.push(format!("\"{}\"", time.replace(' ', "")));
        }
        Some(Extent::Count(count)) => arguments.push(count.to_string()),
        None => {}
    }
    format!("{}({})", spec.function.name(), arguments.join(", "))
}

/// Whether CEL reads it as a name, dots included.
fn is_identifier(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut characters = part.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

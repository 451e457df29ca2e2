use std::borrow::Cow;

use fieldline_model::Metric;

use super::json::text;
use super::value::{Refusal, Scalar, json_scalar, number};
use super::{Context, ParseError, Parsed};

pub(super) fn parse(
    payload: &[u8],
    context: &Context<'_>,
    metric: &Metric,
    parsed: &mut Parsed,
) -> Result<(), ParseError> {
    let text = text(payload)?.trim();
    if text.is_empty() {
        return Err(ParseError::Shape { what: "an empty payload is no value".to_owned() });
    }
    let value = scalar(text);
    let value = value.as_ref().map(Scalar::as_ref).map_err(|refusal| *refusal);
    parsed.add(context.device, metric.as_str(), context.now, value);
    Ok(())
}

fn scalar(text: &str) -> Result<Scalar<'_>, Refusal> {
    if let Some(value) = number(text) {
        return value;
    }
    let nothing = ["nan", "inf", "infinity", "null"];
    let word = text.trim_start_matches(['-', '+']);
    if nothing.iter().any(|nothing| word.eq_ignore_ascii_case(nothing)) {
        return Err(Refusal::value("neither a number nor a text: NaN, an infinity or null"));
    }
    match text.as_bytes() {
        b"true" | b"false" | [b'{', ..] | [b'[', ..] => json_scalar(text),
        // A text that only begins like JSON is still a text.
        [b'"', ..] => match serde_json::from_str::<String>(text) {
            Ok(inner) => Ok(Scalar::Text(Cow::Owned(inner))),
            Err(_) => Ok(Scalar::Text(Cow::Borrowed(text))),
        },
        _ => Ok(Scalar::Text(Cow::Borrowed(text))),
    }
}

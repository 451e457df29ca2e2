use fieldline_model::Metric;

use super::{Context, ParseError, Parsed};

pub(super) fn parse(_: &[u8], _: &Context<'_>, _: &Metric, _: &mut Parsed) -> Result<(), ParseError> {
    Err(ParseError::Shape { what: String::new() })
}

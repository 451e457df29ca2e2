use super::{Context, ParseError, Parsed};

pub(super) fn parse(_: &[u8], _: &Context<'_>, _: &mut Parsed) -> Result<(), ParseError> {
    Err(ParseError::Shape { what: String::new() })
}

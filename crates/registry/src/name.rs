//! Which names AWS IoT takes (the patterns of its service model).

use fieldline_model::ThingName;

use crate::Error;

/// The longest name of a policy, a type, a group or an attribute, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 2028;

/// Checks the name of a thing, a thing type or a thing group: `[a-zA-Z0-9:_-]{1,128}`.
pub(crate) fn thing_like(text: &str) -> Result<(), Error> {
    ThingName::check(text).map_err(|error| Error::invalid(error.to_string()))
}

/// Checks the name of a policy: `[\w+=,.@-]{1,128}`.
pub(crate) fn policy(text: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(fits) {
        true => Ok(()),
        false => Err(Error::invalid("a policy name has 1 to 128 characters of a-z A-Z 0-9 _ + = , . @ -")),
    }
}

/// Checks the id of a certificate: 64 hexadecimal digits.
pub(crate) fn certificate_id(text: &str) -> Result<(), Error> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(Error::invalid("a certificate id has 64 hexadecimal digits")),
    }
}

/// Checks a description: graphic characters and blanks, 2028 at most.
pub(crate) fn description(text: &str) -> Result<(), Error> {
    match text.chars().count() <= DESCRIPTION_MAX && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Error::invalid("a description has 2028 characters at most and no control characters")),
    }
}

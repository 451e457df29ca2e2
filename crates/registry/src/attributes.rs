use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Error;

/// Attributes of a thing without a type.
pub const ATTRIBUTES_MAX: usize = 3;
/// Attributes of a thing with a type, and of a group.
pub const ATTRIBUTES_WITH_TYPE_MAX: usize = 50;

const NAME_MAX: usize = 128;
const VALUE_MAX: usize = 800;

/// Attributes as requests have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AttributePayload {
    /// Names and values; none changes nothing.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Whether they are added to those that are there, instead of in their place.
    pub merge: bool,
}

impl AttributePayload {
    /// What becomes of `before`. An empty value removes an attribute.
    pub(crate) fn applied_to(
        self,
        before: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let Some(attributes) = self.attributes else { return Ok(before.clone()) };
        let mut after = if self.merge { before.clone() } else { BTreeMap::new() };
        for (name, value) in attributes {
            check(&name, &value)?;
            if value.is_empty() {
                after.remove(&name);
            } else {
                after.insert(name, value);
            }
        }
        Ok(after)
    }
}

/// Checks how many there are.
pub(crate) fn check_count(attributes: &BTreeMap<String, String>, has_type: bool) -> Result<(), Error> {
    let max = if has_type { ATTRIBUTES_WITH_TYPE_MAX } else { ATTRIBUTES_MAX };
    match attributes.len() <= max {
        true => Ok(()),
        false if has_type => Err(Error::invalid(format!("there are {max} attributes at most"))),
        false => Err(Error::invalid(format!(
            "a thing without a thing type has {max} attributes at most, one with a type {ATTRIBUTES_WITH_TYPE_MAX}"
        ))),
    }
}

/// Names: `[a-zA-Z0-9_.,@/:#-]{1,128}`; values: those and `= [ ]`, 800 at most.
fn check(name: &str, value: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.,@/:#-".contains(c);
    if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(plain) {
        return Err(Error::invalid(
            "an attribute's name has 1 to 128 characters of a-z A-Z 0-9 _ . , @ / : # -",
        ));
    }
    if value.len() > VALUE_MAX || !value.chars().all(|c| plain(c) || "=[]".contains(c)) {
        return Err(Error::invalid(format!(
            "the value of attribute {name} has 800 characters at most, of a-z A-Z 0-9 _ . , @ / : # = [ ] -"
        )));
    }
    Ok(())
}

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arn::ArnKind;
use crate::attributes::{AttributePayload, check_count};
use crate::change::{Change, Kind, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Checked, Error, Fresh, name};

/// A thing: a device or a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    /// Its name, which never changes.
    pub name: String,
    /// A UUID.
    pub id: String,
    /// Its type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Grows by one with each update.
    pub version: u64,
    /// The ids of the certificates that it is attached to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub principals: BTreeSet<String>,
    /// The groups that it is in itself, not through their parents.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
}

impl Thing {
    /// Its ARN.
    pub fn arn(&self) -> String {
        ArnKind::Thing.of(&self.name)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateThing {
    /// Its name.
    pub name: String,
    /// Its type, which must be there and not deprecated.
    pub type_name: Option<String>,
    /// Its attributes.
    pub attributes: AttributePayload,
}

/// What is to change; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateThing {
    /// Another type.
    pub type_name: Option<String>,
    /// No type any more.
    pub remove_type: bool,
    /// Other attributes.
    pub attributes: Option<AttributePayload>,
    /// The version that the caller knows; 0 and none stand for any.
    pub expected_version: Option<u64>,
}

/// Which things are listed; what is none lets all through.
#[derive(Debug, Clone, Default)]
pub struct ThingFilter {
    /// Those with this attribute.
    pub attribute_name: Option<String>,
    /// Those whose attribute has this value; it needs the name.
    pub attribute_value: Option<String>,
    /// The value is a prefix.
    pub prefix: bool,
    /// Those of this type.
    pub type_name: Option<String>,
}

impl ThingFilter {
    fn takes(&self, thing: &Thing) -> bool {
        if self.type_name.is_some() && self.type_name != thing.type_name {
            return false;
        }
        let Some(name) = &self.attribute_name else { return true };
        match (thing.attributes.get(name), &self.attribute_value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(wanted)) if self.prefix => value.starts_with(wanted.as_str()),
            (Some(value), Some(wanted)) => value == wanted,
        }
    }
}

impl Registry {
    /// CreateThing. The same request again succeeds and changes nothing.
    ///
    /// # Errors
    /// A name or attribute is not as it should be, the type is not there or deprecated, or there is a
    /// different thing of this name.
    pub fn create_thing(&self, request: CreateThing, fresh: Fresh) -> Checked<Thing> {
        name::thing_like(&request.name)?;
        if let Some(type_name) = &request.type_name {
            self.check_type(type_name)?;
        }
        let attributes = request.attributes.applied_to(&BTreeMap::new())?;
        check_count(&attributes, request.type_name.is_some())?;
        if let Some(thing) = self.things.get(&request.name) {
            if thing.type_name == request.type_name && thing.attributes == attributes {
                return Ok((thing.clone(), Vec::new()));
            }
            return Err(Error::Exists {
                kind: "Thing",
                name: request.name,
                resource_id: thing.id.clone(),
                resource_arn: thing.arn(),
            });
        }
        let thing = Thing {
            name: request.name,
            id: fresh.uuid(),
            type_name: request.type_name,
            attributes,
            version: 1,
            principals: BTreeSet::new(),
            groups: BTreeSet::new(),
            created_ms: fresh.now_ms,
        };
        Ok((thing.clone(), vec![Change::Put(Record::Thing(thing))]))
    }

    /// UpdateThing.
    ///
    /// # Errors
    /// There is no such thing or type, it has another version, or the attributes are not as they should be.
    pub fn update_thing(&self, name: &str, request: UpdateThing) -> Checked<Thing> {
        let mut thing = self.thing(name)?.clone();
        check_version("Thing", name, request.expected_version, thing.version)?;
        match (&request.type_name, request.remove_type) {
            (Some(_), true) => {
                return Err(Error::invalid("a thing type is given and is to be removed at the same time"));
            }
            (Some(type_name), false) => {
                if thing.type_name.as_ref() != Some(type_name) {
                    self.check_type(type_name)?;
                }
                thing.type_name = request.type_name;
            }
            (None, true) => thing.type_name = None,
            (None, false) => {}
        }
        if let Some(payload) = request.attributes {
            thing.attributes = payload.applied_to(&thing.attributes)?;
        }
        check_count(&thing.attributes, thing.type_name.is_some())?;
        thing.version += 1;
        Ok((thing.clone(), vec![Change::Put(Record::Thing(thing))]))
    }

    /// DeleteThing. One that is not there is no error, as at AWS.
    ///
    /// # Errors
    /// It has another version, or is still attached to certificates.
    pub fn delete_thing(&self, name: &str, expected_version: Option<u64>) -> Checked<()> {
        name::thing_like(name)?;
        let Some(thing) = self.things.get(name) else { return Ok(((), Vec::new())) };
        check_version("Thing", name, expected_version, thing.version)?;
        if !thing.principals.is_empty() {
            return Err(Error::invalid(format!(
                "Cannot delete. Thing {name} is still attached to one or more principals"
            )));
        }
        Ok(((), vec![Change::gone(Kind::Thing, name)]))
    }

    /// ListThings: by name, those after `after`.
    ///
    /// # Errors
    /// A value to filter by has no name.
    pub fn list_things(
        &self,
        filter: &ThingFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&Thing>, Error> {
        if filter.attribute_value.is_some() && filter.attribute_name.is_none() {
            return Err(Error::invalid("attributeValue needs attributeName"));
        }
        let of_type = filter.type_name.as_deref().map(|name| Self::linked(&self.things_of_type, name));
        let key = |thing: &&Thing| thing.name.clone();
        let wanted =
            |thing: &&Thing| after.is_none_or(|after| thing.name.as_str() > after) && filter.takes(thing);
        Ok(match of_type {
            Some(names) => {
                Page::of(names.filter_map(|name| self.things.get(name)).filter(wanted), limit, key)
            }
            None => {
                let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
                let range = self.things.range::<str, _>((from, std::ops::Bound::Unbounded));
                Page::of(range.map(|(_, thing)| thing).filter(wanted), limit, key)
            }
        })
    }

    fn check_type(&self, type_name: &str) -> Result<(), Error> {
        match self.thing_type(type_name)?.deprecated_ms {
            Some(_) => Err(Error::invalid(format!("Can not use deprecated thing type {type_name}"))),
            None => Ok(()),
        }
    }
}

/// None and 0 stand for any version.
pub(crate) fn check_version(
    kind: &'static str,
    name: &str,
    expected: Option<u64>,
    found: u64,
) -> Result<(), Error> {
    match expected.filter(|expected| *expected != 0 && *expected != found) {
        Some(expected) => Err(Error::Version { kind, name: name.to_owned(), expected, found }),
        None => Ok(()),
    }
}

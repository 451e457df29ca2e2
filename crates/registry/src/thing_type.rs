use serde::{Deserialize, Serialize};

use crate::arn::ArnKind;
use crate::change::{Change, Kind, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Checked, Error, Fresh, name};

/// Searchable attributes of a type at most.
const SEARCHABLE_MAX: usize = 3;
/// From the deprecation of a type until it can be deleted.
const DEPRECATED_FOR_MS: i64 = 5 * 60 * 1000;

/// A thing type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingType {
    /// Its name.
    pub name: String,
    /// A UUID.
    pub id: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of attributes; kept, and of no other use here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searchable: Vec<String>,
    /// Since when no new thing may have it: milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_ms: Option<i64>,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
}

impl ThingType {
    /// Its ARN.
    pub fn arn(&self) -> String {
        ArnKind::ThingType.of(&self.name)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateThingType {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Names of attributes.
    pub searchable: Vec<String>,
}

impl Registry {
    /// CreateThingType. The same request again succeeds and changes nothing.
    ///
    /// # Errors
    /// A name is not as it should be, or there is a different type of this name.
    pub fn create_thing_type(&self, request: CreateThingType, fresh: Fresh) -> Checked<ThingType> {
        name::thing_like(&request.name)?;
        request.description.as_deref().map_or(Ok(()), name::description)?;
        if request.searchable.len() > SEARCHABLE_MAX {
            return Err(Error::invalid(format!(
                "a thing type has {SEARCHABLE_MAX} searchable attributes at most"
            )));
        }
        if let Some(found) = self.types.get(&request.name) {
            if found.description == request.description && found.searchable == request.searchable {
                return Ok((found.clone(), Vec::new()));
            }
            return Err(Error::Exists {
                kind: "Thing type",
                name: request.name,
                resource_id: found.id.clone(),
                resource_arn: found.arn(),
            });
        }
        let thing_type = ThingType {
            name: request.name,
            id: fresh.uuid(),
            description: request.description,
            searchable: request.searchable,
            deprecated_ms: None,
            created_ms: fresh.now_ms,
        };
        Ok((thing_type.clone(), vec![Change::Put(Record::ThingType(thing_type))]))
    }

    /// DeprecateThingType, or its undoing.
    ///
    /// # Errors
    /// There is no such type.
    pub fn deprecate_thing_type(&self, name: &str, undo: bool, fresh: Fresh) -> Checked<()> {
        let mut thing_type = self.thing_type(name)?.clone();
        thing_type.deprecated_ms = match undo {
            true => None,
            // Again is not anew: the five minutes count from the first time.
            false => thing_type.deprecated_ms.or(Some(fresh.now_ms)),
        };
        Ok(((), vec![Change::Put(Record::ThingType(thing_type))]))
    }

    /// DeleteThingType.
    ///
    /// # Errors
    /// There is no such type, a thing has it, or it has not been deprecated for five minutes.
    pub fn delete_thing_type(&self, name: &str, fresh: Fresh) -> Checked<()> {
        let thing_type = self.thing_type(name)?;
        if let Some(thing) = Self::linked(&self.things_of_type, name).next() {
            return Err(Error::invalid(format!("Cannot delete thing type {name}: thing {thing} has it")));
        }
        match thing_type.deprecated_ms {
            Some(since) if fresh.now_ms - since >= DEPRECATED_FOR_MS => {
                Ok(((), vec![Change::gone(Kind::ThingType, name)]))
            }
            _ => Err(Error::invalid(format!(
                "Thing type {name} must be deprecated for 5 minutes before it can be deleted"
            ))),
        }
    }

    /// ListThingTypes: by name, those after `after`; only the one named, where one is.
    pub fn list_thing_types(
        &self,
        only: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Page<&ThingType> {
        let wanted = |thing_type: &&ThingType| {
            only.is_none_or(|only| thing_type.name == only)
                && after.is_none_or(|after| thing_type.name.as_str() > after)
        };
        Page::of(self.types.values().filter(wanted), limit, |thing_type| thing_type.name.clone())
    }
}

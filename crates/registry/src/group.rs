use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arn::ArnKind;
use crate::attributes::{AttributePayload, check_count};
use crate::change::{Change, Kind, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::thing::check_version;
use crate::{Checked, Error, Fresh, Thing, name};

/// Levels of groups below each other at most.
const DEPTH_MAX: usize = 7;
/// Groups that a thing is in itself at most.
const GROUPS_OF_THING_MAX: usize = 10;

/// A static thing group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// A UUID.
    pub id: String,
    /// The group that it is in; it never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Grows by one with each update.
    pub version: u64,
    /// Names of the policies that are attached to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
}

impl Group {
    /// Its ARN.
    pub fn arn(&self) -> String {
        ArnKind::ThingGroup.of(&self.name)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateGroup {
    /// Its name.
    pub name: String,
    /// The group that it is to be in.
    pub parent: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its attributes.
    pub attributes: AttributePayload,
}

/// What is to change; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateGroup {
    /// What it is.
    pub description: Option<String>,
    /// Other attributes.
    pub attributes: Option<AttributePayload>,
    /// The version that the caller knows; 0 and none stand for any.
    pub expected_version: Option<u64>,
}

/// Which groups are listed; what is none lets all through.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Those in this group.
    pub parent: Option<String>,
    /// Those whose name begins so.
    pub prefix: Option<String>,
    /// Those in groups in the parent too; without a parent, those that are in no group only if false.
    pub recursive: Option<bool>,
}

impl Registry {
    /// CreateThingGroup. The same request again succeeds and changes nothing.
    ///
    /// # Errors
    /// Names or attributes are not as they should be, there is no such parent, groups would be nested too
    /// deeply, or there is a different group of this name.
    pub fn create_group(&self, request: CreateGroup, fresh: Fresh) -> Checked<Group> {
        name::thing_like(&request.name)?;
        request.description.as_deref().map_or(Ok(()), name::description)?;
        if let Some(parent) = &request.parent {
            self.group(parent)?;
            if self.lineage(parent).count() >= DEPTH_MAX {
                return Err(Error::invalid(format!(
                    "thing groups are nested {DEPTH_MAX} levels deep at most"
                )));
            }
        }
        let attributes = request.attributes.applied_to(&BTreeMap::new())?;
        check_count(&attributes, true)?;
        if let Some(found) = self.groups.get(&request.name) {
            let same = found.parent == request.parent
                && found.description == request.description
                && found.attributes == attributes;
            if same {
                return Ok((found.clone(), Vec::new()));
            }
            return Err(Error::Exists {
                kind: "Thing group",
                name: request.name,
                resource_id: found.id.clone(),
                resource_arn: found.arn(),
            });
        }
        let group = Group {
            name: request.name,
            id: fresh.uuid(),
            parent: request.parent,
            description: request.description,
            attributes,
            version: 1,
            policies: BTreeSet::new(),
            created_ms: fresh.now_ms,
        };
        Ok((group.clone(), vec![Change::Put(Record::Group(group))]))
    }

    /// UpdateThingGroup.
    ///
    /// # Errors
    /// There is no such group, it has another version, or the request is not as it should be.
    pub fn update_group(&self, name: &str, request: UpdateGroup) -> Checked<u64> {
        let mut group = self.group(name)?.clone();
        check_version("Thing group", name, request.expected_version, group.version)?;
        if let Some(description) = request.description {
            name::description(&description)?;
            group.description = Some(description);
        }
        if let Some(payload) = request.attributes {
            group.attributes = payload.applied_to(&group.attributes)?;
            check_count(&group.attributes, true)?;
        }
        group.version += 1;
        Ok((group.version, vec![Change::Put(Record::Group(group))]))
    }

    /// DeleteThingGroup. Its things are in it no more; a group that is not there is no error, as at AWS.
    ///
    /// # Errors
    /// It has another version, or groups in it.
    pub fn delete_group(&self, name: &str, expected_version: Option<u64>) -> Checked<()> {
        name::thing_like(name)?;
        let Some(group) = self.groups.get(name) else { return Ok(((), Vec::new())) };
        check_version("Thing group", name, expected_version, group.version)?;
        if let Some(child) = Self::linked(&self.children_of_group, name).next() {
            return Err(Error::invalid(format!(
                "Cannot delete thing group {name} while it has child groups, such as {child}"
            )));
        }
        let things = Self::linked(&self.things_of_group, name).filter_map(|thing| self.things.get(thing));
        let mut changes: Vec<Change> = things
            .map(|thing| {
                let mut thing = thing.clone();
                thing.groups.remove(name);
                Change::Put(Record::Thing(thing))
            })
            .collect();
        changes.push(Change::gone(Kind::Group, name));
        Ok(((), changes))
    }

    /// AddThingToThingGroup. A thing that is in it already is no error.
    ///
    /// # Errors
    /// One of them is not there, or the thing is in ten groups or in another one of the same hierarchy.
    pub fn add_to_group(&self, thing: &str, group: &str) -> Checked<()> {
        let mut thing = self.thing(thing)?.clone();
        self.group(group)?;
        if thing.groups.contains(group) {
            return Ok(((), Vec::new()));
        }
        if thing.groups.len() >= GROUPS_OF_THING_MAX {
            return Err(Error::invalid(format!("a thing is in {GROUPS_OF_THING_MAX} groups at most")));
        }
        let root = |group: &str| self.lineage(group).last().map(|group| group.name.clone());
        let wanted = root(group);
        if let Some(other) = thing.groups.iter().find(|other| root(other) == wanted) {
            return Err(Error::invalid(format!(
                "thing {} is in group {other}, which is in the same hierarchy as {group}",
                thing.name
            )));
        }
        thing.groups.insert(group.to_owned());
        Ok(((), vec![Change::Put(Record::Thing(thing))]))
    }

    /// RemoveThingFromThingGroup. A thing that is not in it is no error.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn remove_from_group(&self, thing: &str, group: &str) -> Checked<()> {
        let mut thing = self.thing(thing)?.clone();
        self.group(group)?;
        let changes = match thing.groups.remove(group) {
            true => vec![Change::Put(Record::Thing(thing))],
            false => Vec::new(),
        };
        Ok(((), changes))
    }

    /// A group and the groups around it, from the inside out. It ends, for a parent never changes.
    pub fn lineage<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a Group> {
        std::iter::successors(self.groups.get(group), |group| self.groups.get(group.parent.as_ref()?))
            .take(DEPTH_MAX)
    }

    /// The groups that a thing is in, and those around them.
    pub fn groups_of<'a>(&'a self, thing: &'a Thing) -> impl Iterator<Item = &'a Group> {
        thing.groups.iter().flat_map(|group| self.lineage(group))
    }

    /// ListThingGroups: by name, those after `after`.
    ///
    /// # Errors
    /// There is no such parent.
    pub fn list_groups(
        &self,
        filter: &GroupFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&Group>, Error> {
        if let Some(parent) = &filter.parent {
            self.group(parent)?;
        }
        let wanted = |group: &&Group| {
            let below = match (&filter.parent, filter.recursive) {
                (None, None | Some(true)) => true,
                (None, Some(false)) => group.parent.is_none(),
                (Some(parent), Some(true)) => {
                    self.lineage(&group.name).skip(1).any(|above| above.name == *parent)
                }
                (Some(parent), _) => group.parent.as_ref() == Some(parent),
            };
            below
                && after.is_none_or(|after| group.name.as_str() > after)
                && filter.prefix.as_ref().is_none_or(|prefix| group.name.starts_with(prefix.as_str()))
        };
        Ok(Page::of(self.groups.values().filter(wanted), limit, |group| group.name.clone()))
    }

    /// ListThingsInThingGroup: by name, those after `after`; those in groups in it too if `recursive`.
    ///
    /// # Errors
    /// There is no such group.
    pub fn list_things_in_group(
        &self,
        group: &str,
        recursive: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&str>, Error> {
        self.group(group)?;
        let mut groups = vec![group];
        let mut things: BTreeSet<&str> = BTreeSet::new();
        while let Some(group) = groups.pop() {
            things.extend(Self::linked(&self.things_of_group, group));
            if recursive {
                groups.extend(Self::linked(&self.children_of_group, group));
            }
        }
        let wanted = things.into_iter().filter(|thing| after.is_none_or(|after| *thing > after));
        Ok(Page::of(wanted, limit, |thing| (*thing).to_owned()))
    }

    /// ListThingGroupsForThing: the groups that it is in itself, by name, those after `after`.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn list_groups_of(
        &self,
        thing: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&Group>, Error> {
        let groups = self.thing(thing)?.groups.iter().filter_map(|group| self.groups.get(group));
        let wanted = groups.filter(|group| after.is_none_or(|after| group.name.as_str() > after));
        Ok(Page::of(wanted, limit, |group| group.name.clone()))
    }
}

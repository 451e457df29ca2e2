use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Certificate, Change, Error, Group, Kind, Policy, Record, Thing, ThingType};

/// Names that stand in relation to one.
pub(crate) type Index = HashMap<String, BTreeSet<String>>;

/// Everything that is registered, in memory.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub(crate) things: BTreeMap<String, Thing>,
    pub(crate) types: BTreeMap<String, ThingType>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) certificates: BTreeMap<String, Certificate>,
    /// The same by the time of their creation.
    pub(crate) certificates_by_age: BTreeSet<(i64, String)>,
    pub(crate) policies: BTreeMap<String, Policy>,
    /// Which things a certificate is attached to.
    pub(crate) things_of_certificate: Index,
    pub(crate) things_of_type: Index,
    pub(crate) things_of_group: Index,
    pub(crate) children_of_group: Index,
    pub(crate) certificates_of_policy: Index,
    pub(crate) groups_of_policy: Index,
    generation: u64,
}

impl Registry {
    /// The registry that consists of these records.
    pub fn load(records: impl IntoIterator<Item = Record>) -> Self {
        let mut registry = Self::default();
        records.into_iter().for_each(|record| registry.apply(Change::Put(record)));
        registry
    }

    /// Makes a change true. Changes come from checks of this registry, in their order.
    pub fn apply(&mut self, change: Change) {
        self.generation += 1;
        match change {
            Change::Put(record) => {
                let (kind, key) = record.place();
                let key = key.to_owned();
                self.take(kind, &key);
                self.put(record);
            }
            Change::Gone { kind, key } => self.take(kind, &key),
        }
    }

    /// Grows with each change that is applied: what was made out of the registry before may be outdated.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::Thing(thing) => {
                link(&mut self.things_of_certificate, &thing.principals, &thing.name);
                link(&mut self.things_of_type, &thing.type_name, &thing.name);
                link(&mut self.things_of_group, &thing.groups, &thing.name);
                self.things.insert(thing.name.clone(), thing);
            }
            Record::ThingType(thing_type) => {
                self.types.insert(thing_type.name.clone(), thing_type);
            }
            Record::Group(group) => {
                link(&mut self.children_of_group, &group.parent, &group.name);
                link(&mut self.groups_of_policy, &group.policies, &group.name);
                self.groups.insert(group.name.clone(), group);
            }
            Record::Certificate(certificate) => {
                link(&mut self.certificates_of_policy, &certificate.policies, &certificate.id);
                self.certificates_by_age.insert((certificate.created_ms, certificate.id.clone()));
                self.certificates.insert(certificate.id.clone(), certificate);
            }
            Record::Policy(policy) => {
                self.policies.insert(policy.name.clone(), policy);
            }
        }
    }

    fn take(&mut self, kind: Kind, key: &str) {
        match kind {
            Kind::Thing => {
                let Some(thing) = self.things.remove(key) else { return };
                unlink(&mut self.things_of_certificate, &thing.principals, key);
                unlink(&mut self.things_of_type, &thing.type_name, key);
                unlink(&mut self.things_of_group, &thing.groups, key);
            }
            Kind::ThingType => drop(self.types.remove(key)),
            Kind::Group => {
                let Some(group) = self.groups.remove(key) else { return };
                unlink(&mut self.children_of_group, &group.parent, key);
                unlink(&mut self.groups_of_policy, &group.policies, key);
            }
            Kind::Certificate => {
                let Some(certificate) = self.certificates.remove(key) else { return };
                unlink(&mut self.certificates_of_policy, &certificate.policies, key);
                self.certificates_by_age.remove(&(certificate.created_ms, key.to_owned()));
            }
            Kind::Policy => drop(self.policies.remove(key)),
        }
    }

    /// A thing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn thing(&self, name: &str) -> Result<&Thing, Error> {
        self.things.get(name).ok_or_else(|| Error::not_found("Thing", name))
    }

    /// Whether there is such a thing. Cheap: for every message that comes in.
    pub fn has_thing(&self, name: &str) -> bool {
        self.things.contains_key(name)
    }

    /// A thing type.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn thing_type(&self, name: &str) -> Result<&ThingType, Error> {
        self.types.get(name).ok_or_else(|| Error::not_found("Thing type", name))
    }

    /// A thing group.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn group(&self, name: &str) -> Result<&Group, Error> {
        self.groups.get(name).ok_or_else(|| Error::not_found("Thing group", name))
    }

    /// A certificate by its id, in either case.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn certificate(&self, id: &str) -> Result<&Certificate, Error> {
        let found = self.certificates.get(id).or_else(|| self.certificates.get(&id.to_ascii_lowercase()));
        found.ok_or_else(|| Error::not_found("Certificate", id))
    }

    /// A policy.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn policy(&self, name: &str) -> Result<&Policy, Error> {
        self.policies.get(name).ok_or_else(|| Error::not_found("Policy", name))
    }

    /// The names in an index, in their order.
    pub(crate) fn linked<'a>(index: &'a Index, key: &str) -> impl Iterator<Item = &'a str> {
        index.get(key).into_iter().flatten().map(String::as_str)
    }
}

fn link<'a>(index: &mut Index, to: impl IntoIterator<Item = &'a String>, name: &str) {
    for key in to {
        index.entry(key.clone()).or_default().insert(name.to_owned());
    }
}

fn unlink<'a>(index: &mut Index, from: impl IntoIterator<Item = &'a String>, name: &str) {
    for key in from {
        if let Some(names) = index.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                index.remove(key);
            }
        }
    }
}

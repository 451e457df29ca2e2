//! Policies and what they are attached to: certificates and groups.

use std::collections::BTreeSet;

use crate::arn::ArnKind;
use crate::change::{Change, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Checked, Error, Policy};

/// Policies of a certificate or a group at most.
const POLICIES_MAX: usize = 10;

/// What a policy can be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A certificate, by its id.
    Certificate(String),
    /// A thing group, by its name.
    Group(String),
}

impl std::str::FromStr for Target {
    type Err = Error;

    fn from_str(arn: &str) -> Result<Self, Error> {
        if let Some(id) = ArnKind::Certificate.name_in(arn) {
            return Ok(Self::Certificate(id.to_ascii_lowercase()));
        }
        match ArnKind::ThingGroup.name_in(arn) {
            Some(name) => Ok(Self::Group(name.to_owned())),
            None => {
                Err(Error::invalid("Invalid target: the ARN of a certificate or of a thing group is needed"))
            }
        }
    }
}

impl Registry {
    /// AttachPolicy. One that is attached already is no error.
    ///
    /// # Errors
    /// One of them is not there, or the target has ten policies.
    pub fn attach_policy(&self, policy: &str, target: &Target) -> Checked<()> {
        self.policy(policy)?;
        let (mut record, policies) = self.target(target)?;
        if policies.contains(policy) {
            return Ok(((), Vec::new()));
        }
        if policies.len() >= POLICIES_MAX {
            return Err(Error::LimitExceeded(format!("{POLICIES_MAX} policies can be attached at most")));
        }
        policies_of(&mut record).map(|policies| policies.insert(policy.to_owned()));
        Ok(((), vec![Change::Put(record)]))
    }

    /// DetachPolicy. One that is not attached is no error.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn detach_policy(&self, policy: &str, target: &Target) -> Checked<()> {
        self.policy(policy)?;
        let (mut record, policies) = self.target(target)?;
        if !policies.contains(policy) {
            return Ok(((), Vec::new()));
        }
        policies_of(&mut record).map(|policies| policies.remove(policy));
        Ok(((), vec![Change::Put(record)]))
    }

    fn target(&self, target: &Target) -> Result<(Record, &BTreeSet<String>), Error> {
        Ok(match target {
            Target::Certificate(id) => {
                let certificate = self.certificate(id)?;
                (Record::Certificate(certificate.clone()), &certificate.policies)
            }
            Target::Group(name) => {
                let group = self.group(name)?;
                (Record::Group(group.clone()), &group.policies)
            }
        })
    }

    /// ListAttachedPolicies: by name, those after `after`; those of the groups around it too if `recursive`.
    ///
    /// # Errors
    /// There is no such target.
    pub fn list_attached_policies(
        &self,
        target: &Target,
        recursive: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&Policy>, Error> {
        let (_, own) = self.target(target)?;
        let mut names: BTreeSet<&String> = own.iter().collect();
        if let (Target::Group(group), true) = (target, recursive) {
            names.extend(self.lineage(group).flat_map(|group| &group.policies));
        }
        let wanted = names.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
        Ok(Page::of(wanted.filter_map(|name| self.policies.get(name)), limit, |policy| policy.name.clone()))
    }

    /// ListTargetsForPolicy: ARNs, those after `after`.
    ///
    /// # Errors
    /// There is no such policy.
    pub fn list_targets(
        &self,
        policy: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        self.policy(policy)?;
        let wanted = self.targets_of(policy).filter(|arn| after.is_none_or(|after| arn.as_str() > after));
        Ok(Page::of(wanted, limit, String::clone))
    }

    /// Ascending, for `cert` stands before `thinggroup`.
    pub(crate) fn targets_of(&self, policy: &str) -> impl Iterator<Item = String> {
        let certificates = Self::linked(&self.certificates_of_policy, policy);
        let groups = Self::linked(&self.groups_of_policy, policy);
        let certificates = certificates.map(|id| ArnKind::Certificate.of(id));
        certificates.chain(groups.map(|group| ArnKind::ThingGroup.of(group)))
    }
}

fn policies_of(record: &mut Record) -> Option<&mut BTreeSet<String>> {
    match record {
        Record::Certificate(certificate) => Some(&mut certificate.policies),
        Record::Group(group) => Some(&mut group.policies),
        Record::Thing(_) | Record::ThingType(_) | Record::Policy(_) => None,
    }
}

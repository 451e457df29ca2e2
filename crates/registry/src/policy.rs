use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arn::ArnKind;
use crate::change::{Change, Kind, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Checked, Error, Fresh, name};

/// Versions of a policy at most.
const VERSIONS_MAX: usize = 5;

/// A policy and the versions of its document. Whether a document is a good one is for the caller to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// By number, from 1 on.
    pub versions: BTreeMap<u64, PolicyVersion>,
    /// The number of the one that counts.
    pub default_version: u64,
    /// The number of the next one; numbers do not come again.
    pub next_version: u64,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
}

/// A version of a policy's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// The document as it was given.
    pub document: String,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
}

/// A version that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPolicyVersion {
    /// Its number.
    pub number: u64,
    /// Whether it counts now.
    pub is_default: bool,
}

impl Policy {
    /// Its ARN.
    pub fn arn(&self) -> String {
        ArnKind::Policy.of(&self.name)
    }

    /// The document that counts.
    pub fn document(&self) -> &str {
        self.versions.get(&self.default_version).map_or("", |version| version.document.as_str())
    }

    /// A version by its number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn version(&self, number: u64) -> Result<&PolicyVersion, Error> {
        let missing = || Error::not_found("Policy version", &format!("{number} of policy {}", self.name));
        self.versions.get(&number).ok_or_else(missing)
    }
}

impl Registry {
    /// CreatePolicy.
    ///
    /// # Errors
    /// The name is not as it should be, or there is a policy of this name.
    pub fn create_policy(&self, policy_name: &str, document: &str, fresh: Fresh) -> Checked<Policy> {
        name::policy(policy_name)?;
        if let Some(found) = self.policies.get(policy_name) {
            return Err(Error::Exists {
                kind: "Policy",
                name: found.name.clone(),
                resource_id: found.name.clone(),
                resource_arn: found.arn(),
            });
        }
        let version = PolicyVersion { document: document.to_owned(), created_ms: fresh.now_ms };
        let policy = Policy {
            name: policy_name.to_owned(),
            versions: BTreeMap::from([(1, version)]),
            default_version: 1,
            next_version: 2,
            created_ms: fresh.now_ms,
            modified_ms: fresh.now_ms,
        };
        Ok((policy.clone(), vec![Change::Put(Record::Policy(policy))]))
    }

    /// CreatePolicyVersion.
    ///
    /// # Errors
    /// There is no such policy, or it has five versions.
    pub fn create_policy_version(
        &self,
        policy_name: &str,
        document: &str,
        set_default: bool,
        fresh: Fresh,
    ) -> Checked<NewPolicyVersion> {
        let mut policy = self.policy(policy_name)?.clone();
        if policy.versions.len() >= VERSIONS_MAX {
            return Err(Error::VersionsLimitExceeded(format!(
                "The policy {policy_name} already has the maximum number of versions ({VERSIONS_MAX})"
            )));
        }
        let number = policy.next_version;
        let version = PolicyVersion { document: document.to_owned(), created_ms: fresh.now_ms };
        policy.versions.insert(number, version);
        policy.next_version += 1;
        policy.modified_ms = fresh.now_ms;
        if set_default {
            policy.default_version = number;
        }
        let created = NewPolicyVersion { number, is_default: set_default };
        Ok((created, vec![Change::Put(Record::Policy(policy))]))
    }

    /// SetDefaultPolicyVersion.
    ///
    /// # Errors
    /// There is no such policy or version.
    pub fn set_default_policy_version(&self, policy_name: &str, number: u64, fresh: Fresh) -> Checked<()> {
        let mut policy = self.policy(policy_name)?.clone();
        policy.version(number)?;
        policy.default_version = number;
        policy.modified_ms = fresh.now_ms;
        Ok(((), vec![Change::Put(Record::Policy(policy))]))
    }

    /// DeletePolicyVersion.
    ///
    /// # Errors
    /// There is no such policy or version, or it is the default one.
    pub fn delete_policy_version(&self, policy_name: &str, number: u64, fresh: Fresh) -> Checked<()> {
        let mut policy = self.policy(policy_name)?.clone();
        policy.version(number)?;
        if policy.default_version == number {
            return Err(Error::DeleteConflict(format!(
                "Cannot delete the default version of the policy {policy_name}"
            )));
        }
        policy.versions.remove(&number);
        policy.modified_ms = fresh.now_ms;
        Ok(((), vec![Change::Put(Record::Policy(policy))]))
    }

    /// DeletePolicy.
    ///
    /// # Errors
    /// There is no such policy, it is attached to something, or has other versions than the default one.
    pub fn delete_policy(&self, policy_name: &str) -> Checked<()> {
        let policy = self.policy(policy_name)?;
        if self.targets_of(policy_name).next().is_some() {
            return Err(Error::DeleteConflict(format!(
                "The policy cannot be deleted as the policy is attached to one or more principals (name={policy_name})"
            )));
        }
        if policy.versions.len() > 1 {
            return Err(Error::DeleteConflict(format!(
                "Cannot delete the policy because it has one or more policy versions attached to it (name={policy_name})"
            )));
        }
        Ok(((), vec![Change::gone(Kind::Policy, policy_name)]))
    }

    /// ListPolicies: by name, ascending or descending, those beyond `after`.
    pub fn list_policies(&self, ascending: bool, after: Option<&str>, limit: usize) -> Page<&Policy> {
        let key = |policy: &&Policy| policy.name.clone();
        let all = self.policies.values();
        match ascending {
            true => Page::of(
                all.filter(|policy| after.is_none_or(|after| policy.name.as_str() > after)),
                limit,
                key,
            ),
            false => Page::of(
                all.rev().filter(|policy| after.is_none_or(|after| policy.name.as_str() < after)),
                limit,
                key,
            ),
        }
    }
}

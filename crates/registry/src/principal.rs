//! Things and the certificates that they are attached to.

use crate::arn::ArnKind;
use crate::change::{Change, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Certificate, Checked, Error, Policy, Thing};

/// Certificates of a thing at most.
const PRINCIPALS_MAX: usize = 10;

impl Registry {
    /// AttachThingPrincipal. One that is attached already is no error.
    ///
    /// # Errors
    /// One of them is not there, the principal is no certificate, or the thing has ten.
    pub fn attach_principal(&self, thing: &str, principal: &str) -> Checked<()> {
        let mut thing = self.thing(thing)?.clone();
        let certificate = self.certificate(id_in(principal)?)?;
        if thing.principals.contains(&certificate.id) {
            return Ok(((), Vec::new()));
        }
        if thing.principals.len() >= PRINCIPALS_MAX {
            return Err(Error::invalid(format!(
                "a thing is attached to {PRINCIPALS_MAX} principals at most"
            )));
        }
        thing.principals.insert(certificate.id.clone());
        Ok(((), vec![Change::Put(Record::Thing(thing))]))
    }

    /// DetachThingPrincipal. One that is not attached is no error.
    ///
    /// # Errors
    /// One of them is not there, or the principal is no certificate.
    pub fn detach_principal(&self, thing: &str, principal: &str) -> Checked<()> {
        let mut thing = self.thing(thing)?.clone();
        let certificate = self.certificate(id_in(principal)?)?;
        let changes = match thing.principals.remove(&certificate.id) {
            true => vec![Change::Put(Record::Thing(thing))],
            false => Vec::new(),
        };
        Ok(((), changes))
    }

    /// ListThingPrincipals: ARNs, those after `after`.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn list_principals(
        &self,
        thing: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        let arns = self.thing(thing)?.principals.iter().map(|id| ArnKind::Certificate.of(id));
        Ok(Page::of(arns.filter(|arn| after.is_none_or(|after| arn.as_str() > after)), limit, String::clone))
    }

    /// ListPrincipalThings: names, those after `after`.
    ///
    /// # Errors
    /// There is no such certificate.
    pub fn list_things_of(
        &self,
        principal: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<&str>, Error> {
        let certificate = self.certificate(id_in(principal)?)?;
        let names = Self::linked(&self.things_of_certificate, &certificate.id);
        let wanted = names.filter(|name| after.is_none_or(|after| *name > after));
        Ok(Page::of(wanted, limit, |name| (*name).to_owned()))
    }

    /// The things that a certificate is attached to, by name.
    pub fn things_of<'a>(&'a self, certificate: &Certificate) -> impl Iterator<Item = &'a Thing> {
        let names = Self::linked(&self.things_of_certificate, &certificate.id);
        names.filter_map(|name| self.things.get(name))
    }

    /// The policies that hold for a certificate: its own, and those of the groups of its things and of the
    /// groups around those.
    pub fn policies_of<'a>(&'a self, certificate: &'a Certificate) -> Vec<&'a Policy> {
        let groups = self.things_of(certificate).flat_map(|thing| self.groups_of(thing));
        let mut names: Vec<&String> =
            certificate.policies.iter().chain(groups.flat_map(|group| &group.policies)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.policies.get(name)).collect()
    }
}

fn id_in(principal: &str) -> Result<&str, Error> {
    let invalid = || Error::invalid("Invalid principal: the ARN of a certificate is needed");
    ArnKind::Certificate.name_in(principal).ok_or_else(invalid)
}

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arn::ArnKind;
use crate::change::{Change, Kind, Record};
use crate::page::Page;
use crate::state::Registry;
use crate::{Checked, Error, Fresh, name};

/// Whether a certificate may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CertificateStatus {
    /// It may.
    Active,
    /// Not at the moment.
    Inactive,
    /// Its key is not trusted any more.
    Revoked,
}

impl CertificateStatus {
    /// The word in AWS's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
        }
    }
}

impl std::str::FromStr for CertificateStatus {
    type Err = Error;

    /// AWS's other words are for transfers and for its own use; it refuses them too.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ACTIVE" => Ok(Self::Active),
            "INACTIVE" => Ok(Self::Inactive),
            "REVOKED" => Ok(Self::Revoked),
            _ => Err(Error::invalid(format!("the status {text} is none of ACTIVE, INACTIVE, REVOKED"))),
        }
    }
}

/// A registered certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub id: String,
    /// The certificate.
    pub pem: String,
    /// Whether it may be used.
    pub status: CertificateStatus,
    /// Whether its authority is not known here (`SNI_ONLY` at AWS).
    #[serde(default)]
    pub without_ca: bool,
    /// Valid from: seconds since the epoch.
    pub not_before_s: i64,
    /// Valid until: seconds since the epoch.
    pub not_after_s: i64,
    /// Names of the policies that are attached to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// Grows by one with each change of the status.
    pub version: u64,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
}

impl Certificate {
    /// Its ARN.
    pub fn arn(&self) -> String {
        ArnKind::Certificate.of(&self.id)
    }

    /// The word that AWS has for how it was registered.
    pub fn mode(&self) -> &'static str {
        if self.without_ca { "SNI_ONLY" } else { "DEFAULT" }
    }
}

/// A certificate as it was read, to be registered.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub id: String,
    /// The certificate.
    pub pem: String,
    /// Whether it may be used.
    pub status: CertificateStatus,
    /// Whether its authority is not known here.
    pub without_ca: bool,
    /// Valid from: seconds since the epoch.
    pub not_before_s: i64,
    /// Valid until: seconds since the epoch.
    pub not_after_s: i64,
}

impl Registry {
    /// RegisterCertificate, RegisterCertificateWithoutCA, and the second half of CreateKeysAndCertificate and
    /// CreateCertificateFromCsr.
    ///
    /// # Errors
    /// It is registered already.
    pub fn register_certificate(&self, new: NewCertificate, fresh: Fresh) -> Checked<Certificate> {
        name::certificate_id(&new.id)?;
        if let Some(found) = self.certificates.get(&new.id) {
            return Err(Error::Exists {
                kind: "Certificate",
                name: new.id,
                resource_id: found.id.clone(),
                resource_arn: found.arn(),
            });
        }
        let certificate = Certificate {
            id: new.id,
            pem: new.pem,
            status: new.status,
            without_ca: new.without_ca,
            not_before_s: new.not_before_s,
            not_after_s: new.not_after_s,
            policies: BTreeSet::new(),
            version: 1,
            created_ms: fresh.now_ms,
            modified_ms: fresh.now_ms,
        };
        Ok((certificate.clone(), vec![Change::Put(Record::Certificate(certificate))]))
    }

    /// UpdateCertificate. The status that it has already is no change.
    ///
    /// # Errors
    /// There is no such certificate.
    pub fn update_certificate(&self, id: &str, status: CertificateStatus, fresh: Fresh) -> Checked<()> {
        name::certificate_id(id)?;
        let mut certificate = self.certificate(id)?.clone();
        if certificate.status == status {
            return Ok(((), Vec::new()));
        }
        certificate.status = status;
        certificate.version += 1;
        certificate.modified_ms = fresh.now_ms;
        Ok(((), vec![Change::Put(Record::Certificate(certificate))]))
    }

    /// DeleteCertificate. `force` deletes one with policies, but none that is active or a thing's.
    ///
    /// # Errors
    /// There is no such certificate, it is active, or it is attached to a thing or to a policy.
    pub fn delete_certificate(&self, id: &str, force: bool) -> Checked<()> {
        name::certificate_id(id)?;
        let certificate = self.certificate(id)?;
        let id = &certificate.id;
        if certificate.status == CertificateStatus::Active {
            return Err(Error::CertificateState(format!(
                "Certificate must be deactivated (not ACTIVE) before deletion. id={id}"
            )));
        }
        if let Some(thing) = Self::linked(&self.things_of_certificate, id).next() {
            return Err(Error::DeleteConflict(format!(
                "Things must be detached before deletion (arn: {}, thing: {thing})",
                certificate.arn()
            )));
        }
        if !force && let Some(policy) = certificate.policies.first() {
            return Err(Error::DeleteConflict(format!(
                "Certificate policies must be detached before deletion (arn: {}, policy: {policy})",
                certificate.arn()
            )));
        }
        Ok(((), vec![Change::gone(Kind::Certificate, id)]))
    }

    /// ListCertificates: by the time of their creation, the newest first unless `ascending`. `after` is what
    /// [`Page::next`] of the page before says.
    pub fn list_certificates(
        &self,
        ascending: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Page<&Certificate> {
        let after = after.and_then(|key| {
            let (created_ms, id) = key.split_once(' ')?;
            Some((created_ms.parse::<i64>().ok()?, id.to_owned()))
        });
        let key = |certificate: &&Certificate| format!("{} {}", certificate.created_ms, certificate.id);
        let found = |(_, id): &(i64, String)| self.certificates.get(id);
        let all = self.certificates_by_age.iter();
        match ascending {
            true => {
                let rest = all.filter(|place| after.as_ref().is_none_or(|after| *place > after));
                Page::of(rest.filter_map(found), limit, key)
            }
            false => {
                let rest = all.rev().filter(|place| after.as_ref().is_none_or(|after| *place < after));
                Page::of(rest.filter_map(found), limit, key)
            }
        }
    }
}

//! The files of a device's identity.

use std::path::PathBuf;

use anyhow::Context as _;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::whole_file::{self, PRIVATE, PUBLIC};

/// Where the key and the certificates of a thing are.
#[derive(Debug)]
pub(super) struct Files {
    key: PathBuf,
    certificate: PathBuf,
    ca: PathBuf,
}

impl Files {
    pub(super) fn at(folder: PathBuf, thing: &str) -> Self {
        // A colon stands in names, and not in the names of files everywhere.
        let name = thing.replace(':', "_");
        let file = |ending: &str| folder.join(format!("{name}{ending}"));
        Self { key: file(".key"), certificate: file(".pem"), ca: folder.join("ca.pem") }
    }

    /// A request to sign for this name. A key that an earlier run made is used again.
    pub(super) fn request(&self, common_name: &str) -> anyhow::Result<String> {
        let key = if self.key.exists() {
            let text = std::fs::read_to_string(&self.key)
                .with_context(|| format!("cannot read {}", self.key.display()))?;
            KeyPair::from_pem(&text).with_context(|| format!("{} holds no key", self.key.display()))?
        } else {
            let key = KeyPair::generate().context("cannot make a key")?;
            whole_file::create(&self.key, &key.serialize_pem(), PRIVATE)
                .with_context(|| format!("cannot write {}", self.key.display()))?;
            key
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        Ok(params.serialize_request(&key)?.pem()?)
    }

    pub(super) fn write(&self, certificate: &str, ca: &str) -> anyhow::Result<()> {
        for (path, text) in [(&self.ca, ca), (&self.certificate, certificate)] {
            whole_file::replace(path, text, PUBLIC)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// What to do with them.
    pub(super) fn explain(&self) -> String {
        format!(
            "  key          {}\n  certificate  {}\n  authority    {}",
            self.key.display(),
            self.certificate.display(),
            self.ca.display()
        )
    }
}

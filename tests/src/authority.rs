//! Certificates, made for one test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use fieldline_mqtt::TlsClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

pub use rcgen::DnType::CommonName;
pub use rcgen::date_time_ymd as day;

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server of these names and addresses, or a client whose Common Name is the first of them.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        self.issue_as(names, |_| {})
    }

    /// The same after a `change`, for instance of the days from which and to which it is good.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<Issued> {
        let (mut params, key) = (params(names)?, KeyPair::generate()?);
        change(&mut params);
        Ok(Issued { certificate: params.signed_by(&key, &self.0)?.pem(), key: key.serialize_pem() })
    }
}

impl Issued {
    /// A certificate that nobody but its own key has signed.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn self_signed(names: &[&str]) -> Result<Self> {
        let key = KeyPair::generate()?;
        Ok(Self { certificate: params(names)?.self_signed(&key)?.pem(), key: key.serialize_pem() })
    }

    /// Writes `<name>.pem` and `<name>.key`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let key = folder.join(format!("{name}.key"));
        std::fs::write(folder.join(format!("{name}.pem")), &self.certificate)?;
        std::fs::write(&key, &self.key)?;
        Ok(std::fs::set_permissions(key, Permissions::from_mode(0o600))?)
    }

    /// A client's side of TLS with this certificate, towards a server of `authority`.
    pub fn client(&self, authority: &Authority) -> TlsClient {
        TlsClient {
            ca: authority.pem().into_bytes(),
            certificate: Some(self.certificate.clone().into_bytes()),
            key: Some(self.key.clone().into_bytes()),
            ..TlsClient::default()
        }
    }
}

fn params(names: &[&str]) -> Result<CertificateParams> {
    let common_name = *names.first().context("a certificate needs a name")?;
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

//! A small certificate authority for one site: it signs for the server and for the site's devices.
//!
//! A folder holds `ca.pem`, `ca.key`, `server.pem` and `server.key`; the keys are for their owner only.
//! All keys are ECDSA on P-256, which AWS IoT takes too. `ca.pem` is written last: an authority that was
//! made half is none, and is made anew by the next try.
//!
//! What it is not: it keeps no list of what it has signed and revokes nothing; that is the registry's
//! business. Everything here waits for the disk.

mod error;
mod leaf;
#[cfg(test)]
mod openssl;
mod site;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use error::Error;
pub(crate) use site::router;

use crate::whole_file::{self, PRIVATE, PUBLIC};

/// Where the authority of a server lies, from the server's data folder.
pub fn folder(data: &Path) -> PathBuf {
    data.join("identity")
}

/// The authority's certificate in its folder.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// The authority's key in its folder, mode 0600.
pub const CA_KEY: &str = "ca.key";
/// The server's certificate in the authority's folder.
pub const SERVER_CERTIFICATE: &str = "server.pem";
/// The server's key in the authority's folder, mode 0600.
pub const SERVER_KEY: &str = "server.key";

const DAY: Duration = Duration::from_secs(86_400);
/// How long an authority lasts: 20 years.
pub const CA_VALIDITY: Duration = DAY.saturating_mul(7305);
/// How long a server's certificate lasts: the 825 days that Apple's systems take at most.
pub const SERVER_VALIDITY: Duration = DAY.saturating_mul(825);
/// How long a device's certificate lasts if nothing else is asked for: 10 years.
pub const DEVICE_VALIDITY: Duration = DAY.saturating_mul(3652);
/// Certificates are valid from a day ago: clocks in the field are wrong.
const BACKDATED: Duration = DAY;
/// Files of certificates and keys are shorter.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A certificate and its key, both PEM. The key is kept nowhere else.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS #8: for a file of mode 0600.
    pub key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// An authority whose key is at hand.
pub struct Authority {
    folder: PathBuf,
    certificate: String,
    not_after: OffsetDateTime,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority in `folder`, and a certificate for the server under `names`: DNS names and IP
    /// addresses by which devices reach it.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one; it stays as it is. [`Error::ServerName`] without usable names.
    /// [`Error::File`] when the folder cannot be written.
    pub fn init(folder: &Path, names: &[String]) -> Result<Self, Error> {
        let certificate = folder.join(CA_CERTIFICATE);
        let exists = || Error::Exists { folder: folder.to_owned() };
        if certificate.exists() {
            return Err(exists());
        }
        leaf::server(names)?;
        let key = key_at(&folder.join(CA_KEY))?;
        let pem = own_certificate(&key, OffsetDateTime::now_utc())?;
        let authority = Self::new(folder, pem, key)?;
        authority.renew_server(names)?;
        whole_file::create(&certificate, &authority.certificate, PUBLIC).map_err(|source| {
            match source.kind() {
                std::io::ErrorKind::AlreadyExists => exists(),
                _ => Error::File { verb: "write", path: certificate.clone(), source },
            }
        })?;
        Ok(authority)
    }

    /// Opens the authority that is in `folder`.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Content`] when there is none, [`Error::Mismatch`] when its key is another's.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let certificate = read(&folder.join(CA_CERTIFICATE))?;
        let path = folder.join(CA_KEY);
        let key = KeyPair::from_pem(&read(&path)?)
            .map_err(|_no_key| Error::Content { path, what: "private key in PEM" })?;
        Self::new(folder, certificate, key)
    }

    fn new(folder: &Path, certificate: String, key: KeyPair) -> Result<Self, Error> {
        let refused =
            || Error::Content { path: folder.join(CA_CERTIFICATE), what: "certificate of an authority" };
        let der = der(&certificate).map_err(|_no_certificate| refused())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_damaged| refused())?;
        if !parsed.is_ca() {
            return Err(refused());
        }
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(Error::Mismatch { folder: folder.to_owned() });
        }
        let not_after = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key)?;
        Ok(Self { folder: folder.to_owned(), certificate, not_after, issuer })
    }

    /// The authority's own certificate, PEM: what devices verify the server by.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Makes a key and a certificate for the thing `common_name`. It lasts for `validity`, but not longer
    /// than the authority.
    ///
    /// # Errors
    /// [`Error::CommonName`] when the name is none of a thing, [`Error::Validity`], [`Error::Expired`].
    pub fn issue(&self, common_name: &str, validity: Duration) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let params = self.dated(leaf::device(common_name)?, OffsetDateTime::now_utc(), validity)?;
        Ok(Issued { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }

    /// Signs a certificate for the key of a request. Nothing else is taken from the request but, without
    /// `common_name`, its own: what it asks to be (an authority, a server) it does not become.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`Error::Request`] when the request is damaged.
    pub fn sign_csr(
        &self,
        request: &str,
        common_name: Option<&str>,
        validity: Duration,
    ) -> Result<String, Error> {
        let (key, asked) = leaf::request(request)?;
        let name = common_name.or(asked.as_deref()).ok_or(Error::Nameless)?;
        let params = self.dated(leaf::device(name)?, OffsetDateTime::now_utc(), validity)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        leaf::ensure_same_key(request, certificate.der())?;
        Ok(certificate.pem())
    }

    /// Makes the server's certificate anew, under `names`. Its key stays, so that one file changes and
    /// there is never a certificate beside another's key; without a key one is made.
    ///
    /// # Errors
    /// As [`Authority::init`].
    pub fn renew_server(&self, names: &[String]) -> Result<(), Error> {
        let params = self.dated(leaf::server(names)?, OffsetDateTime::now_utc(), SERVER_VALIDITY)?;
        let key = key_at(&self.folder.join(SERVER_KEY))?;
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        let path = self.folder.join(SERVER_CERTIFICATE);
        whole_file::replace(&path, &pem, PUBLIC).map_err(|source| Error::File { verb: "write", path, source })
    }

    fn dated(
        &self,
        mut params: CertificateParams,
        now: OffsetDateTime,
        validity: Duration,
    ) -> Result<CertificateParams, Error> {
        if self.not_after <= now {
            return Err(Error::Expired { folder: self.folder.clone() });
        }
        (params.not_before, params.not_after) = dates(now, validity)?;
        params.not_after = params.not_after.min(self.not_after);
        params.serial_number = Some(leaf::serial()?);
        Ok(params)
    }
}

/// The id that AWS IoT gives a certificate: SHA-256 of its DER in lower-case hexadecimal.
///
/// # Errors
/// [`Error::NoCertificate`].
pub fn certificate_id(pem: &str) -> Result<String, Error> {
    Ok(Sha256::digest(der(pem)?).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn der(pem: &str) -> Result<Vec<u8>, Error> {
    match x509_parser::pem::parse_x509_pem(pem.as_bytes()) {
        Ok((_, pem)) if pem.label == "CERTIFICATE" => Ok(pem.contents),
        _ => Err(Error::NoCertificate),
    }
}

fn own_certificate(key: &KeyPair, now: OffsetDateTime) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    let id: String = leaf::serial()?.to_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    // Two sites' authorities have two names, or clients that know both would try the wrong one first.
    params.distinguished_name.push(DnType::CommonName, format!("Fieldline site {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = dates(now, CA_VALIDITY)?;
    params.serial_number = Some(leaf::serial()?);
    Ok(params.self_signed(key)?.pem())
}

fn dates(now: OffsetDateTime, validity: Duration) -> Result<(OffsetDateTime, OffsetDateTime), Error> {
    // Certificates know whole seconds.
    let bounds = Duration::from_secs(1)..=DAY * 36_525;
    let not_after = bounds.contains(&validity).then(|| now.checked_add(validity.try_into().ok()?)).flatten();
    let not_before = now.checked_sub(BACKDATED.try_into().map_err(|_too_long| Error::Validity)?);
    not_before.zip(not_after).ok_or(Error::Validity)
}

/// The key in the file, or a new one that is in the file afterwards.
fn key_at(path: &Path) -> Result<KeyPair, Error> {
    let pair = KeyPair::generate()?;
    match whole_file::create(path, &pair.serialize_pem(), PRIVATE) {
        Ok(()) => Ok(pair),
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => KeyPair::from_pem(&read(path)?)
            .map_err(|_no_key| Error::Content { path: path.to_owned(), what: "private key in PEM" }),
        Err(source) => Err(Error::File { verb: "write", path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<String, Error> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| Error::File { verb: "read", path: path.to_owned(), source })?;
    Ok(text)
}

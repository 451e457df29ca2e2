//! What the registry reads in a certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

use crate::data_plane::Failure;

/// The largest PEM text that AWS IoT takes, in bytes.
const PEM_BYTES_MAX: usize = 65_536;
/// Characters of a line of PEM (RFC 7468, section 2).
const LINE: usize = 64;

/// What is said of a certificate.
#[derive(Debug)]
pub(crate) struct Read {
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub(crate) id: String,
    /// Seconds since the epoch.
    pub(crate) not_before_s: i64,
    /// Seconds since the epoch.
    pub(crate) not_after_s: i64,
    /// The certificate's public key, PEM.
    pub(crate) public_key_pem: String,
    issuer: Vec<u8>,
    subject: Vec<u8>,
}

impl Read {
    /// Reads the first certificate of a PEM text.
    pub(crate) fn pem(text: &str) -> Result<Self, Failure> {
        let invalid = || {
            let status = axum::http::StatusCode::BAD_REQUEST;
            Failure::new(
                status,
                "CertificateValidationException",
                "the certificate cannot be read: PEM of X.509 is needed",
            )
        };
        if text.len() > PEM_BYTES_MAX {
            return Err(invalid());
        }
        let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| invalid())?;
        if pem.label != "CERTIFICATE" {
            return Err(invalid());
        }
        let certificate = pem.parse_x509().map_err(|_| invalid())?;
        let validity = certificate.validity();
        Ok(Self {
            id: hex(&Sha256::digest(&pem.contents)),
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
            public_key_pem: encoded("PUBLIC KEY", certificate.public_key().raw),
            issuer: certificate.issuer().as_raw().to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
        })
    }

    /// Whether `authority` is named as the one that signed. The signature is the listener's business.
    pub(crate) fn names_as_issuer(&self, authority: &Self) -> bool {
        self.issuer == authority.subject
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn encoded(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}

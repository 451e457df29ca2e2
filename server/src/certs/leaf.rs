//! What stands in the certificates of servers and devices.

use std::net::IpAddr;

use fieldline_model::DeviceId;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKey, SanType, SerialNumber,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Error;

/// RFC 5280, `ub-common-name`.
const COMMON_NAME_MAX: usize = 64;

/// A device's certificate, but for its dates: its name is the thing's.
pub(super) fn device(common_name: &str) -> Result<CertificateParams, Error> {
    DeviceId::new(common_name)?;
    if common_name.len() > COMMON_NAME_MAX {
        return Err(Error::CommonNameLength { length: common_name.len(), max: COMMON_NAME_MAX });
    }
    Ok(leaf(common_name, ExtendedKeyUsagePurpose::ClientAuth))
}

/// A server's certificate, but for its dates. Clients look at the alternative names only; the common name
/// is for people.
pub(super) fn server(names: &[String]) -> Result<CertificateParams, Error> {
    let first = names.first().ok_or_else(|| Error::ServerName { name: String::new() })?;
    let common_name: String = first.chars().take(COMMON_NAME_MAX).collect();
    let mut params = leaf(&common_name, ExtendedKeyUsagePurpose::ServerAuth);
    params.subject_alt_names = names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
    Ok(params)
}

/// The key of a request, once its signature is verified, and the common name that it asks for.
pub(super) fn request(pem: &str) -> Result<(PublicKey, Option<String>), Error> {
    let request = CertificateSigningRequestParams::from_pem(pem).map_err(Error::Request)?;
    let name = request.params.distinguished_name.get(&DnType::CommonName).and_then(|name| match name {
        DnValue::Utf8String(text) => Some(text.clone()),
        DnValue::PrintableString(text) => Some(text.as_str().to_owned()),
        DnValue::Ia5String(text) => Some(text.as_str().to_owned()),
        _ => None,
    });
    Ok((request.public_key, name))
}

/// The kind of a request's key is guessed from its signature, wrongly for ECDSA on P-384 with SHA-256, which
/// is what `openssl req` makes: such a certificate would be good for nothing.
pub(super) fn ensure_same_key(request: &str, certificate: &[u8]) -> Result<(), Error> {
    let signed = X509Certificate::from_der(certificate).map_err(|_damaged| Error::KeyKind)?.1;
    let (_, pem) = parse_x509_pem(request.as_bytes()).map_err(|_damaged| Error::KeyKind)?;
    let asked = X509CertificationRequest::from_der(&pem.contents).map_err(|_damaged| Error::KeyKind)?.1;
    let same = signed.public_key().raw == asked.certification_request_info.subject_pki.raw;
    if same { Ok(()) } else { Err(Error::KeyKind) }
}

/// 126 random bits: positive, and never shorter in DER (RFC 5280, 4.1.2.2, wants 20 octets at most).
pub(super) fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn leaf(common_name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || Error::ServerName { name: name.to_owned() };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    // A wildcard stands for the first label only (RFC 6125).
    let plain = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > 253 || !plain.split('.').all(label) {
        return Err(refused());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_not_ascii| refused())?))
}

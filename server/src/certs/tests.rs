use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::CertifiedIssuer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn site(folder: &Path) -> Authority {
    Authority::init(folder, &names(&["broker.site.example", "127.0.0.1"])).unwrap()
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]
}

fn key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(chain(pem).remove(0)).unwrap();
    roots
}

/// Mutual TLS with the server whose files are in `folder`: who the client is, or why there is no connection.
fn shake_hands(folder: &Path, ca: &str, name: &str, client: &Issued) -> Result<String, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let trusted = Arc::new(roots(&file(CA_CERTIFICATE)));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(trusted, Arc::clone(&provider)).build().unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&file(SERVER_CERTIFICATE)), key(&file(SERVER_KEY)))?;
    let device = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(chain(&client.certificate), key(&client.key))?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut device = ClientConnection::new(Arc::new(device), name)?;
    while server.is_handshaking() || device.is_handshaking() {
        let mut wire = Vec::new();
        device.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        device.read_tls(&mut wire.as_slice()).unwrap();
        device.process_new_packets()?;
    }
    let der = server.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let name = parsed.subject().iter_common_name().next().unwrap().as_str().unwrap();
    Ok(name.to_owned())
}

fn refused<T: fmt::Debug>(outcome: &Result<T, rustls::Error>, word: &str) {
    let text = format!("{:?}", outcome.as_ref().unwrap_err());
    assert!(text.contains(word), "{text}");
}

#[test]
fn a_device_of_the_site_is_let_in_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = site(folder.path());
    let device = authority.issue("press-4", DEVICE_VALIDITY).unwrap();
    for name in ["broker.site.example", "127.0.0.1"] {
        assert_eq!(shake_hands(folder.path(), authority.certificate(), name, &device).unwrap(), "press-4");
    }
    let reopened = Authority::open(folder.path()).unwrap();
    let later = reopened.issue("press:5", DAY).unwrap();
    let outcome = shake_hands(folder.path(), reopened.certificate(), "127.0.0.1", &later);
    assert_eq!(outcome.unwrap(), "press:5");
}

#[test]
fn strangers_and_certificates_out_of_time_are_refused() {
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (authority, other) = (site(folder.path()), site(other_folder.path()));
    let ca = authority.certificate();
    let hands = |client: &Issued| shake_hands(folder.path(), ca, "127.0.0.1", client);
    let device = authority.issue("press-4", DEVICE_VALIDITY).unwrap();

    refused(&hands(&other.issue("press-4", DEVICE_VALIDITY).unwrap()), "UnknownIssuer");
    refused(&shake_hands(folder.path(), other.certificate(), "127.0.0.1", &device), "UnknownIssuer");
    refused(&shake_hands(folder.path(), ca, "10.0.0.1", &device), "NotValidForName");
    let now = OffsetDateTime::now_utc();
    let at = |then: OffsetDateTime| {
        let key = KeyPair::generate().unwrap();
        let params = authority.dated(leaf::device("press-4").unwrap(), then, DAY).unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    };
    assert!(hands(&at(now)).is_ok());
    refused(&hands(&at(now - 3 * DAY)), "Expired");
    refused(&hands(&at(now + 3 * DAY)), "NotValidYet");
    // The server's certificate is no device's.
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let server = Issued { certificate: file(SERVER_CERTIFICATE), key: file(SERVER_KEY) };
    refused(&hands(&server), "InvalidPurpose");
    let key = KeyPair::generate().unwrap();
    let own = CertifiedIssuer::self_signed(leaf::device("press-4").unwrap(), key).unwrap();
    let own = Issued { certificate: own.pem(), key: own.key().serialize_pem() };
    refused(&hands(&own), "UnknownIssuer");
    // A device's certificate signs nothing: what it signed is refused although the chain reaches the CA.
    let device_key = KeyPair::from_pem(&device.key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&device.certificate, device_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let forged = leaf::device("press-5").unwrap().signed_by(&key, &issuer).unwrap().pem();
    let forged = Issued { certificate: forged, key: key.serialize_pem() };
    refused(&hands(&forged), "UnknownIssuer");
}

#[test]
fn the_server_gets_other_names_and_keeps_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let authority = site(folder.path());
    let device = authority.issue("press-4", DEVICE_VALIDITY).unwrap();
    let before = std::fs::read(folder.path().join(SERVER_KEY)).unwrap();
    authority.renew_server(&names(&["10.0.0.1", "::1", "*.site.example"])).unwrap();
    assert_eq!(std::fs::read(folder.path().join(SERVER_KEY)).unwrap(), before);
    let hands = |name| shake_hands(folder.path(), authority.certificate(), name, &device);
    for name in ["10.0.0.1", "::1", "any.site.example"] {
        assert_eq!(hands(name).unwrap(), "press-4", "{name}");
    }
    refused(&hands("127.0.0.1"), "NotValidForName");
    for bad in [&[][..], &[""], &["a b"], &["a..b"], &["ä.example"], &["a.*.b"], &["ok.example", "https://x"]]
    {
        assert!(matches!(authority.renew_server(&names(bad)), Err(Error::ServerName { .. })), "{bad:?}");
    }
    assert!(hands("10.0.0.1").is_ok());
}

#[test]
fn an_authority_is_never_overwritten_and_half_a_one_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(matches!(Authority::open(folder.path()), Err(Error::File { verb: "read", .. })));
    let first = site(folder.path());
    for name in [CA_KEY, SERVER_KEY] {
        let mode = std::fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    let key = std::fs::read(path(CA_KEY)).unwrap();
    assert!(matches!(Authority::init(folder.path(), &names(&["x"])), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read_to_string(path(CA_CERTIFICATE)).unwrap(), first.certificate());

    // As if the power had failed before the last file.
    std::fs::remove_file(path(CA_CERTIFICATE)).unwrap();
    let second = site(folder.path());
    assert_eq!(std::fs::read(path(CA_KEY)).unwrap(), key);
    let device = second.issue("press-4", DAY).unwrap();
    assert!(shake_hands(folder.path(), second.certificate(), "127.0.0.1", &device).is_ok());

    let other = tempfile::tempdir().unwrap();
    site(other.path());
    std::fs::copy(other.path().join(CA_KEY), path(CA_KEY)).unwrap();
    assert!(matches!(Authority::open(folder.path()), Err(Error::Mismatch { .. })));
    std::fs::copy(path(SERVER_CERTIFICATE), path(CA_CERTIFICATE)).unwrap();
    assert!(matches!(Authority::open(folder.path()), Err(Error::Content { .. })));
}

#[test]
fn of_a_request_only_the_key_and_perhaps_the_name_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = site(folder.path());
    let key = KeyPair::generate().unwrap();
    let mut asked = CertificateParams::new(vec!["broker.site.example".to_owned()]).unwrap();
    asked.distinguished_name.push(DnType::CommonName, "press-4");
    asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    asked.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let request = asked.serialize_request(&key).unwrap().pem().unwrap();

    let certificate = authority.sign_csr(&request, None, DEVICE_VALIDITY).unwrap();
    let der = der(&certificate).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert!(!parsed.is_ca() && parsed.subject_alternative_name().unwrap().is_none());
    let lasts = parsed.validity().not_after.to_datetime() - parsed.validity().not_before.to_datetime();
    assert_eq!(lasts, DEVICE_VALIDITY + BACKDATED);
    let device = Issued { certificate, key: key.serialize_pem() };
    let outcome = shake_hands(folder.path(), authority.certificate(), "127.0.0.1", &device);
    assert_eq!(outcome.unwrap(), "press-4");
    let named = authority.sign_csr(&request, Some("press-5"), DAY).unwrap();
    let device = Issued { certificate: named, ..device };
    let outcome = shake_hands(folder.path(), authority.certificate(), "127.0.0.1", &device);
    assert_eq!(outcome.unwrap(), "press-5");

    let mut nameless = CertificateParams::default();
    nameless.distinguished_name = DistinguishedName::new();
    let nameless = nameless.serialize_request(&key).unwrap().pem().unwrap();
    assert!(matches!(authority.sign_csr(&nameless, None, DAY), Err(Error::Nameless)));
    // One letter of the signed part is another: the signature no longer fits.
    let (position, letter) =
        request.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic()).nth(120).unwrap();
    let mut damaged = request.clone();
    damaged.replace_range(position..=position, if letter == 'A' { "B" } else { "A" });
    for text in ["", "no request", &device.certificate, &damaged] {
        assert!(matches!(authority.sign_csr(text, Some("x"), DAY), Err(Error::Request(_))), "{text}");
    }
}

#[test]
fn names_and_validities_have_limits() {
    let folder = tempfile::tempdir().unwrap();
    let authority = site(folder.path());
    assert!(authority.issue(&"x".repeat(64), DAY).is_ok());
    assert!(matches!(authority.issue(&"x".repeat(65), DAY), Err(Error::CommonNameLength { .. })));
    for name in ["", "a/b", "+", "#", "*", "$aws", "a b", "ä"] {
        assert!(matches!(authority.issue(name, DAY), Err(Error::CommonName(_))), "{name}");
    }
    for validity in [Duration::ZERO, Duration::MAX, DAY * 36_526] {
        assert!(matches!(authority.issue("a", validity), Err(Error::Validity)), "{validity:?}");
    }
    // Nothing outlives the authority that signed it.
    let long = authority.issue("a", DAY * 36_525).unwrap();
    let der = der(&long.certificate).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(parsed.validity().not_after.to_datetime(), authority.not_after);
    let after = authority.not_after + DAY;
    let expired = authority.dated(leaf::device("a").unwrap(), after, DAY);
    assert!(matches!(expired, Err(Error::Expired { .. })));
}

#[test]
fn a_certificates_id_is_the_hash_of_its_der() {
    let folder = tempfile::tempdir().unwrap();
    let issued = site(folder.path()).issue("a", DAY).unwrap();
    let expected: String =
        Sha256::digest(&chain(&issued.certificate)[0]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(certificate_id(&issued.certificate).unwrap(), expected);
    assert_eq!(certificate_id(&format!("# a remark\n{}", issued.certificate)).unwrap(), expected);
    assert!(matches!(certificate_id(&issued.key), Err(Error::NoCertificate)));
    let printed = format!("{issued:?}");
    assert!(printed.contains("certificate") && !printed.contains("PRIVATE"), "{printed}");
}

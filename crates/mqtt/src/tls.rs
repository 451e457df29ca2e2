//! TLS by rustls with the `ring` provider: server and client configurations, and who a client
//! certificate says its owner is.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::Identity;

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text is damaged or holds nothing of this kind.
    #[error("no usable {what} in the PEM text")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What the PEM reader said.
        source: rustls_pki_types::pem::Error,
    },
    /// The PEM text holds no such thing.
    #[error("the PEM text holds no {what}")]
    Empty {
        /// What was looked for.
        what: &'static str,
    },
    /// Key and certificate do not fit, or the certificate is refused.
    #[error("rustls refuses the certificate or key")]
    Rustls(#[from] rustls::Error),
    /// The authority for client certificates is refused.
    #[error("the authority for client certificates cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The name to verify the server by is neither a DNS name nor an IP address.
    #[error("{name} is neither a DNS name nor an IP address")]
    ServerName {
        /// The name.
        name: String,
    },
}

/// A connection to a client after the handshake.
pub type TlsConnection = tokio_rustls::server::TlsStream<TcpStream>;

/// The server's side of TLS, ready for [`crate::Broker::serve`]. Cheap to clone.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
}

impl TlsServer {
    /// From PEM texts: the server's certificate chain (its own first), its key, and, for mutual
    /// TLS, the authorities that sign client certificates. With `client_ca`, a client without a
    /// certificate of theirs is refused in the handshake.
    ///
    /// # Errors
    /// [`TlsError`] when a text holds no certificate or key, or they do not fit.
    pub fn new(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match client_ca {
            Some(pem) => {
                let roots = Arc::new(roots(pem)?);
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?,
                )
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(certificates(chain)?, private_key(key)?)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The handshake with a client that has connected: the stream, and who its certificate says it is.
    ///
    /// # Errors
    /// The handshake fails: no certificate, or one that its authority did not sign or whose time is over.
    pub async fn accept(&self, socket: TcpStream) -> std::io::Result<(TlsConnection, Option<Arc<Identity>>)> {
        let stream = self.acceptor.accept(socket).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.map(|certificate| Arc::new(identity(certificate)));
        Ok((stream, identity))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// The client's side of TLS. PEM texts are read when the connection is opened.
#[derive(Clone, Default)]
pub struct TlsClient {
    /// The authorities that the server's certificate must come from.
    pub ca: Vec<u8>,
    /// The client's certificate chain, for mutual TLS.
    pub certificate: Option<Vec<u8>>,
    /// The client's key; needed with `certificate`.
    pub key: Option<Vec<u8>>,
    /// The name to verify the server by; the host of the address when none.
    pub server_name: Option<String>,
    /// ALPN protocols, for instance `x-amzn-mqtt-ca` on port 443 of AWS IoT.
    pub alpn: Vec<String>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    /// # Errors
    /// [`TlsError`] when a text holds no certificate or key, or they do not fit.
    pub(crate) fn connector(&self, host: &str) -> Result<(TlsConnector, ServerName<'static>), TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(&self.ca)?);
        let mut config = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => {
                builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?
            }
            (Some(_), None) => return Err(TlsError::Empty { what: "private key" }),
            (None, _) => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let server_name =
            ServerName::try_from(name.clone()).map_err(|_not_a_name| TlsError::ServerName { name })?;
        Ok((TlsConnector::from(Arc::new(config)), server_name))
    }
}

/// The provider is named wherever one is needed: a process may link several, and then rustls has
/// no default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if found.is_empty() { Err(TlsError::Empty { what }) } else { Ok(found) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| TlsError::Pem { what: "private key", source })
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// Reads the identity out of a verified client certificate. A certificate that rustls has taken but
/// that does not parse here still has its fingerprint.
fn identity(certificate: &CertificateDer<'_>) -> Identity {
    let mut identity =
        Identity { common_name: None, alternative_names: Vec::new(), fingerprint: sha256(certificate) };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return identity };
    identity.common_name =
        parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    if let Ok(Some(extension)) = parsed.subject_alternative_name() {
        identity.alternative_names =
            extension.value.general_names.iter().filter_map(alternative_name).collect();
    }
    identity
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::IpAddr::from(v6).to_string()),
        },
        _ => None,
    }
}

/// SHA-256 by the hash of a TLS 1.3 cipher suite: no further dependency for one fingerprint.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let mut digest = [0; 32];
    if let Some(suite) = suite.tls13() {
        let output = suite.common.hash_provider.hash(bytes);
        for (to, from) in digest.iter_mut().zip(output.as_ref()) {
            *to = *from;
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the example "abc".
    #[test]
    fn the_fingerprint_is_sha_256() {
        let identity =
            Identity { common_name: None, alternative_names: Vec::new(), fingerprint: sha256(b"abc") };
        assert_eq!(
            identity.certificate_id(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_no_certificate_still_has_a_fingerprint() {
        let found = identity(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!((found.common_name, found.fingerprint), (None, sha256(b"abc")));
    }
}

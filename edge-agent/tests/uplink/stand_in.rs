//! Where the agent connects to: a port on loopback, and TLS on the terms that a test sets.

use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::{Authority, Issued};
use crate::peer::Peer;
use crate::soon;

/// A listening port.
pub(crate) struct StandIn {
    listener: TcpListener,
}

/// How the server's side of TLS is.
pub(crate) struct Terms {
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// All that ring has when none.
    pub(crate) suite: Option<CipherSuite>,
    pub(crate) alpn: Option<&'static str>,
}

/// What the agent asked for in its first TLS message.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<String>,
    pub(crate) suites: Vec<CipherSuite>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { versions: rustls::ALL_VERSIONS.to_vec(), suite: None, alpn: None }
    }
}

impl Terms {
    /// A server with this certificate that lets in the authority's clients only, as AWS IoT Core does.
    pub(crate) fn with(&self, issued: &Issued, clients: &Authority) -> Arc<ServerConfig> {
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| self.suite.is_none_or(|only| only == suite.suite()));
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![issued.certificate.der().clone()], issued.key())
            .unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl StandIn {
    pub(crate) async fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The agent's next connection, and when it came.
    pub(crate) async fn accept(&self) -> (TcpStream, Instant) {
        let (stream, _) = soon("a connection of the agent", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        (stream, Instant::now())
    }

    /// The agent's next connection, without TLS.
    pub(crate) async fn peer(&self) -> Peer {
        Peer::new(self.accept().await.0)
    }

    /// The agent's next connection with TLS: what it asked for, and what became of the handshake.
    pub(crate) async fn tls(
        &self,
        config: Arc<ServerConfig>,
    ) -> (Hello, std::io::Result<TlsStream<TcpStream>>) {
        let (stream, _) = self.accept().await;
        soon("a TLS handshake", async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.unwrap();
            let asked = start.client_hello();
            let alpn = asked.alpn().into_iter().flatten();
            let hello = Hello {
                server_name: asked.server_name().map(str::to_owned),
                alpn: alpn.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect(),
                suites: asked.cipher_suites().to_vec(),
            };
            (hello, start.into_stream(config).await)
        })
        .await
    }
}

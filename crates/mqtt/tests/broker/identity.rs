//! Mutual TLS: who a client is, and who is not let in.

use fieldline_mqtt::{BrokerConfig, ClientError, TlsClient, TlsServer, Version};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::support::{Client, Running, VERSIONS};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, name: &str, alternative: SanType) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![alternative];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

async fn broker(authority: &Authority, client_ca: Option<&Authority>) -> Running {
    let (certificate, key) = authority.issue("broker", dns("localhost"));
    let client_ca = client_ca.map(Authority::pem);
    let tls = TlsServer::new(&certificate, &key, client_ca.as_deref()).unwrap();
    Running::start(BrokerConfig::default(), true, Some(tls)).await
}

#[tokio::test]
async fn the_certificate_says_who_the_client_is() {
    for version in VERSIONS {
        let authority = Authority::new();
        let mut running = broker(&authority, Some(&authority)).await;
        let (certificate, key) = authority.issue("gateway-7", dns("gw-7.site.example"));
        let mut options = running.options("gw", version);
        options.tls = Some(TlsClient {
            ca: authority.pem(),
            certificate: Some(certificate),
            key: Some(key),
            server_name: Some("localhost".to_owned()),
            alpn: Vec::new(),
        });
        let mut device = Client::open(&options).await.unwrap();
        let identity = running.connected("gw").await.identity.unwrap();
        assert_eq!(identity.common_name.as_deref(), Some("gateway-7"));
        assert_eq!(identity.alternative_names, ["gw-7.site.example"]);
        assert_eq!(identity.certificate_id().len(), 64);
        device.publish_acked("t", "over tls", false).await;
        device.0.disconnect().await.unwrap();
        running.disconnected("gw").await;
    }
}

#[tokio::test]
async fn strangers_are_refused_in_the_handshake() {
    let (authority, other) = (Authority::new(), Authority::new());
    let running = broker(&authority, Some(&authority)).await;
    let (certificate, key) = other.issue("gateway-7", dns("gw"));
    let strange = TlsClient {
        ca: authority.pem(),
        certificate: Some(certificate),
        key: Some(key),
        server_name: Some("localhost".to_owned()),
        alpn: Vec::new(),
    };
    let nobody = TlsClient { certificate: None, key: None, ..strange.clone() };
    for tls in [strange, nobody] {
        let mut options = running.options("gw", Version::V5);
        options.tls = Some(tls);
        let error = Client::open(&options).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::Network(_) | ClientError::Closed), "{error:?}");
    }
    assert_eq!(running.broker.stats().connections_total, 0);
}

#[tokio::test]
async fn the_client_checks_the_server() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut running = broker(&authority, None).await;
    let table =
        [(&other, "localhost", false), (&authority, "elsewhere", false), (&authority, "localhost", true)];
    for (ca, name, good) in table {
        let mut options = running.options("gw", Version::V5);
        let server_name = Some(name.to_owned());
        options.tls = Some(TlsClient { ca: ca.pem(), server_name, ..TlsClient::default() });
        assert_eq!(Client::open(&options).await.is_ok(), good, "{name}");
    }
    assert_eq!(running.connected("gw").await.identity, None);
}

#[test]
fn unusable_pem_is_named() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("broker", dns("localhost"));
    assert!(TlsServer::new(b"", &key, None).is_err());
    assert!(TlsServer::new(&certificate, b"nothing", None).is_err());
    assert!(TlsServer::new(&certificate, &key, Some(b"")).is_err());
    let (_, stranger) = authority.issue("other", dns("localhost"));
    assert!(TlsServer::new(&certificate, &stranger, None).is_err());
    assert!(TlsServer::new(&certificate, &key, None).is_ok());
}

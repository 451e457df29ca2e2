//! Mutual TLS: who a client is, and who is not let in.

use fieldline_mqtt::{BrokerConfig, ClientError, Message, QoS, TlsClient, TlsServer, Version};
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

fn tls_client(authority: &Authority, name: &str) -> TlsClient {
    let (certificate, key) = authority.issue(name, dns("gw-7.site.example"));
    TlsClient {
        ca: authority.pem(),
        certificate: Some(certificate),
        key: Some(key),
        server_name: Some("localhost".to_owned()),
        alpn: Vec::new(),
    }
}

#[tokio::test]
async fn the_certificate_says_who_the_client_is() {
    for version in VERSIONS {
        let authority = Authority::new();
        let mut running = broker(&authority, Some(&authority)).await;
        let mut options = running.options("gw", version);
        options.tls = Some(tls_client(&authority, "gateway-7"));
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

/// Whoever knew a client identifier once had its subscriptions, its messages, and its connection's end.
#[tokio::test]
async fn a_session_belongs_to_the_certificate_that_made_it() {
    for (version, code) in [(Version::V3_1_1, 5), (Version::V5, 0x87)] {
        let authority = Authority::new();
        let mut running = broker(&authority, Some(&authority)).await;
        let mut options = running.options("gw", version);
        (options.clean_start, options.session_expiry_s) = (false, 300);
        options.tls = Some(tls_client(&authority, "gateway-7"));
        let mut device = Client::open(&options).await.unwrap();
        device.subscribe("orders", QoS::AtLeastOnce).await.unwrap();
        let renewed = tls_client(&authority, "gateway-7");
        let mut foreign = options.clone();
        foreign.tls = Some(tls_client(&authority, "gateway-8"));
        let refused = |opened: Result<Client, ClientError>| {
            let error = opened.map(|_| ()).unwrap_err();
            assert!(
                matches!(error, ClientError::ConnectRefused { code: found } if found == code),
                "{error:?}"
            );
        };
        for clean_start in [false, true] {
            foreign.clean_start = clean_start;
            refused(Client::open(&foreign).await);
        }
        device.publish_acked("t", "the connection is still there", false).await;
        drop(device);
        running.disconnected("gw").await;
        for clean_start in [false, true] {
            foreign.clean_start = clean_start;
            refused(Client::open(&foreign).await);
        }
        running.broker.publish(&Message::new("orders", "kept for it", QoS::AtLeastOnce));
        options.tls = Some(renewed);
        let mut device = Client::open(&options).await.unwrap();
        assert!(device.0.session_present(), "another certificate of the same name");
        assert_eq!(device.payload().await, "kept for it");
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

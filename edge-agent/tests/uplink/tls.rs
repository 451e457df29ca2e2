//! TLS as AWS IoT Core wants it, and the servers that the agent must not talk to.

use fieldline_model::{AckMessage, SeqRange};
use rcgen::SanType;
use rustls::CipherSuite;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;

use crate::authority::{Authority, Issued};
use crate::gateway::Gateway;
use crate::peer::{PUBACK, Peer};
use crate::stand_in::{Hello, StandIn, Terms};
use crate::{VERSIONS, soon};

/// A server with a certificate for `localhost`, and an agent that is to connect to it.
struct Secure {
    authority: Authority,
    server: StandIn,
    gateway: Gateway,
}

impl Secure {
    async fn start(version: &str, sync: &str) -> Self {
        let (authority, server) = (Authority::new(), StandIn::listen().await);
        let gateway = Gateway::secure(server.port(), version, sync, &authority).await;
        Self { authority, server, gateway }
    }

    fn certificate(&self) -> Issued {
        self.authority.issue(&["localhost"])
    }

    /// The agent connects on these terms, up to its subscription.
    async fn welcome(&self, terms: &Terms, issued: &Issued) -> (Hello, Peer) {
        let (hello, stream) = self.server.tls(terms.with(issued, &self.authority)).await;
        let stream = stream.unwrap();
        assert!(stream.get_ref().1.peer_certificates().is_some(), "the agent shows its certificate");
        assert_eq!(stream.get_ref().1.alpn_protocol(), terms.alpn.map(str::as_bytes));
        let mut peer = Peer::new(stream);
        peer.welcome().await;
        (hello, peer)
    }

    /// The agent does not so much as say who it is, and comes again.
    async fn refuses(&self, issued: &Issued) {
        for _ in 0..2 {
            let (_, stream) = self.server.tls(Terms::default().with(issued, &self.authority)).await;
            // With TLS 1.3 the server may be through before the agent has looked at the certificate.
            if let Ok(mut stream) = stream {
                let mut said = Vec::new();
                let end = soon("the agent to refuse", stream.read_to_end(&mut said)).await;
                assert!(end.is_err());
                assert!(said.is_empty(), "{said:?}");
            }
        }
        assert_eq!(self.gateway.status().uplink.connected_since, None);
    }
}

#[tokio::test]
async fn tls_connect() {
    for (version, tls) in VERSIONS.into_iter().zip([&TLS12, &TLS13]) {
        let secure = Secure::start(version, "").await;
        let terms = Terms { versions: vec![tls], ..Terms::default() };
        let (hello, _peer) = secure.welcome(&terms, &secure.certificate()).await;
        assert_eq!(hello.server_name.as_deref(), Some("localhost"), "AWS IoT Core needs SNI");
        assert!(hello.alpn.is_empty());
        secure.gateway.stop().await;
    }
}

/// Port 443 of AWS IoT Core: the ALPN name chooses MQTT. A server that does not know it is refused.
#[tokio::test]
async fn tls_connect_with_alpn() {
    let secure = Secure::start("5", "tls.alpn = \"x-amzn-mqtt-ca\"").await;
    let https = Terms { alpn: Some("x-amzn-http-ca"), ..Terms::default() };
    let (_, stream) = secure.server.tls(https.with(&secure.certificate(), &secure.authority)).await;
    assert!(stream.is_err());
    let terms = Terms { alpn: Some("x-amzn-mqtt-ca"), ..Terms::default() };
    let (hello, _peer) = secure.welcome(&terms, &secure.certificate()).await;
    assert_eq!(hello.alpn, ["x-amzn-mqtt-ca"]);
    secure.gateway.stop().await;
}

#[tokio::test]
async fn tls_receive_maximum_size_fragments() {
    for tls in [&TLS12, &TLS13] {
        let mut secure = Secure::start("5", "").await;
        let terms = Terms { versions: vec![tls], ..Terms::default() };
        let (_, mut peer) = secure.welcome(&terms, &secure.certificate()).await;
        secure.gateway.reading(&1.into()).await;
        let block = peer.block().await;
        let mut ack: AckMessage = serde_json::from_slice(&block.acknowledgement()).unwrap();
        for seq in 0..6_000 {
            ack.stored.insert(SeqRange::new(1_000_000 + seq * 2, 1_000_000 + seq * 2));
        }
        let payload = serde_json::to_vec(&ack).unwrap();
        assert!(payload.len() > 6 * 16_384, "rustls fills TLS records up to their 16 KiB");
        peer.publish("fieldline/gw-1/ack", 7, &payload).await;
        while peer.next().await.is_some_and(|packet| packet.kind != PUBACK) {}
        assert!(secure.gateway.status().uplink.last_ack.is_some());
        secure.gateway.stop().await;
    }
}

#[tokio::test]
async fn tls_support_aws_iot_cipher_suites() {
    let needed = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let secure = Secure::start("5", "").await;
    let suite = Some(needed[0]);
    let terms = Terms { versions: vec![&TLS12], suite, ..Terms::default() };
    let (hello, _peer) = secure.welcome(&terms, &secure.certificate()).await;
    for suite in needed {
        assert!(hello.suites.contains(&suite), "{suite:?} is not among {:?}", hello.suites);
    }
    secure.gateway.stop().await;
}

#[tokio::test]
async fn tls_large_size_server_cert() {
    for tls in [&TLS12, &TLS13] {
        let secure = Secure::start("5", "").await;
        let large = secure.authority.issue_as(&["localhost"], |params| {
            let names = (0..800).map(|n| format!("endpoint-{n}.a-rather-long-name.example.test"));
            params.subject_alt_names.extend(names.map(|name| SanType::DnsName(name.try_into().unwrap())));
        });
        assert!(large.certificate.der().len() > 32 * 1024);
        let terms = Terms { versions: vec![tls], ..Terms::default() };
        secure.welcome(&terms, &large).await;
        secure.gateway.stop().await;
    }
}

#[tokio::test]
async fn tls_unsecure_server_cert() {
    let secure = Secure::start("5", "").await;
    secure.refuses(&Authority::new().issue(&["localhost"])).await;
    let expired = secure.authority.issue_as(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    secure.refuses(&expired).await;
    secure.welcome(&Terms::default(), &secure.certificate()).await;
    secure.gateway.stop().await;
}

#[tokio::test]
async fn tls_incorrect_subject_name_server_cert() {
    let secure = Secure::start("5", "").await;
    secure.refuses(&secure.authority.issue(&["elsewhere.example.test"])).await;
    secure.welcome(&Terms::default(), &secure.certificate()).await;
    secure.gateway.stop().await;
}

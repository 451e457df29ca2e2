//! The data plane over mutual TLS: a certificate reaches what its policies allow, and nothing else.

use axum::http::{Method, Request};
use fieldline_server::certs;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client with this certificate and key.
fn https(ca: &str, certificate: &str, key: &str) -> Https {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn ask(client: &Https, base: &str, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(format!("{base}{path}"));
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_certificate_reaches_its_own_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let authority = certs::Authority::init(&certs::folder(folder.path()), &names).unwrap();
    let mut config = config(folder.path());
    let any = "127.0.0.1:0".parse().unwrap();
    // Named, so that a certificate stands for its name.
    let client_ca = Some(certs::folder(folder.path()).join(certs::CA_CERTIFICATE));
    config.mqtt.tls = Some(TlsSettings { listen: any, client_ca, ..TlsSettings::default() });
    config.http.tls_listen = Some(any);
    let server = Server::start(config).await.unwrap();
    let base = format!("https://{}", server.https_address().unwrap());
    let issued = authority.issue("press-4", certs::DEVICE_VALIDITY).unwrap();
    let client = https(authority.certificate(), &issued.certificate, &issued.key);
    let update = r#"{"state": {"reported": {"a": 1}}}"#;
    let table = [
        (Method::POST, "/things/press-4/shadow", update, 200),
        (Method::POST, "/things/press-4/shadow?name=x", update, 200),
        (Method::GET, "/things/press-4/shadow", "", 200),
        (Method::GET, "/api/things/shadow/ListNamedShadowsForThing/press-4", "", 200),
        (Method::DELETE, "/things/press-4/shadow?name=x", "", 200),
        (Method::GET, "/things/press-5/shadow", "", 403),
        (Method::POST, "/things/press-5/shadow", update, 403),
        (Method::DELETE, "/things/press-5/shadow?name=x", "", 403),
        (Method::GET, "/api/things/shadow/ListNamedShadowsForThing/press-5", "", 403),
        (Method::POST, "/topics/site/light?qos=1", "on", 200),
        (Method::POST, "/topics/fieldline/press-4/ack?qos=1", "{}", 403),
        (Method::POST, "/topics/telemetry/press-5?qos=1", "{}", 403),
        (Method::GET, "/retainedMessage", "", 403),
        (Method::POST, "/telemetry/press-4", r#"{"t": 1}"#, 204),
        (Method::POST, "/telemetry/press-5", r#"{"t": 1}"#, 403),
        // What is for this machine only is not there.
        (Method::GET, "/api/v1/devices", "", 404),
        (Method::POST, "/api/v2/write", "t v=1", 404),
        (Method::GET, "/metrics", "", 404),
    ];
    for (method, path, body, status) in table {
        let (found, answer) = ask(&client, &base, method.clone(), path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
    }
    let foreign_folder = tempfile::tempdir().unwrap();
    let foreign = certs::Authority::init(foreign_folder.path(), &names).unwrap();
    let forged = foreign.issue("press-4", certs::DEVICE_VALIDITY).unwrap();
    let stranger = https(authority.certificate(), &forged.certificate, &forged.key);
    let request = Request::get(format!("{base}/things/press-4/shadow")).body(Full::default()).unwrap();
    assert!(stranger.request(request).await.is_err());
    server.stop().await;
}

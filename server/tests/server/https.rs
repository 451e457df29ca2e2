//! The data plane over mutual TLS: a certificate reaches what its policies allow, and nothing else.

use axum::http::{Method, Request};
use fieldline_server::certs;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client with this certificate and key, or with none.
fn client(ca: &str, identity: Option<(&str, &str)>) -> Https {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn https(ca: &str, certificate: &str, key: &str) -> Https {
    client(ca, Some((certificate, key)))
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

/// A certificate for `press-4` from one year to another, and its key; signed by itself without an `issuer`.
fn dated(issuer: Option<&Issuer<'_, KeyPair>>, from: i32, until: i32) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "press-4");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    (certificate.unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn what_is_no_valid_certificate_ends_in_the_handshake_and_a_revoked_one_right_after() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let authority = certs::Authority::init(&certs::folder(folder.path()), &names).unwrap();
    let mut config = config(folder.path());
    let any = "127.0.0.1:0".parse().unwrap();
    config.mqtt.tls = Some(TlsSettings { listen: any, ..TlsSettings::default() });
    config.http.tls_listen = Some(any);
    let site = Site { server: Server::start(config).await.unwrap(), folder };
    let base = format!("https://{}", site.server.https_address().unwrap());
    let read = |name: &str| std::fs::read_to_string(certs::folder(site.folder.path()).join(name)).unwrap();
    let key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority.certificate(), key).unwrap();
    let mut foreign = CertificateParams::default();
    foreign.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = Issuer::new(foreign, KeyPair::generate().unwrap());

    let good = dated(Some(&issuer), 2020, 4000);
    let path = "/things/press-4/shadow";
    let update = r#"{"state": {"reported": {"a": 1}}}"#;
    for (what, identity) in [
        ("expired", Some(dated(Some(&issuer), 2020, 2021))),
        ("not valid yet", Some(dated(Some(&issuer), 3000, 4000))),
        ("signed by itself", Some(dated(None, 2020, 4000))),
        ("of another authority", Some(dated(Some(&foreign), 2020, 4000))),
        ("missing", None),
    ] {
        let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
        let stranger = client(authority.certificate(), identity);
        let request = Request::get(format!("{base}{path}")).body(Full::default()).unwrap();
        assert!(stranger.request(request).await.is_err(), "{what}");
    }
    // Signed well, and registered nowhere.
    let device = https(authority.certificate(), &good.0, &good.1);
    assert_eq!(ask(&device, &base, Method::POST, path, update).await.0, 403);
    let registered =
        json!({ "certificatePem": good.0, "caCertificatePem": authority.certificate(), "status": "ACTIVE" });
    let answer = super::identity::call(&site, "POST", "/certificate/register", "", &registered).await;
    let (arn, id) = (answer["certificateArn"].as_str().unwrap(), answer["certificateId"].as_str().unwrap());
    super::identity::call(&site, "POST", "/things/press-4", "", &json!({})).await;
    super::identity::call(&site, "PUT", "/things/press-4/principals", arn, &Value::Null).await;
    let document = json!({ "policyDocument": fieldline_policy::builtin::DEVICE });
    super::identity::call(&site, "POST", "/policies/device", "", &document).await;
    super::identity::call(&site, "PUT", "/target-policies/device", "", &json!({ "target": arn })).await;
    assert_eq!(ask(&device, &base, Method::POST, path, update).await.0, 200);
    super::identity::call(&site, "PUT", &format!("/certificates/{id}?newStatus=REVOKED"), "", &Value::Null)
        .await;
    // Also on the connection that is there, and on a new one.
    for client in [&device, &https(authority.certificate(), &good.0, &good.1)] {
        let (status, answer) = ask(client, &base, Method::POST, path, update).await;
        assert_eq!(status, 403, "{answer}");
    }
    site.server.stop().await;
}

//! What cannot be seen from outside: signing, a store that fails, a client that hangs up.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request};
use fieldline_registry::{CreateThing, Registry};
use fieldline_store::{Entries, Entry, EntryChange, MemoryStore, StoreError};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use axum::Router;

use super::*;

/// An authority in memory.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }
}

impl Signer for Authority {
    fn issue(&self, common_name: &str) -> Result<(String, String), SignError> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let key = rcgen::KeyPair::generate().unwrap();
        Ok((params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem()))
    }

    fn sign(&self, request_pem: &str) -> Result<String, SignError> {
        match request_pem {
            "a request" => Ok(self.issue("a request").unwrap().0),
            _ => Err(SignError("the certificate signing request cannot be read".to_owned())),
        }
    }
}

async fn ask(router: &Router, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn keys_and_certificates_are_made_signed_and_registered() {
    let keeper = Keeper::open(Arc::new(MemoryStore::new())).await.unwrap();
    let signer: Arc<dyn Signer> = Arc::new(Authority::new());
    let router = router(ControlPlane { keeper: keeper.clone(), signer: Some(signer), endpoint: None });
    let (status, made) =
        ask(&router, Method::POST, "/keys-and-certificate?setAsActive=true", json!({})).await;
    assert_eq!(status, 200, "{made}");
    let key = rcgen::KeyPair::from_pem(made["keyPair"]["PrivateKey"].as_str().unwrap()).unwrap();
    let public = made["keyPair"]["PublicKey"].as_str().unwrap();
    assert_eq!(public.replace('\n', ""), key.public_key_pem().replace(['\r', '\n'], ""));
    let path = format!("/certificates/{}", made["certificateId"].as_str().unwrap());
    let described = ask(&router, Method::GET, &path, json!({})).await.1;
    let described = &described["certificateDescription"];
    assert_eq!((&described["status"], &described["certificateMode"]), (&json!("ACTIVE"), &json!("DEFAULT")));
    assert_eq!(described["certificatePem"], made["certificatePem"]);
    // Nothing that is kept holds the private key.
    let kept = keeper.handle().read(|registry| format!("{registry:?}"));
    assert!(!kept.contains("PRIVATE KEY"));

    let good = json!({ "certificateSigningRequest": "a request" });
    let (status, signed) = ask(&router, Method::POST, "/certificates", good).await;
    assert_eq!(status, 200, "{signed}");
    let path = format!("/certificates/{}", signed["certificateId"].as_str().unwrap());
    let described = ask(&router, Method::GET, &path, json!({})).await.1;
    assert_eq!(described["certificateDescription"]["status"], "INACTIVE");
    let bad = json!({ "certificateSigningRequest": "x" });
    let (status, told) = ask(&router, Method::POST, "/certificates", bad).await;
    assert_eq!((status, &told["message"]), (400, &json!("the certificate signing request cannot be read")));
}

/// A store that writes when it is let, and fails when it is told to.
struct Gate {
    inner: MemoryStore,
    open: Semaphore,
    fails: bool,
}

#[async_trait]
impl Entries for Gate {
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.entries(kind).await
    }

    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError> {
        drop(self.open.acquire().await);
        if self.fails {
            return Err(StoreError::Closed);
        }
        self.inner.write_entries(changes).await
    }
}

fn create(registry: &Registry, fresh: fieldline_registry::Fresh) -> fieldline_registry::Checked<()> {
    let request = CreateThing { name: "a".to_owned(), ..CreateThing::default() };
    registry.create_thing(request, fresh).map(|(_, changes)| ((), changes))
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_there() {
    let store = Gate { inner: MemoryStore::new(), open: Semaphore::new(1), fails: true };
    let keeper = Keeper::open(Arc::new(store)).await.unwrap();
    let failure = keeper.change(create).await.unwrap_err();
    assert_eq!(failure.problem().status, 500);
    assert!(!keeper.handle().read(|registry| registry.has_thing("a")));
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_change_whole() {
    let store = Arc::new(Gate { inner: MemoryStore::new(), open: Semaphore::new(0), fails: false });
    let keeper = Keeper::open(store.clone()).await.unwrap();
    {
        let mut change = Box::pin(keeper.change(create));
        // It is under way, and then nobody waits for it any more.
        tokio::select! {
            biased;
            _ = &mut change => panic!("the store is not open"),
            () = std::future::ready(()) => {}
        }
        tokio::task::yield_now().await;
    }
    assert!(!keeper.handle().read(|registry| registry.has_thing("a")));
    store.open.add_permits(2);
    // The next one takes its turn after the first, and finds it done.
    keeper.change(create).await.unwrap();
    let again = Keeper::open(store).await.unwrap();
    for keeper in [keeper, again] {
        assert!(keeper.handle().read(|registry| registry.has_thing("a")));
    }
}

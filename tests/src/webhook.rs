//! A receiver of webhooks on loopback that counts what it is told, by id and by mark, and misbehaves on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// 204, and what came counts as told.
    #[default]
    Accept,
    /// This status.
    Fail(u16),
    /// Never.
    Hang,
    /// 307 to this address.
    Redirect(String),
}

/// A request that came, whatever was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The header `Idempotency-Key`; without it, the CloudEvent's `id`; empty without both.
    pub id: String,
    /// `data.mark` of the CloudEvent (`live`, `late`, `historical`); empty if it has none.
    pub mark: String,
    /// Whether it was answered with success.
    pub accepted: bool,
    /// The body; null if it is no JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: Bytes,
    /// The header `Fieldline-Signature`; empty without one.
    pub signature: String,
}

#[derive(Debug, Default)]
struct Heard {
    behaviour: Behaviour,
    told: Vec<Told>,
}

type Shared = Arc<Mutex<Heard>>;

/// A running receiver. It ends when dropped.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    heard: Shared,
    runtime: Option<Runtime>,
}

impl Webhook {
    /// Starts one on a free port of loopback; it accepts everything.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr().context("the receiver's address")?;
        let heard = Shared::default();
        let router = Router::new().fallback(receive).with_state(heard.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, heard, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a target's settings.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// How it answers from now on; a request that hangs stays so.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.heard).behaviour = behaviour;
    }

    /// Every request so far, in order of arrival.
    pub fn told(&self) -> Vec<Told> {
        lock(&self.heard).told.clone()
    }

    /// How many different ids have been accepted with each mark; a repetition of an id counts once.
    pub fn by_mark(&self) -> BTreeMap<String, usize> {
        let ids: BTreeMap<String, String> =
            self.told().into_iter().filter(|told| told.accepted).map(|told| (told.id, told.mark)).collect();
        let mut marks = BTreeMap::new();
        for mark in ids.into_values() {
            *marks.entry(mark).or_default() += 1;
        }
        marks
    }
}

impl Drop for Webhook {
    /// Requests that hang are not waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(heard: &Shared) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(State(heard): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let bytes = body;
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let key = header("idempotency-key");
    let behaviour = {
        let mut heard = lock(&heard);
        let behaviour = heard.behaviour.clone();
        heard.told.push(Told {
            id: key.unwrap_or_else(|| text(&body["id"])),
            mark: text(&body["data"]["mark"]),
            accepted: behaviour == Behaviour::Accept,
            body,
            bytes,
            signature: header("fieldline-signature").unwrap_or_default(),
        });
        behaviour
    };
    match behaviour {
        Behaviour::Accept => StatusCode::NO_CONTENT.into_response(),
        Behaviour::Fail(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;

    fn tell(webhook: &Webhook, id: &str, mark: &str) -> Result<u16> {
        let body = serde_json::json!({ "id": id, "data": { "mark": mark } }).to_string();
        Ok(Http::new(webhook.address()).post("/hook", "application/json", body.as_bytes())?.status)
    }

    #[test]
    fn repetitions_and_refusals_do_not_count() -> Result<()> {
        let webhook = Webhook::start()?;
        assert_eq!(tell(&webhook, "a", "live")?, 204);
        assert_eq!(tell(&webhook, "a", "live")?, 204);
        assert_eq!(tell(&webhook, "b", "late")?, 204);
        webhook.behave(Behaviour::Fail(500));
        assert_eq!(tell(&webhook, "c", "live")?, 500);
        webhook.behave(Behaviour::Redirect("http://192.0.2.1/".to_owned()));
        assert_eq!(tell(&webhook, "d", "live")?, 307);
        assert_eq!(webhook.told().len(), 5);
        assert_eq!(webhook.by_mark(), BTreeMap::from([("late".to_owned(), 1), ("live".to_owned(), 1)]));
        Ok(())
    }
}

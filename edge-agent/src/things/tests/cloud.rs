//! AWS's shadow service, in memory, as far as a gateway sees it.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic, topic_matches};
use fieldline_shadow::{Error, Plain, Stored, Update};
use serde_json::Value;

/// The service.
#[derive(Debug, Default)]
pub(super) struct Cloud {
    shadows: BTreeMap<ShadowId, Stored>,
    subscribed: BTreeSet<String>,
    /// Messages on their way to the gateway.
    pub(super) said: Vec<(ShadowTopic, String)>,
    /// Requests of the gateway that are answered with this error.
    pub(super) refuses: Option<Error>,
    pub(super) requests: u64,
    /// It writes `21` for `21.0`.
    pub(super) shortens: bool,
}

impl Cloud {
    pub(super) fn subscribe(&mut self, filter: &str) {
        self.subscribed.insert(filter.to_owned());
    }

    /// The link is lost: what was on its way is gone, and so are the subscriptions.
    pub(super) fn cut(&mut self) {
        self.said.clear();
        self.subscribed.clear();
    }

    pub(super) fn state(&self, shadow: &ShadowId) -> Option<Value> {
        match self.shadows.get(shadow) {
            Some(Stored::Present(shadow)) => Some(shadow.plain()["state"].clone()),
            _ => None,
        }
    }

    /// An application in the cloud, or the gateway, asks.
    pub(super) fn ask(&mut self, topic: &ShadowTopic, payload: &str, now_s: i64) {
        self.requests += 1;
        let shortened = payload.replace(".0,", ",").replace(".0}", "}");
        let payload = if self.shortens { &shortened } else { payload };
        let outcome = match self.refuses.clone() {
            Some(error) => Err(error),
            None => self.done(topic, payload, now_s),
        };
        match outcome {
            Ok(reply) => self.say(topic.with(ShadowPart::Accepted), &reply),
            Err(error) => {
                let token = Update::token_of(payload.as_bytes());
                self.say(topic.with(ShadowPart::Rejected), &error.document(now_s, token.as_deref()));
            }
        }
    }

    fn done(&mut self, topic: &ShadowTopic, payload: &str, now_s: i64) -> Result<Value, Error> {
        let stored = self.shadows.get(&topic.shadow).cloned().unwrap_or(Stored::Absent);
        let name = topic.shadow.to_string();
        match topic.operation {
            ShadowOperation::Get => {
                let request = Plain::parse(payload.as_bytes())?;
                Ok(stored.shadow(&name)?.document(now_s, request.client_token.as_deref()))
            }
            ShadowOperation::Update => {
                let applied = Update::parse(payload.as_bytes())?.apply(&stored, now_s)?;
                self.shadows.insert(topic.shadow.clone(), Stored::Present(applied.shadow));
                if let Some(delta) = &applied.delta {
                    self.say(topic.with(ShadowPart::Delta), delta);
                }
                self.say(topic.with(ShadowPart::Documents), &applied.documents);
                Ok(applied.accepted)
            }
            ShadowOperation::Delete => {
                let token = Update::token_of(payload.as_bytes());
                let (deleted, reply) = stored.delete(&name, now_s, token.as_deref())?;
                self.shadows.insert(topic.shadow.clone(), Stored::Deleted(deleted));
                Ok(reply)
            }
        }
    }

    fn say(&mut self, topic: ShadowTopic, document: &Value) {
        let text = topic.to_string();
        if self.subscribed.iter().any(|filter| topic_matches(filter, &text)) {
            self.said.push((topic, document.to_string()));
        }
    }
}

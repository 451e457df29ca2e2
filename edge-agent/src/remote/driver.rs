//! What drives the machine: messages, the clock, the disk, and the agent that the steps change.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fieldline_journal::Fs;
use fieldline_model::{GatewayId, ShadowId, ShadowName, ShadowOperation, ShadowPart, ShadowTopic, ThingName};
use fieldline_mqtt::Message;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::desired::Desired;
use super::document::{lay_over, lay_over_unread};
use super::live::{Configurable, Live};
use super::machine::{Lack, Machine, Step};
use super::state::{Known, State};
use super::store::Store;
use super::{Event, Remote, RemoteState};
use crate::config::Config;
use crate::sync::{Post, stopped};

/// Looks at what was saved: the configuration to start with, and what goes on from there.
///
/// # Errors
/// The data folder cannot be used.
pub(crate) fn begin(config: &Config, fs: Arc<dyn Fs>) -> anyhow::Result<(Config, Arc<Remote>, Driver)> {
    let store = Store::new(fs, config.data.join("config"));
    let folder = |path: &Path| format!("cannot use the folder {}", path.display());
    let (saved, trouble) = store.load().with_context(|| folder(&config.data.join("config")))?;
    let base = config.clone();
    let check = Box::new(move |document: &Value| lay_over(&base, document).map(drop));
    let run = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let (machine, steps) = Machine::new(saved.clone(), check, config.remote.confirm_within, run);
    let (remote, events) = Remote::new(config.gateway.id.clone());
    let shown = Arc::clone(&remote.shown);
    let (used, began) = (Known::nothing(), Instant::now());
    let mut driver = Driver { machine, saved, used, store, events, shown, trouble, began };
    for step in steps {
        driver.save(&step);
    }
    let started = driver.start_with(config);
    driver.show();
    Ok((started, Arc::new(remote), driver))
}

/// What goes on beside the agent.
pub(crate) struct Driver {
    machine: Machine,
    /// As it is on disk.
    saved: State,
    /// What is in use.
    used: Known,
    store: Store,
    events: mpsc::Receiver<Event>,
    shown: Arc<Mutex<RemoteState>>,
    /// Of the file of the state.
    trouble: Option<String>,
    began: Instant,
}

impl Driver {
    /// What the agent starts with: as much as can be used of what counts. The gateway's own file may have changed
    /// since it was committed, or a file be gone, and readings have to be taken all the same.
    fn start_with(&mut self, own: &Config) -> Config {
        let effective = self.machine.state().effective().clone();
        let (config, lack) = match lay_over_unread(own, &effective.document) {
            Ok(config) => {
                let lacking = lay_over(own, &effective.document).err().map(Lack::Incomplete);
                // What the gateway's own file lacks is told by whoever needs it.
                (config, lacking.filter(|_| effective.sha256 != Known::nothing().sha256))
            }
            Err(reason) => (own.clone(), Some(Lack::Unused(reason))),
        };
        if let Some(lack) = &lack {
            tracing::error!(?lack, "the configuration from afar cannot be used as it stands");
            self.machine.lacks(lack.clone(), Duration::ZERO);
        }
        if !matches!(lack, Some(Lack::Unused(_))) {
            self.used = effective;
        }
        config
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, mut live: Live, post: Post, mut stop: watch::Receiver<bool>) {
        let shadow = shadow(&live.base.gateway.id);
        loop {
            let wake = self.machine.wake().map(|at| self.began + at);
            let asleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let steps = tokio::select! {
                () = stopped(&mut stop) => break,
                Some(event) = self.events.recv() => {
                    self.look_at(event, &live.base.gateway.id, self.began.elapsed())
                }
                () = asleep => self.machine.tick(self.began.elapsed()),
            };
            self.act(steps, &mut live, &post, &shadow, self.began.elapsed());
            self.show();
        }
        live.sources.stop().await;
    }

    fn look_at(&mut self, event: Event, gateway: &GatewayId, now: Duration) -> Vec<Step> {
        match event {
            Event::Up(generation) => self.machine.up(generation, now),
            Event::Down => {
                self.machine.down();
                Vec::new()
            }
            Event::Message(message) => self.hear(&message, gateway, now),
        }
    }

    fn hear(&mut self, message: &Message, gateway: &GatewayId, now: Duration) -> Vec<Step> {
        let Ok(topic) = message.topic.parse::<ShadowTopic>() else {
            return self.machine.fetched(&message.topic, &message.payload, now);
        };
        let Ok(document) = serde_json::from_slice::<Value>(&message.payload) else {
            tracing::warn!(%topic, "the shadow's answer cannot be read");
            return Vec::new();
        };
        let token = document["clientToken"].as_str();
        match (topic.operation, topic.part) {
            (ShadowOperation::Get, ShadowPart::Accepted) => {
                let desired = Desired::of(&document["state"]["desired"], gateway);
                let version = document["version"].as_u64().unwrap_or_default();
                self.machine.desired(desired, version, token, now)
            }
            // There is no such shadow: nothing is desired.
            (ShadowOperation::Get, ShadowPart::Rejected) if document["code"] == 404 => {
                self.machine.forgotten(now)
            }
            (ShadowOperation::Update, ShadowPart::Accepted) => match token {
                Some(token) => self.machine.accepted(token, now),
                None => Vec::new(),
            },
            (ShadowOperation::Update, ShadowPart::Documents)
            | (ShadowOperation::Delete, ShadowPart::Accepted) => self.machine.changed(token, now),
            (_, ShadowPart::Rejected) => {
                tracing::warn!(%topic, code = %document["code"], "the shadow refuses what it was asked");
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Does the steps; what follows a save that failed is left out.
    fn act(
        &mut self,
        steps: Vec<Step>,
        live: &mut impl Configurable,
        post: &Post,
        shadow: &ShadowId,
        now: Duration,
    ) {
        let mut steps = VecDeque::from(steps);
        let topic = |operation| {
            let topic = ShadowTopic { shadow: shadow.clone(), operation, part: ShadowPart::Request };
            topic.to_string()
        };
        while let Some(step) = steps.pop_front() {
            match &step {
                Step::Save(_) | Step::Forget(_) => {
                    if !self.save(&step) && matches!(step, Step::Save(_)) {
                        let applies = steps.iter().any(|step| matches!(step, Step::Apply(_)));
                        return self.machine.not_saved(self.saved.clone(), applies, now);
                    }
                }
                // There is one at most, and another only after it has failed: what is tried is given up, once.
                Step::Apply(document) => steps.extend(self.apply(document, live, now)),
                Step::Get(token) => {
                    let request = json!({ "clientToken": token }).to_string();
                    post.publish(topic(ShadowOperation::Get), request);
                }
                Step::Report(report, token) => {
                    let reported = json!({ "config": report });
                    let request = json!({ "state": { "reported": reported }, "clientToken": token });
                    post.publish(topic(ShadowOperation::Update), request.to_string());
                }
                Step::Listen(topic) => {
                    post.subscribe(vec![topic.clone()]);
                }
            }
        }
    }

    fn apply(&mut self, document: &Value, live: &mut impl Configurable, now: Duration) -> Vec<Step> {
        match live.apply(document, self.machine.generation()) {
            Ok(()) => {
                self.used = self.machine.state().effective().clone();
                tracing::info!(sha256 = self.used.sha256, "configured");
                self.machine.in_use(now);
                Vec::new()
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!(error = reason, "cannot be configured");
                self.machine.not_in_use(reason, now)
            }
        }
    }

    /// False when the disk refuses.
    fn save(&mut self, step: &Step) -> bool {
        let (Step::Save(state) | Step::Forget(state)) = step else { return true };
        match self.store.save(state) {
            Ok(()) => {
                self.saved.clone_from(state);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the configuration from afar cannot be written down");
                false
            }
        }
    }

    fn show(&self) {
        let state = self.machine.state();
        let own = self.used.document.as_object().is_none_or(serde_json::Map::is_empty);
        let lack = self.machine.lack().map(|lack| match lack {
            Lack::Unused(reason) => format!("the configuration from afar cannot be used: {reason}"),
            Lack::Incomplete(reason) => format!("the configuration from afar lacks something: {reason}"),
        });
        let troubles: Vec<String> = self.trouble.iter().cloned().chain(lack).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = RemoteState {
            sha256: (!own).then(|| self.used.sha256.clone()),
            version: self.used.version,
            is_trial: state.trial.is_some(),
            refused: state.refused.as_ref().map(|refused| (refused.sha256.clone(), refused.reason.clone())),
            trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
        };
    }
}

fn shadow(gateway: &GatewayId) -> ShadowId {
    let thing = ThingName::new(gateway.as_str()).expect("gateways are things");
    ShadowId { thing, name: ShadowName::new("config").ok() }
}

//! What was asked between two kills, what was answered, and what was heard.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use fieldline_model::ShadowPart;
use serde_json::{Value, json};

use super::shadow::{Document, Fields};

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Merges `state`, if the shadow has `version`.
    Update {
        state: Document,
        version: Option<u64>,
    },
    Delete,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done, with this version.
    Done(u64),
    /// Refused: another version, or nothing there.
    Refused,
}

/// A request, in the order of its client.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) shadow: usize,
    pub(crate) change: Change,
    pub(crate) answer: Option<Answer>,
}

/// A message to everybody.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) shadow: usize,
    pub(crate) version: u64,
    pub(crate) said: Said,
}

/// What it says.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Documents { previous: Document, current: Document },
    Delta(Fields),
}

/// Everything between two kills.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) requests: Vec<Request>,
    pub(crate) heard: Vec<Heard>,
}

/// How many requests came to what.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) refused: usize,
    pub(crate) open: usize,
}

/// Where the clients write it down.
#[derive(Debug)]
pub(crate) struct Book(Mutex<Pages>);

#[derive(Debug)]
struct Pages {
    round: Round,
    /// The request of each token.
    tokens: HashMap<String, usize>,
    /// The newest version heard of each shadow.
    versions: Vec<u64>,
    accepted: u64,
}

impl Request {
    pub(crate) fn new(client: usize, shadow: usize, change: Change) -> Self {
        Self { client, shadow, change, answer: None }
    }

    pub(crate) fn done(self, version: u64) -> Self {
        Self { answer: Some(Answer::Done(version)), ..self }
    }

    /// As it is sent.
    fn payload(&self, token: &str) -> Value {
        match &self.change {
            Change::Delete => json!({ "clientToken": token }),
            Change::Update { state, version } => {
                let state = json!({ "desired": state.desired, "reported": state.reported });
                json!({ "state": state, "version": version, "clientToken": token })
            }
        }
    }
}

impl Round {
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for request in &self.requests {
            *match request.answer {
                Some(Answer::Done(_)) => &mut counts.done,
                Some(Answer::Refused) => &mut counts.refused,
                None => &mut counts.open,
            } += 1;
        }
        counts
    }
}

impl Book {
    pub(crate) fn new(versions: Vec<u64>) -> Self {
        let round = Round::default();
        Self(Mutex::new(Pages { round, tokens: HashMap::new(), versions, accepted: 0 }))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request before it is sent; gives its token and its payload.
    pub(crate) fn ask(&self, request: Request) -> (String, String) {
        let mut pages = self.pages();
        let number = pages.round.requests.len();
        let token = format!("request-{number}");
        let payload = request.payload(&token).to_string();
        pages.tokens.insert(token.clone(), number);
        pages.round.requests.push(request);
        (token, payload)
    }

    /// The newest version of a shadow that anybody has heard of.
    pub(crate) fn version(&self, shadow: usize) -> u64 {
        self.pages().versions[shadow]
    }

    /// How many requests were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.pages().accepted
    }

    /// Notes an answer; several clients hear the same one.
    pub(crate) fn answered(&self, token: &str, answer: Answer) -> Result<()> {
        let mut pages = self.pages();
        let number = *pages.tokens.get(token).with_context(|| format!("nobody asked for {token}"))?;
        let request = pages.round.requests.get_mut(number).context("a request")?;
        let shadow = request.shadow;
        match request.answer {
            None => request.answer = Some(answer),
            Some(before) if before == answer => return Ok(()),
            Some(before) => bail!("{request:?} was answered with {before:?} and with {answer:?}"),
        }
        if let Answer::Done(version) = answer {
            pages.accepted += 1;
            pages.versions[shadow] = pages.versions[shadow].max(version);
        }
        Ok(())
    }

    /// Notes a reply or a message as MQTT brings it.
    pub(crate) fn message(&self, shadow: usize, part: ShadowPart, document: &Value) -> Result<()> {
        let token = document["clientToken"].as_str().context("a message without token")?;
        let version_of = |document: &Value| document["version"].as_u64().context("no version");
        let (version, said) = match part {
            ShadowPart::Request => return Ok(()),
            ShadowPart::Rejected => {
                ensure!(matches!(document["code"].as_u64(), Some(404 | 409)), "refused: {document}");
                return self.answered(token, Answer::Refused);
            }
            ShadowPart::Accepted => return self.answered(token, Answer::Done(version_of(document)?)),
            ShadowPart::Delta => {
                let delta = document["state"].as_object().cloned().unwrap_or_default();
                (version_of(document)?, Said::Delta(delta.into_iter().collect()))
            }
            ShadowPart::Documents => {
                let read = |name: &str| Document::read(&document[name]["state"]);
                let (previous, current) = (read("previous"), read("current"));
                (version_of(&document["current"])?, Said::Documents { previous, current })
            }
        };
        self.answered(token, Answer::Done(version))?;
        self.pages().round.heard.push(Heard { shadow, version, said });
        Ok(())
    }

    /// Everything, when the clients are gone.
    pub(crate) fn close(&self) -> Round {
        std::mem::take(&mut self.pages().round)
    }
}

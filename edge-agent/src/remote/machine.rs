//! What is done about what the shadow desires: validated, tried, and committed only when the gateway has
//! reached the server with it. Pure: messages, the state of the link and the time come in, steps go out.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::desired::{Desired, Reference};
use super::document::{digest, hexadecimal};
use super::report::{brief, refusal, report};
use super::state::{Known, Refused, State, Trial, Verdict};

/// A configuration may be cut short so often while it is tried: a power cut is bad luck, two are a habit.
const STARTS_MAX: u32 = 2;
/// How long a document that lies beside the shadow may take to come.
const FETCH_WITHIN: Duration = Duration::from_secs(60);
/// After so long without an answer a get or a report is repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(15);
/// After so long what could not be put to use is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// So many tokens of reports are remembered whose echo has not come.
const TOKENS_MAX: usize = 16;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Make the state durable. Where that fails, what follows is left out, and [`Machine::not_saved`] is told.
    Save(State),
    /// Make the state durable; where that fails, go on: what is given up is given up on a full disk too.
    Forget(State),
    /// Use the gateway's own file with this document laid over it, and connect anew.
    Apply(Value),
    /// Ask for the shadow, with this token.
    Get(String),
    /// Update the shadow's `reported`, with this token.
    Report(Value, String),
    /// Listen to this topic.
    Listen(String),
}

/// Whether a document can be used; what is wrong with it.
pub(crate) type Check = Box<dyn Fn(&Value) -> Result<(), String> + Send>;

/// Why what counts is not in use as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is not in use at all.
    Unused(String),
    /// It is in use but for what this says.
    Incomplete(String),
}

/// The machine. Times are since some beginning.
pub(crate) struct Machine {
    /// As it was last saved.
    state: State,
    check: Check,
    confirm_within: Duration,
    /// Until when the trial has to be confirmed.
    deadline: Option<Duration>,
    /// The connection that counts for the trial is one with this configuration, numbered from 1.
    generation: u64,
    link: Option<u64>,
    fetching: Option<(Reference, u64, Duration)>,
    /// What is to be told, and the token it was told with; none when the shadow has it.
    report: Option<(Value, Option<String>)>,
    /// A get without an answer, or a report, is repeated then.
    repeat: Option<Duration>,
    /// Tells the tokens of this run from those of others.
    run: u32,
    tokens: u64,
    /// Those of reports whose echo has not come.
    told: VecDeque<String>,
    /// The newest version of the shadow that was looked at.
    seen: u64,
    /// The last get that was sent.
    asked: Option<String>,
    lack: Option<Lack>,
    /// What counts is put to use again then.
    again: Option<Duration>,
}

impl Machine {
    /// Goes on from what was saved: the configuration to begin with is that of [`Machine::state`], after the
    /// steps are done. `run` is another number for each start.
    pub(crate) fn new(saved: State, check: Check, confirm_within: Duration, run: u32) -> (Self, Vec<Step>) {
        let mut machine = Self {
            state: saved,
            check,
            confirm_within,
            deadline: None,
            generation: 0,
            link: None,
            fetching: None,
            report: None,
            repeat: None,
            run,
            tokens: 0,
            told: VecDeque::new(),
            seen: 0,
            asked: None,
            lack: None,
            again: None,
        };
        let steps = machine.begin();
        (machine, steps)
    }

    /// As it was last saved.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Which configuration is in use, counted from the start.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Why what counts is not in use as it stands; none if it is.
    pub(crate) fn lack(&self) -> Option<&Lack> {
        self.lack.as_ref()
    }

    /// The agent has started without what counts, or without a part of it.
    pub(crate) fn lacks(&mut self, lack: Lack, now: Duration) {
        self.lack = Some(lack);
        self.again = Some(now + AGAIN_AFTER);
    }

    /// What counts is in use. A file that what is committed needs may have gone since.
    pub(crate) fn in_use(&mut self, now: Duration) {
        self.again = None;
        let before = self.lack.take();
        if self.state.trial.is_some() {
            return;
        }
        if let Err(reason) = (self.check)(&self.state.committed.document) {
            self.lacks(Lack::Incomplete(reason), now);
        }
        if self.lack != before {
            self.report = Some((self.standing(self.state.committed.version), None));
        }
    }

    /// A [`Step::Apply`] has failed, and what was in use before still is. What is tried is given up; what is committed
    /// is tried again until it works.
    pub(crate) fn not_in_use(&mut self, reason: String, now: Duration) -> Vec<Step> {
        self.generation -= 1;
        if let Some(trial) = self.state.trial.clone() {
            self.refuse(&trial.known, Verdict::Rejected, reason);
            return self.give_up();
        }
        self.lacks(Lack::Unused(reason), now);
        let said = self.standing(self.state.committed.version);
        if self.report.as_ref().is_none_or(|(known, _)| *known != said) {
            self.report = Some((said, None));
        }
        self.tell(now)
    }

    fn begin(&mut self) -> Vec<Step> {
        let Some(trial) = self.state.trial.clone() else { return Vec::new() };
        let starts = trial.starts + 1;
        let refusal = match (self.check)(&trial.known.document) {
            Err(reason) => Some((Verdict::Rejected, reason)),
            Ok(()) if starts > STARTS_MAX => {
                let reason = format!("the agent ended {} times while it was being tried", trial.starts);
                Some((Verdict::Reverted, reason))
            }
            Ok(()) => None,
        };
        match refusal {
            Some((verdict, reason)) => self.refuse(&trial.known, verdict, reason),
            None => {
                self.state.trial = Some(Trial { starts, ..trial });
                self.deadline = Some(self.confirm_within);
            }
        }
        // A trial counts its starts before it is used.
        vec![if self.state.trial.is_some() {
            Step::Save(self.state.clone())
        } else {
            Step::Forget(self.state.clone())
        }]
    }

    /// There is a connection, made with the configuration of this generation.
    pub(crate) fn up(&mut self, generation: u64, now: Duration) -> Vec<Step> {
        self.link = Some(generation);
        self.fetching = None;
        let mut steps = self.get(now);
        if let Some((_, token)) = &mut self.report {
            *token = None;
        }
        if self.has_reached()
            && let Some(trial) = &self.state.trial
        {
            self.report = Some((report("trying", &trial.known, None), None));
        }
        steps.extend(self.tell(now));
        steps
    }

    pub(crate) fn down(&mut self) {
        self.link = None;
        self.repeat = None;
    }

    /// When [`Machine::tick`] has something to do.
    pub(crate) fn wake(&self) -> Option<Duration> {
        let fetch = self.fetching.as_ref().map(|(_, _, until)| *until);
        [self.deadline, self.repeat, self.again, fetch].into_iter().flatten().min()
    }

    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.deadline.is_some_and(|deadline| deadline <= now)
            && let Some(trial) = self.state.trial.clone()
        {
            let within = humantime::format_duration(self.confirm_within);
            let reason = format!("the gateway did not reach the server with it within {within}");
            self.refuse(&trial.known, Verdict::Reverted, reason);
            steps.extend(self.give_up());
        }
        if let Some((reference, version, _)) = self.fetching.take_if(|(_, _, until)| *until <= now) {
            let reason = format!("nothing came on {}", reference.topic);
            steps.extend(self.reject(reference.sha256, version, reason));
        }
        if self.again.take_if(|at| *at <= now).is_some() {
            match self.lack {
                Some(Lack::Incomplete(_)) => self.in_use(now),
                _ => {
                    self.generation += 1;
                    steps.push(Step::Apply(self.state.effective().document.clone()));
                }
            }
        }
        if self.repeat.is_some_and(|at| at <= now) {
            self.repeat = None;
            steps.extend(self.get(now));
            if let Some((_, token)) = &mut self.report {
                *token = None;
            }
        }
        steps.extend(self.tell(now));
        steps
    }

    /// The shadow says that it has changed: it is asked for, unless this is the echo of a report.
    pub(crate) fn changed(&mut self, token: Option<&str>, now: Duration) -> Vec<Step> {
        match self.told.iter().position(|told| Some(told.as_str()) == token) {
            // Each has one echo: whoever uses the same token after it is somebody else.
            Some(at) => {
                self.told.remove(at);
                Vec::new()
            }
            None => self.get(now),
        }
    }

    /// The answer to a get: what is desired, and the shadow's version. The answer to the last get of this gateway
    /// counts as it is: a server that was restored from a backup counts anew from there, and so does a new shadow. Of
    /// any other, one of an older version has come late.
    pub(crate) fn desired(
        &mut self,
        desired: Desired,
        version: u64,
        token: Option<&str>,
        now: Duration,
    ) -> Vec<Step> {
        let is_own = token.is_some() && self.asked.as_deref() == token;
        if version < self.seen && !is_own {
            return Vec::new();
        }
        self.seen = version;
        self.repeat = None;
        let mut steps = match desired {
            Desired::Wrong(sha256, reason) => {
                if self.is_refused(&sha256) {
                    Vec::new()
                } else {
                    self.reject(sha256, version, reason)
                }
            }
            Desired::Document(document) => self.wanted(Known::new(document, version), now),
            Desired::Reference(reference) if self.is_known(&reference.sha256) => {
                self.known(&reference.sha256, version)
            }
            Desired::Reference(reference) => {
                let topic = reference.topic.clone();
                self.fetching = Some((reference, version, now + FETCH_WITHIN));
                vec![Step::Listen(topic)]
            }
        };
        steps.extend(self.tell(now));
        steps
    }

    /// There is no shadow: nothing is desired, whatever was before.
    pub(crate) fn forgotten(&mut self, now: Duration) -> Vec<Step> {
        self.seen = 0;
        self.desired(Desired::Document(Value::Object(serde_json::Map::new())), 0, None, now)
    }

    /// What lay beside the shadow.
    pub(crate) fn fetched(&mut self, topic: &str, payload: &[u8], now: Duration) -> Vec<Step> {
        let Some((reference, version, _)) = self.fetching.take_if(|(wanted, ..)| wanted.topic == topic)
        else {
            return Vec::new();
        };
        let mut steps = match read(&reference, payload) {
            Ok(document) => {
                let known = Known { document, sha256: reference.sha256, version };
                self.wanted(known, now)
            }
            Err(reason) => self.reject(reference.sha256, version, reason),
        };
        steps.extend(self.tell(now));
        steps
    }

    /// The server has accepted a report.
    pub(crate) fn accepted(&mut self, token: &str, now: Duration) -> Vec<Step> {
        let told = self.report.as_ref().is_some_and(|(_, with)| with.as_deref() == Some(token));
        if !told {
            return Vec::new();
        }
        self.report = None;
        self.repeat = None;
        let reached = self.has_reached();
        let Some(trial) = self.state.trial.take_if(|_| reached) else { return Vec::new() };
        self.deadline = None;
        self.report = Some((report("applied", &trial.known, None), None));
        self.state.committed = trial.known;
        let mut steps = vec![Step::Save(self.state.clone())];
        steps.extend(self.tell(now));
        steps
    }

    /// Nothing was saved, and the steps after it were left out: what was saved before counts, and the shadow is
    /// asked again later.
    pub(crate) fn not_saved(&mut self, saved: State, applies: bool, now: Duration) {
        self.state = saved;
        self.generation -= u64::from(applies);
        self.seen = 0;
        self.deadline = self.state.trial.as_ref().map(|_| now + self.confirm_within);
        self.report = self.state.trial.as_ref().map(|trial| (report("trying", &trial.known, None), None));
        self.repeat = Some(now + REPEAT_AFTER);
        self.again = self.lack.as_ref().map(|_| now + AGAIN_AFTER);
    }

    fn wanted(&mut self, known: Known, now: Duration) -> Vec<Step> {
        if self.is_known(&known.sha256) {
            return self.known(&known.sha256, known.version);
        }
        if let Err(reason) = (self.check)(&known.document) {
            return self.reject(known.sha256, known.version, reason);
        }
        self.state.refused = None;
        self.state.trial = Some(Trial { known, starts: 1 });
        self.deadline = Some(now + self.confirm_within);
        self.report = None;
        self.again = None;
        self.generation += 1;
        vec![Step::Save(self.state.clone()), Step::Apply(self.state.effective().document.clone())]
    }

    /// Whether there is nothing to be tried about it.
    fn is_known(&self, sha256: &str) -> bool {
        self.state.effective().sha256 == sha256
            || self.state.committed.sha256 == sha256
            || self.is_refused(sha256)
    }

    fn is_refused(&self, sha256: &str) -> bool {
        self.state.refused.as_ref().is_some_and(|refused| refused.sha256 == sha256)
    }

    /// It is in use, or was looked at before: tells so, and gives up what is tried instead of it.
    fn known(&mut self, sha256: &str, version: u64) -> Vec<Step> {
        let trial = self.state.trial.take_if(|trial| trial.known.sha256 != sha256);
        if self.state.trial.is_some() {
            return Vec::new();
        }
        let refused = self.state.refused.take_if(|refused| refused.sha256 != sha256);
        self.report = Some((self.standing(version), None));
        match (trial, refused) {
            (Some(_), _) => self.give_up(),
            // It may be tried again once it is desired anew.
            (None, Some(_)) => vec![Step::Forget(self.state.clone())],
            (None, None) => Vec::new(),
        }
    }

    fn reject(&mut self, sha256: String, version: u64, reason: String) -> Vec<Step> {
        let is_trying = self.state.trial.is_some();
        let known = Known { document: Value::Null, sha256, version };
        self.refuse(&known, Verdict::Rejected, reason);
        if is_trying { self.give_up() } else { vec![Step::Forget(self.state.clone())] }
    }

    fn refuse(&mut self, known: &Known, verdict: Verdict, reason: String) {
        let reason = brief(&reason);
        let refused = Refused { sha256: known.sha256.clone(), version: known.version, verdict, reason };
        self.report = Some((refusal(&refused), None));
        self.state.refused = Some(refused);
        self.state.trial = None;
        self.deadline = None;
    }

    fn give_up(&mut self) -> Vec<Step> {
        self.deadline = None;
        self.again = None;
        self.generation += 1;
        vec![Step::Forget(self.state.clone()), Step::Apply(self.state.effective().document.clone())]
    }

    fn get(&mut self, now: Duration) -> Vec<Step> {
        if self.link.is_none() {
            return Vec::new();
        }
        self.repeat = Some(now + REPEAT_AFTER);
        let token = self.token();
        self.asked = Some(token.clone());
        vec![Step::Get(token)]
    }

    /// Tells what there is to tell and was not told on this connection. Of a trial nothing is told but on a
    /// connection that was made with it.
    fn tell(&mut self, now: Duration) -> Vec<Step> {
        if self.link != Some(self.generation) {
            return Vec::new();
        }
        let Some((said, None)) = &self.report else { return Vec::new() };
        let said = said.clone();
        let token = self.token();
        self.report = Some((said.clone(), Some(token.clone())));
        self.told.truncate(TOKENS_MAX - 1);
        self.told.push_front(token.clone());
        self.repeat = Some(now + REPEAT_AFTER);
        vec![Step::Report(said, token)]
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("config-{:08x}-{}", self.run, self.tokens)
    }

    /// Whether there is a connection that was made with what counts.
    fn has_reached(&self) -> bool {
        self.link == Some(self.generation) && !matches!(self.lack, Some(Lack::Unused(_)))
    }

    /// What there is to tell while nothing is tried: of what was refused, or of what is committed.
    fn standing(&self, version: u64) -> Value {
        let committed = Known { version, ..self.state.committed.clone() };
        match (&self.state.refused, &self.lack) {
            (Some(refused), None) => refusal(refused),
            (Some(refused), Some(Lack::Unused(lack) | Lack::Incomplete(lack))) => {
                let reason = format!("{}; and what is committed cannot be used: {lack}", refused.reason);
                refusal(&Refused { reason, ..refused.clone() })
            }
            (None, None) => report("applied", &committed, None),
            (None, Some(Lack::Unused(reason))) => report("rejected", &committed, Some(reason)),
            (None, Some(Lack::Incomplete(reason))) => report("applied", &committed, Some(reason)),
        }
    }
}

fn read(reference: &Reference, payload: &[u8]) -> Result<Value, String> {
    if payload.len() as u64 != reference.bytes {
        return Err(format!("{} bytes came, {} were announced", payload.len(), reference.bytes));
    }
    if hexadecimal(payload) != reference.sha256 {
        return Err("what came has another SHA-256 than was announced".to_owned());
    }
    let document: Value =
        serde_json::from_slice(payload).map_err(|error| format!("what came is no JSON: {error}"))?;
    match digest(&document) == reference.sha256 {
        true => Ok(document),
        false => Err("what came is not canonical JSON (no blanks, keys in order)".to_owned()),
    }
}

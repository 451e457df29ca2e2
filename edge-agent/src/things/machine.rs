//! The shadows of a gateway's devices: what devices ask, what the cloud says, and what follows from it.
//!
//! It knows neither sockets nor clocks: inputs and the time come in, outputs and "wake me at" go out. The
//! outputs of a round are to be carried out only after [`Machine::commit`].

mod cloud;
mod local;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use fieldline_model::{ShadowFilter, ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
use serde_json::Value;

pub(crate) use local::refusal;

use super::cabinet::Cabinet;
use super::filters::{Filters, filter_of};
use super::record::News;
use crate::sync::Backoff;

/// Requests that may be under way to the cloud. AWS IoT Core takes ten on a connection; two are left for the
/// gateway's own shadow.
const IN_FLIGHT_MAX: usize = 8;
/// How long the cloud may take to answer.
const ANSWER_MS_MAX: u64 = 10_000;
/// So many connections may end in a row while an answer is awaited; then each next one has a time without
/// shadows. AWS IoT Core ends a connection that asks for what its policy does not allow: readings must get
/// through all the same.
const BROKEN_MAX: u32 = 3;
/// The first such time; it doubles each time.
const QUIET_MS: u64 = 60_000;
/// How often it doubles: to 16 minutes.
const QUIET_DOUBLINGS_MAX: u32 = 4;
/// What has just been changed or answered goes before what was due by then, so that a device need not wait for
/// the comparison of all others; and no longer, so that busy devices do not hold up the others for ever.
pub(crate) const AHEAD_MS: u64 = 60_000;
/// The pauses between attempts with a shadow.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// The time of an input.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Now {
    /// Since any moment, never backwards; at least [`AHEAD_MS`].
    pub(crate) ms: u64,
    /// Since the epoch, as well as the gateway knows it.
    pub(crate) epoch_s: i64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Publish to the devices.
    Local(ShadowTopic, Value),
    /// Publish to the cloud.
    Cloud(ShadowTopic, Value),
    /// Subscribe in the cloud, with one SUBSCRIBE.
    Subscribe(Vec<String>),
}

/// What is bounded, and how.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// How many shadows there may be.
    pub(crate) shadows_max: usize,
    /// How many filters may be subscribed to in the cloud.
    pub(crate) subscriptions_max: usize,
    /// Subscribe to the shadows of every thing there is.
    pub(crate) every_thing: bool,
    /// Do so when that number of filters is not enough.
    pub(crate) widens: bool,
}

/// How many shadows there are, and how they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Shadows {
    /// Shadows that the agent keeps in mind.
    pub known: usize,
    /// Of these, how many have something that the cloud has not accepted yet, or were not compared since the
    /// link is up.
    pub waiting: usize,
    /// Of these, how many the cloud refuses, until something changes.
    pub refused: usize,
    /// Filters that the server refuses, or that found no room (`things.subscriptions_max`): the shadows
    /// behind them are kept here only.
    pub unheard: usize,
    /// Files that could not be read since the start, and were set aside.
    pub damaged: u64,
}

/// What is known of a shadow beside its record.
#[derive(Debug)]
struct Track {
    /// The cloud's shadow must be asked for.
    stale: bool,
    /// The cloud refuses it; nothing is tried before something changes.
    refused: bool,
    /// The record has something for the cloud.
    pending: bool,
    /// There is no such shadow on either side, as far as is known.
    blank: bool,
    /// When it is looked at; it stands in the agenda under this time.
    due: Option<u64>,
    backoff: Backoff,
}

/// What is asked of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get,
    Create,
    Update,
    Delete,
}

/// A request that is under way.
#[derive(Debug)]
struct Flight {
    kind: Kind,
    token: String,
    deadline: u64,
    /// The cloud's shadow has been heard of since it left.
    outdated: bool,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine {
    bounds: Bounds,
    cabinet: Cabinet,
    filters: Filters,
    tracks: BTreeMap<ShadowId, Track>,
    agenda: BTreeSet<(u64, ShadowId)>,
    flights: BTreeMap<ShadowId, Flight>,
    /// What was sent in this round.
    sent: Vec<ShadowId>,
    up: bool,
    /// Connections in a row that ended while an answer was awaited.
    broken: u32,
    /// Nothing is asked of the cloud before; 0 when that is over.
    quiet_until: u64,
    tokens: Tokens,
    full_said: bool,
}

/// Makes the tokens of requests; no two runs make the same ones.
#[derive(Debug)]
struct Tokens {
    run: u32,
    count: u64,
}

impl Tokens {
    fn next(&mut self) -> String {
        self.count += 1;
        format!("fieldline-{:08x}-{}", self.run, self.count)
    }

    /// Spreads attempts, 0 to 1 (Weyl's sequence on the golden ratio).
    fn spread(&self) -> f64 {
        ((self.count + u64::from(self.run)) as f64 * 0.618_033_988_749_895).fract()
    }
}

impl Machine {
    /// With the shadows that the cabinet has; `run` is another number in each run.
    pub(crate) fn new(cabinet: Cabinet, shadows: Vec<ShadowId>, bounds: Bounds, run: u32) -> Self {
        let filters = Filters::new(bounds.every_thing, bounds.widens, bounds.subscriptions_max);
        let mut machine = Self {
            bounds,
            cabinet,
            filters,
            tracks: BTreeMap::new(),
            agenda: BTreeSet::new(),
            flights: BTreeMap::new(),
            sent: Vec::new(),
            up: false,
            broken: 0,
            quiet_until: 0,
            tokens: Tokens { run, count: 0 },
            full_said: false,
        };
        for shadow in shadows {
            machine.track(&shadow, false);
        }
        machine
    }

    /// The link is up: everything is compared anew.
    pub(crate) fn up(&mut self, now: Now) {
        self.up = true;
        self.flights.clear();
        self.filters.reset();
        if self.broken >= BROKEN_MAX {
            let doublings = (self.broken - BROKEN_MAX).min(QUIET_DOUBLINGS_MAX);
            self.quiet_until = now.ms + (QUIET_MS << doublings);
            tracing::warn!(
                connections = self.broken,
                pause_s = (QUIET_MS << doublings) / 1000,
                "the server has ended connections on which shadows were asked for; does its policy allow them?"
            );
        }
        self.compare_all(now);
    }

    /// The link is lost.
    pub(crate) fn down(&mut self) {
        if self.up && (!self.flights.is_empty() || self.filters.waits()) {
            self.broken = self.broken.saturating_add(1);
        }
        self.up = false;
        self.flights.clear();
    }

    /// Messages of the cloud may have been missed.
    pub(crate) fn compare_all(&mut self, now: Now) {
        for track in self.tracks.values_mut() {
            (track.stale, track.refused) = (true, false);
            track.backoff.reset();
        }
        self.flights.values_mut().for_each(|flight| flight.outdated = true);
        let all: Vec<ShadowId> = self.tracks.keys().cloned().collect();
        all.iter().for_each(|shadow| self.schedule(shadow, now.ms));
    }

    /// A device listens to these shadows.
    pub(crate) fn watched(&mut self, filter: ShadowFilter, shadow: Option<&ShadowId>, now: Now) {
        if self.filters.len() < self.bounds.shadows_max {
            self.filters.know(filter);
        }
        if let Some(shadow) = shadow {
            self.know(shadow, now);
        }
    }

    /// The server has answered a subscription.
    pub(crate) fn subscribed(&mut self, filter: &str, granted: bool, now: Now) {
        let Some(filter) = self.filters.answered(filter, granted) else { return };
        if !granted {
            return;
        }
        let concerned: Vec<ShadowId> = self.concerned(&filter).cloned().collect();
        concerned.iter().for_each(|shadow| self.schedule(shadow, now.ms));
    }

    /// The shadows that a filter hears of.
    fn concerned<'a>(&'a self, filter: &'a ShadowFilter) -> impl Iterator<Item = &'a ShadowId> {
        let first = filter.thing.clone().map(|thing| ShadowId { thing, name: None });
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        self.tracks
            .range((from, Bound::Unbounded))
            .map(|(shadow, _)| shadow)
            .take_while(|shadow| filter.thing.as_ref().is_none_or(|thing| shadow.thing == *thing))
            .filter(|shadow| shadow.name.is_some() == filter.named)
    }

    /// Makes what has changed durable.
    ///
    /// # Errors
    /// The disk cannot be written. The outputs of this round must not be carried out then; the shadows that
    /// they were of are compared again.
    pub(crate) fn commit(&mut self, now: Now) -> Result<(), std::io::Error> {
        let sent = std::mem::take(&mut self.sent);
        self.cabinet.commit().map_err(|(error, forgotten)| {
            for shadow in forgotten.iter().chain(&sent) {
                self.flights.remove(shadow);
                self.again(shadow, now);
            }
            error
        })
    }

    /// When the next round is due though nothing comes in.
    pub(crate) fn wake(&self) -> Option<u64> {
        let deadline = self.flights.values().map(|flight| flight.deadline).min();
        let due = self.agenda.first().map(|(due, _)| *due);
        let due = due.filter(|_| self.up && self.flights.len() < IN_FLIGHT_MAX);
        let due = due.filter(|_| self.quiet_until == 0);
        let quiet = Some(self.quiet_until).filter(|until| self.up && *until > 0);
        [deadline, due, quiet].into_iter().flatten().min()
    }

    /// How the shadows do.
    pub(crate) fn numbers(&self) -> Shadows {
        let count = |is: fn(&&Track) -> bool| self.tracks.values().filter(is).count();
        Shadows {
            known: count(|track| !track.blank),
            waiting: count(|track| !track.blank && (track.pending || track.stale)),
            refused: count(|track| track.refused),
            unheard: self.filters.unheard(),
            damaged: self.cabinet.damaged,
        }
    }

    /// Keeps a shadow in mind from now on; false when there is no room.
    fn know(&mut self, shadow: &ShadowId, now: Now) -> bool {
        if self.tracks.contains_key(shadow) {
            return true;
        }
        if self.tracks.len() >= self.bounds.shadows_max && !self.forget_a_blank_one() {
            if !std::mem::replace(&mut self.full_said, true) {
                tracing::error!(%shadow, "there is no room for another shadow (things.shadows_max)");
            }
            return false;
        }
        self.track(shadow, true);
        self.schedule(shadow, now.ms);
        true
    }

    fn forget_a_blank_one(&mut self) -> bool {
        let blank =
            self.tracks.iter().find(|(shadow, track)| track.blank && !self.flights.contains_key(*shadow));
        let Some(shadow) = blank.map(|(shadow, _)| shadow.clone()) else { return false };
        if let Some(Track { due: Some(due), .. }) = self.tracks.remove(&shadow) {
            self.agenda.remove(&(due, shadow.clone()));
        }
        let filter = filter_of(&shadow);
        if !self.concerned(&filter).any(|_| true) {
            self.filters.forget(&filter);
        }
        true
    }

    fn track(&mut self, shadow: &ShadowId, blank: bool) {
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let track = Track { stale: true, refused: false, pending: false, blank, due: None, backoff };
        self.tracks.insert(shadow.clone(), track);
        self.filters.know(filter_of(shadow));
    }

    /// Looks at a shadow at this time, and not sooner.
    fn schedule(&mut self, shadow: &ShadowId, due: u64) {
        let Some(track) = self.tracks.get_mut(shadow) else { return };
        if let Some(before) = track.due.replace(due) {
            self.agenda.remove(&(before, shadow.clone()));
        }
        self.agenda.insert((due, shadow.clone()));
    }

    fn schedule_soon(&mut self, shadow: &ShadowId, now: Now) {
        self.schedule(shadow, now.ms.saturating_sub(AHEAD_MS));
    }

    /// Compares a shadow again, after a pause that grows.
    fn again(&mut self, shadow: &ShadowId, now: Now) {
        let spread = self.tokens.spread();
        let Some(track) = self.tracks.get_mut(shadow) else { return };
        track.stale = true;
        let pause = track.backoff.next(0.5 + spread / 2.0);
        self.schedule(shadow, now.ms + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX / 2));
    }

    /// Something has changed, so that what was refused may be tried again.
    fn changed(&mut self, shadow: &ShadowId, now: Now) {
        let Some(track) = self.tracks.get_mut(shadow) else { return };
        (track.pending, track.blank) = (true, false);
        let refused = std::mem::replace(&mut track.refused, false);
        // A shadow that waits for its pause keeps it: a busy device must not press a busy cloud.
        let pauses = track.due.is_some_and(|due| due > now.ms);
        if refused || !pauses {
            self.schedule_soon(shadow, now);
        }
    }

    fn tell(&self, shadow: &ShadowId, news: Option<News>, outputs: &mut Vec<Output>) {
        let topic = |operation, part| ShadowTopic { shadow: shadow.clone(), operation, part };
        match news {
            None => {}
            Some(News::Gone(message)) => {
                outputs.push(Output::Local(topic(ShadowOperation::Delete, ShadowPart::Accepted), message));
            }
            Some(News::Changed(applied)) => {
                let update = |part| topic(ShadowOperation::Update, part);
                if let Some(delta) = applied.delta {
                    outputs.push(Output::Local(update(ShadowPart::Delta), delta));
                }
                outputs.push(Output::Local(update(ShadowPart::Documents), applied.documents));
            }
        }
    }
}

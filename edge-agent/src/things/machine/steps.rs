//! What the cloud is asked for, and when.

use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
use serde_json::json;

use super::super::record::{Record, Wish};
use super::{ANSWER_MS_MAX, Flight, IN_FLIGHT_MAX, Kind, Machine, Now, Output};

/// So long a deleted shadow is remembered for its version, in seconds: AWS's two days.
const REMEMBERED_S: i64 = 48 * 60 * 60;

impl Machine {
    /// Does what is due.
    pub(crate) fn work(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.give_up_waiting(now);
        if !self.up || now.ms < self.quiet_until {
            return;
        }
        self.quiet_until = 0;
        self.ask(now, outputs);
        if self.flights.is_empty() && !self.filters.waits() {
            self.broken = 0;
        }
    }

    fn ask(&mut self, now: Now, outputs: &mut Vec<Output>) {
        outputs.extend(self.filters.next().into_iter().map(Output::Subscribe));
        while self.flights.len() < IN_FLIGHT_MAX {
            let Some((due, shadow)) = self.agenda.first().cloned() else { return };
            if due > now.ms {
                return;
            }
            self.agenda.remove(&(due, shadow.clone()));
            if let Some(track) = self.tracks.get_mut(&shadow) {
                track.due = None;
            }
            self.step(&shadow, now, outputs);
        }
    }

    fn give_up_waiting(&mut self, now: Now) {
        let late = self.flights.iter().filter(|(_, flight)| flight.deadline <= now.ms);
        let late: Vec<ShadowId> = late.map(|(shadow, _)| shadow.clone()).collect();
        for shadow in late {
            tracing::debug!(%shadow, "the cloud has not answered for a shadow");
            self.flights.remove(&shadow);
            self.again(&shadow, now);
        }
    }

    /// Asks the cloud for what a shadow needs next. What cannot be done now comes again: with the answer to
    /// what is under way, or with that to its filter's subscription.
    fn step(&mut self, shadow: &ShadowId, now: Now, outputs: &mut Vec<Output>) {
        let Some(track) = self.tracks.get(shadow) else { return };
        if track.refused || self.flights.contains_key(shadow) || !self.filters.hears(shadow) {
            return;
        }
        let stale = track.stale;
        let Ok(record) = self.cabinet.load(shadow) else { return self.again(shadow, now) };
        if stale {
            return self.send(shadow, Kind::Get, json!({}), now, outputs);
        }
        match record.wish() {
            None => self.settle(shadow, &record, now),
            Some(Wish::Create) => {
                // Nothing is in it: a second one that comes late does no harm.
                self.send(shadow, Kind::Create, json!({ "state": { "reported": {} } }), now, outputs);
            }
            Some(Wish::Update(version, patch)) => {
                let request = json!({ "state": patch.request(), "version": version });
                if record.sent.is_none() {
                    self.cabinet.put(shadow, Record { sent: Some(patch), ..record });
                }
                self.send(shadow, Kind::Update, request, now, outputs);
            }
            Some(Wish::Delete) => {
                self.cabinet.put(shadow, Record { deletion_sent_s: Some(now.epoch_s), ..record });
                self.send(shadow, Kind::Delete, json!({}), now, outputs);
            }
        }
    }

    /// Both sides agree.
    fn settle(&mut self, shadow: &ShadowId, record: &Record, now: Now) {
        if let Some(track) = self.tracks.get_mut(shadow) {
            (track.pending, track.blank) = (false, record.is_blank());
            track.backoff.reset();
        }
        let forgotten = record.deleted.is_none_or(|deleted| now.epoch_s - deleted.at_s > REMEMBERED_S);
        if record.is_blank() && forgotten && *record != Record::default() {
            self.cabinet.put(shadow, Record::default());
        }
    }

    fn send(
        &mut self,
        shadow: &ShadowId,
        kind: Kind,
        mut request: serde_json::Value,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let token = self.tokens.next();
        request["clientToken"] = json!(token);
        let operation = match kind {
            Kind::Get => ShadowOperation::Get,
            Kind::Create | Kind::Update => ShadowOperation::Update,
            Kind::Delete => ShadowOperation::Delete,
        };
        let topic = ShadowTopic { shadow: shadow.clone(), operation, part: ShadowPart::Request };
        outputs.push(Output::Cloud(topic, request));
        let flight = Flight { kind, token, deadline: now.ms + ANSWER_MS_MAX, outdated: false };
        self.flights.insert(shadow.clone(), flight);
        self.sent.push(shadow.clone());
    }
}

//! What the cloud says. Its messages may be late, come twice, or not at all: what changes a record is an
//! answer to a request of ours, or a document that is newer than what is known.

use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
use serde_json::Value;

use super::super::record::{Cloud, Record, State};
use super::{Flight, Kind, Machine, Now, Output};

impl Machine {
    /// Takes a message.
    pub(crate) fn heard(&mut self, topic: &ShadowTopic, payload: &[u8], now: Now, outputs: &mut Vec<Output>) {
        let shadow = &topic.shadow;
        if !self.filters.knows(shadow) {
            return;
        }
        let Ok(document) = serde_json::from_slice::<Value>(payload) else {
            return tracing::warn!(%topic, "cannot read what the cloud says of a shadow");
        };
        let flight = self.answered(topic, &document);
        let outcome = match (topic.part, flight) {
            (ShadowPart::Accepted, Some(flight)) => self.accepted(shadow, &flight, &document, now, outputs),
            (ShadowPart::Rejected, Some(flight)) => self.rejected(shadow, &flight, &document, now, outputs),
            (ShadowPart::Documents, _) => self.documents(shadow, &document, now, outputs),
            // Somebody else's, or one of ours whose answer comes late.
            (ShadowPart::Accepted, None) if topic.operation == ShadowOperation::Delete => {
                self.compare(shadow, now);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::error!(%shadow, %error, "a shadow cannot be read");
            self.again(shadow, now);
        }
    }

    /// The request that this answers, which is no longer under way then.
    fn answered(&mut self, topic: &ShadowTopic, document: &Value) -> Option<Flight> {
        let flight = self.flights.get(&topic.shadow)?;
        let operation = match flight.kind {
            Kind::Get => ShadowOperation::Get,
            Kind::Create | Kind::Update => ShadowOperation::Update,
            Kind::Delete => ShadowOperation::Delete,
        };
        let answers = matches!(topic.part, ShadowPart::Accepted | ShadowPart::Rejected)
            && operation == topic.operation
            && document["clientToken"].as_str() == Some(&flight.token);
        if answers { self.flights.remove(&topic.shadow) } else { None }
    }

    fn accepted(
        &mut self,
        shadow: &ShadowId,
        flight: &Flight,
        document: &Value,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> std::io::Result<()> {
        let mut record = self.cabinet.load(shadow)?;
        let version = document["version"].as_u64().unwrap_or_default();
        let known = record.cloud.as_ref().map(|cloud| cloud.version);
        match flight.kind {
            Kind::Get => {
                if flight.outdated && known.is_some_and(|known| version < known) {
                    self.compare(shadow, now);
                    return Ok(());
                }
                self.fresh(shadow);
                self.meet(shadow, record, Cloud { version, state: State::of(document) }, now, outputs);
                self.schedule_soon(shadow, now);
                if flight.outdated {
                    self.compare(shadow, now);
                }
            }
            Kind::Update => {
                if known.is_some_and(|known| known + 1 == version) && record.sent.is_some() {
                    record.accepted(version);
                    self.cabinet.put(shadow, record);
                } else if known.is_none_or(|known| known < version) {
                    self.compare(shadow, now);
                    return Ok(());
                }
                self.settled(shadow, now);
            }
            // Somebody may have been there first: what is in it is not known.
            Kind::Create => self.compare(shadow, now),
            Kind::Delete => self.missing(shadow, record, now, outputs),
        }
        Ok(())
    }

    fn rejected(
        &mut self,
        shadow: &ShadowId,
        flight: &Flight,
        document: &Value,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> std::io::Result<()> {
        let code = document["code"].as_u64().unwrap_or_default();
        let record = self.cabinet.load(shadow)?;
        match (code, flight.kind) {
            (404, Kind::Get) if flight.outdated => self.compare(shadow, now),
            (404, Kind::Get | Kind::Delete) => self.missing(shadow, record, now, outputs),
            (404 | 409 | 429 | 500.., _) => self.again(shadow, now),
            _ => {
                let message = document["message"].as_str().unwrap_or_default();
                tracing::warn!(%shadow, code, message, "the cloud refuses a shadow, until something changes");
                if flight.kind == Kind::Update && record.sent.is_some() {
                    self.cabinet.put(shadow, Record { sent: None, ..record });
                }
                self.refused(shadow);
            }
        }
        Ok(())
    }

    /// A document of somebody's update, or of our own.
    fn documents(
        &mut self,
        shadow: &ShadowId,
        document: &Value,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> std::io::Result<()> {
        let current = &document["current"];
        let Some(version) = current["version"].as_u64() else { return Ok(()) };
        if !self.know(shadow, now) {
            return Ok(());
        }
        let mut record = self.cabinet.load(shadow)?;
        let own = self.flights.get(shadow).is_some_and(|flight| {
            flight.kind == Kind::Update && document["clientToken"].as_str() == Some(&flight.token)
        });
        match record.cloud.as_ref().map(|cloud| cloud.version) {
            // What we sent is there, even if the cloud writes it otherwise than we do.
            Some(known) if own && version == known + 1 && record.sent.is_some() => {
                self.flights.remove(shadow);
                record.accepted(version);
                self.cabinet.put(shadow, record);
                self.settled(shadow, now);
            }
            Some(known) if version > known => {
                let theirs = Cloud { version, state: State::of(current) };
                self.meet(shadow, record, theirs, now, outputs);
                self.changed(shadow, now);
            }
            Some(_) => {}
            // It may be older than the deletion: the cloud knows.
            None => self.compare(shadow, now),
        }
        Ok(())
    }

    fn meet(
        &mut self,
        shadow: &ShadowId,
        mut record: Record,
        theirs: Cloud,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let before = record.clone();
        match record.meet(theirs, now.epoch_s) {
            Ok(news) => {
                if record != before {
                    self.cabinet.put(shadow, record);
                    self.outdate(shadow);
                }
                self.tell(shadow, news, outputs);
            }
            Err(error) => {
                tracing::warn!(%shadow, %error, "what the cloud has does not fit with what the device has");
                self.refused(shadow);
            }
        }
    }

    fn missing(&mut self, shadow: &ShadowId, mut record: Record, now: Now, outputs: &mut Vec<Output>) {
        let before = record.clone();
        match record.missing(now.epoch_s) {
            Ok(news) => {
                if record != before {
                    self.cabinet.put(shadow, record);
                }
                self.tell(shadow, news, outputs);
                self.fresh(shadow);
                self.settled(shadow, now);
            }
            Err(error) => {
                tracing::warn!(%shadow, %error, "a shadow cannot be deleted");
                self.refused(shadow);
            }
        }
    }

    fn outdate(&mut self, shadow: &ShadowId) {
        if let Some(flight) = self.flights.get_mut(shadow) {
            flight.outdated = true;
        }
    }

    /// The cloud's shadow must be asked for, now or as soon as the pause is over.
    fn compare(&mut self, shadow: &ShadowId, now: Now) {
        if !self.know(shadow, now) {
            return;
        }
        self.outdate(shadow);
        if let Some(track) = self.tracks.get_mut(shadow) {
            track.stale = true;
        }
        self.changed(shadow, now);
    }

    /// The cloud's shadow is known; whether it must be told something shows in the next step.
    fn fresh(&mut self, shadow: &ShadowId) {
        if let Some(track) = self.tracks.get_mut(shadow) {
            (track.stale, track.pending) = (false, true);
        }
    }

    /// An answer is done with: the next thing at once.
    fn settled(&mut self, shadow: &ShadowId, now: Now) {
        if let Some(track) = self.tracks.get_mut(shadow) {
            track.backoff.reset();
        }
        self.schedule_soon(shadow, now);
    }

    fn refused(&mut self, shadow: &ShadowId) {
        if let Some(track) = self.tracks.get_mut(shadow) {
            (track.refused, track.stale) = (true, true);
        }
    }
}

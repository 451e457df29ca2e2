//! The part of a connection that is not about readings: what correspondents subscribe to, say and hear.

use fieldline_mqtt::{Message, QoS, RequestId};

use super::answers::Unanswered;
use super::{Instant, Link};
use crate::sync::post::Letter;

/// AWS IoT Core takes so many filters in a SUBSCRIBE.
const FILTERS_MAX: usize = 8;

impl Link<'_> {
    /// Asks for what correspondents listen to. They hear that the link is up when all is answered.
    pub(super) fn subscribe_for_correspondents(&mut self) -> anyhow::Result<()> {
        self.ask_for(self.uplink.office.filters())?;
        self.up_when_answered();
        Ok(())
    }

    fn ask_for(&mut self, filters: Vec<String>) -> anyhow::Result<()> {
        for filters in filters.chunks(FILTERS_MAX) {
            let wanted: Vec<_> = filters.iter().map(|filter| (filter.as_str(), QoS::AtLeastOnce)).collect();
            let request = self.connection.subscribe(&wanted)?;
            self.asked.insert(request, filters.to_vec());
        }
        Ok(())
    }

    /// A filter that the server refuses costs its correspondent its messages, and nobody else anything.
    pub(super) fn subscribed(&mut self, request: RequestId, granted: &[Result<QoS, u8>]) {
        for (filter, answer) in self.asked.remove(&request).into_iter().flatten().zip(granted) {
            if let Err(code) = answer {
                tracing::warn!(filter, code, "the server does not let this gateway subscribe");
            }
            self.uplink.office.subscribed(&filter, answer.is_ok());
        }
        self.up_when_answered();
    }

    fn up_when_answered(&mut self) {
        if self.asked.is_empty() && !self.told_up {
            self.told_up = true;
            self.uplink.office.up(self.uplink.generation);
        }
    }

    /// Whether a letter may go out now.
    pub(super) fn takes_letters(&mut self, now: Instant) -> bool {
        self.connection.vacancy() > 0 && self.pace.wait(now).is_zero()
    }

    pub(super) fn post(&mut self, letter: Letter) -> anyhow::Result<()> {
        match letter {
            Letter::Subscribe(filters) => self.ask_for(filters),
            Letter::Publish { topic, payload } => {
                let bytes = payload.len();
                if let Some(token) = self.connection.publish(&topic, payload, QoS::AtLeastOnce, false)? {
                    self.unanswered.insert(token, Unanswered::new(None, bytes));
                }
                self.pace.spend(bytes, Instant::now());
                Ok(())
            }
        }
    }

    pub(super) fn hear(&self, message: &Message) {
        self.uplink.office.heard(message);
    }
}

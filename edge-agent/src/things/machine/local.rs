//! What devices ask for. It is answered from here, whether the cloud can be reached or not.

use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
use fieldline_shadow::{Error, Plain, Update};
use serde_json::Value;

use super::super::record::{News, Record};
use super::{Machine, Now, Output};

impl Machine {
    /// Does what a device asks, if it is not refused already; the last output is the reply.
    pub(crate) fn request(
        &mut self,
        topic: &ShadowTopic,
        payload: &[u8],
        refused: Option<Error>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let outcome = match (refused, topic.operation) {
            (Some(error), _) => Err(error),
            (None, ShadowOperation::Get) => self.get(&topic.shadow, payload, now),
            (None, ShadowOperation::Update) => self.update(&topic.shadow, payload, now, outputs),
            (None, ShadowOperation::Delete) => self.delete(&topic.shadow, payload, now),
        };
        outputs.push(match outcome {
            Ok(reply) => Output::Local(topic.with(ShadowPart::Accepted), reply),
            Err(error) => refusal(topic, &error, payload, now),
        });
    }

    fn get(&mut self, shadow: &ShadowId, payload: &[u8], now: Now) -> Result<Value, Error> {
        let request = Plain::parse(payload)?;
        self.know(shadow, now);
        let record = self.load(shadow)?;
        let stored = record.stored();
        let found = stored.shadow(&shadow.to_string())?;
        Ok(found.document(now.epoch_s, request.client_token.as_deref()))
    }

    fn update(
        &mut self,
        shadow: &ShadowId,
        payload: &[u8],
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Result<Value, Error> {
        let update = Update::parse(payload)?;
        let mut record = self.load(shadow)?;
        let applied = update.apply(&record.stored(), now.epoch_s)?;
        if !self.know(shadow, now) {
            return Err(Error::Internal);
        }
        record.set_local(applied.shadow.clone());
        self.cabinet.put(shadow, record);
        self.changed(shadow, now);
        let accepted = applied.accepted.clone();
        self.tell(shadow, Some(News::Changed(Box::new(applied))), outputs);
        Ok(accepted)
    }

    /// What a delete says beside its token does not matter, so that anything may stand there.
    fn delete(&mut self, shadow: &ShadowId, payload: &[u8], now: Now) -> Result<Value, Error> {
        let token = Update::token_of(payload);
        let mut record = self.load(shadow)?;
        let (deleted, reply) = record.stored().delete(&shadow.to_string(), now.epoch_s, token.as_deref())?;
        record.set_deleted(deleted);
        self.cabinet.put(shadow, record);
        self.changed(shadow, now);
        Ok(reply)
    }

    fn load(&mut self, shadow: &ShadowId) -> Result<Record, Error> {
        self.cabinet.load(shadow).map_err(|error| {
            tracing::error!(%shadow, %error, "a shadow cannot be read");
            Error::Internal
        })
    }
}

/// The reply to a request that is refused.
pub(crate) fn refusal(topic: &ShadowTopic, error: &Error, payload: &[u8], now: Now) -> Output {
    tracing::debug!(%topic, %error, "a shadow's request was refused");
    let document = error.document(now.epoch_s, Update::token_of(payload).as_deref());
    Output::Local(topic.with(ShadowPart::Rejected), document)
}

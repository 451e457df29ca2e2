//! What the server has not answered yet, and what is done about it.

use std::time::Instant;

use fieldline_model::SeqRange;
use fieldline_mqtt::{ClientError, Event, QoS, Token, Version};

use super::Link;

/// How often an unanswered SUBSCRIBE is sent on one connection of MQTT 3.1.1.
const SUBSCRIBES_MAX: u32 = 3;

/// A message without its PUBACK.
pub(super) struct Unanswered {
    /// The lane and the numbers, if it is a block.
    pub(super) block: Option<(u64, SeqRange)>,
    bytes: usize,
    since: Instant,
    /// When it was last sent on this connection.
    sent: Instant,
}

impl Unanswered {
    pub(super) fn new(block: Option<(u64, SeqRange)>, bytes: usize) -> Self {
        let now = Instant::now();
        Self { block, bytes, since: now, sent: now }
    }
}

impl Link<'_> {
    /// Acknowledgements are listened for before the first block goes out, also when the server still
    /// has a session of ours: it may be older than the topic.
    pub(super) async fn subscribe(&mut self) -> anyhow::Result<()> {
        let topic = self.ack_topic.clone();
        let filters = [(topic.as_str(), QoS::AtLeastOnce)];
        let request = self.connection.subscribe(&filters)?;
        let mut sent = 1;
        let granted = loop {
            match tokio::time::timeout(self.uplink.settings.answer_timeout, self.granted()).await {
                Ok(granted) => break granted?,
                // With MQTT 5 only a new connection helps.
                Err(_elapsed) if self.repeats() && sent < SUBSCRIBES_MAX => {
                    self.connection.resubscribe(request, &filters)?;
                    sent += 1;
                }
                Err(_elapsed) => anyhow::bail!("the server does not answer the subscription"),
            }
        };
        match granted.first() {
            Some(Ok(_)) => Ok(()),
            _ => anyhow::bail!("the server does not let {} subscribe to {topic}", self.uplink.gateway),
        }
    }

    /// Waits for the answer to the subscription; what comes before it is taken. When it is cut off in
    /// the middle of that, the message stays without PUBACK, and the server sends it again.
    async fn granted(&mut self) -> Result<Vec<Result<QoS, u8>>, ClientError> {
        loop {
            match self.connection.next().await? {
                Event::Subscribed { granted, .. } => return Ok(granted),
                Event::Message { message, id, .. } => self.take(&message, id).await,
                _ => {}
            }
        }
    }

    /// Whether packets are sent again on the same connection: MQTT 3.1.1 allows it, 5 forbids it.
    fn repeats(&self) -> bool {
        self.connection.version() == Version::V3_1_1
    }

    /// MQTT 3.1.1: the oldest message without a PUBACK is sent once more as it was.
    pub(super) fn repeat_oldest(&mut self, now: Instant) -> anyhow::Result<()> {
        let due = self.repeat_due();
        if due.is_none_or(|(due, _)| due > now) || !self.pace.wait(now).is_zero() {
            return Ok(());
        }
        if let Some((_, token)) = due
            && let Some(message) = self.unanswered.get_mut(&token)
        {
            self.connection.republish(token)?;
            message.sent = now;
            self.pace.spend(message.bytes, now);
            tracing::debug!(?token, "no PUBACK; a message is sent again");
        }
        Ok(())
    }

    /// When the next message is to be sent again, and which; halfway to the store's own time-out.
    fn repeat_due(&self) -> Option<(Instant, Token)> {
        if !self.repeats() {
            return None;
        }
        let patience = self.uplink.settings.ack_timeout / 2;
        self.unanswered.iter().map(|(token, message)| (message.sent + patience, *token)).min()
    }

    /// A server that answers pings but not publishes, or a network that has lost its answers, would
    /// use the connection's window up for good: a new connection has a new one.
    pub(super) fn check_answers(&self) -> anyhow::Result<()> {
        let patience = self.uplink.settings.ack_timeout * 2;
        let oldest = self.unanswered.values().map(|message| message.since).min();
        match oldest {
            Some(since) if since.elapsed() > patience => {
                anyhow::bail!("the server has not answered a message for {patience:?}")
            }
            _ => Ok(()),
        }
    }

    /// When to see to [`Link::repeat_oldest`] again; not before the pace and a pause let it.
    pub(super) fn repeat_wake(&mut self) -> Option<Instant> {
        let (due, _) = self.repeat_due().filter(|_| self.paused_until.is_none())?;
        let now = Instant::now();
        Some(due.max(now + self.pace.wait(now)))
    }
}

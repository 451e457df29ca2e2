//! Readings from a broker that a site already has, as one of its subscribers.
//!
//! Weaker than the listener: that broker acknowledges to the device before the agent has the reading
//! on disk, so what it loses is lost. What it hands over is acknowledged to it only when on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};
use tokio::sync::{mpsc, watch};

use super::reader::{Heard, Reader};
use crate::config::BrokerSettings;
use crate::intake::completion::Completion;
use crate::sync::{Backoff, random, stopped};

/// One broker on site.
#[derive(Debug)]
pub(crate) struct BrokerSource {
    settings: BrokerSettings,
    options: ClientOptions,
    reader: Arc<Reader>,
}

impl BrokerSource {
    pub(crate) fn new(settings: BrokerSettings, gateway: &str, reader: Arc<Reader>) -> Self {
        let client_id = settings.client_id.clone().unwrap_or_else(|| format!("{gateway}-source"));
        let mut options = ClientOptions::new(&settings.address.host, settings.address.port, client_id);
        // The broker keeps what comes while the agent is away.
        options.clean_start = false;
        options.session_expiry_s = 86_400;
        options.username.clone_from(&settings.username);
        Self { settings, options, reader }
    }

    /// Runs until told to stop; connects again with backoff.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        loop {
            let started = Instant::now();
            tokio::select! {
                () = stopped(&mut stop) => return,
                ended = self.listen() => if let Err(error) = ended {
                    tracing::warn!(error = format!("{error:#}"), broker = %self.settings.address, "lost a broker on site");
                }
            }
            if started.elapsed() > Duration::from_secs(30) {
                backoff.reset();
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(backoff.next(random())) => {}
            }
        }
    }

    async fn listen(&self) -> anyhow::Result<()> {
        // Read each time: a file that is gone costs this broker only, and a new password needs no restart.
        let settings = self.settings.clone();
        let password = tokio::task::spawn_blocking(move || settings.password()).await??;
        let options = ClientOptions { password, ..self.options.clone() };
        let mut connection = Connection::open(&options).await?;
        let filters: Vec<(&str, QoS)> =
            self.settings.topics.iter().map(|topic| (topic.as_str(), QoS::AtLeastOnce)).collect();
        connection.subscribe(&filters)?;
        tracing::info!(broker = %self.settings.address, "listening to a broker on site");
        let (sender, mut durable) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                event = connection.next() => match event? {
                    Event::Message { message, id, .. } => {
                        let done = sender.clone();
                        let heard = self.reader.hear(&message.topic, &message.payload, |_| match id {
                            Some(id) => Completion::Source(done, id),
                            None => Completion::Nobody,
                        });
                        self.reader.burst_ended();
                        if let (Heard::Other, Some(id)) = (heard, id) {
                            connection.acknowledge(id);
                        }
                    }
                    Event::Subscribed { granted, .. } => {
                        for (topic, answer) in self.settings.topics.iter().zip(granted) {
                            if let Err(code) = answer {
                                tracing::error!(topic, code, "the broker does not let us subscribe");
                            }
                        }
                    }
                    _ => {}
                },
                Some(id) = durable.recv() => connection.acknowledge(id),
            }
        }
    }
}

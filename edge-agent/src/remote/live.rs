//! A configuration put to use in a running agent: filters, limits, maps, brokers on site and the uplink.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::document::lay_over;
use crate::config::{BrokerSettings, Config};
use crate::intake::Intake;
use crate::rules::Desk;
use crate::sources::broker::BrokerSource;
use crate::sources::reader::Reader;
use crate::sync::{Course, Uplink};

/// What can be changed while the agent runs.
#[derive(Debug)]
pub(crate) struct Live {
    /// The gateway's own configuration.
    pub(crate) base: Config,
    pub(crate) intake: Arc<Intake>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) course: watch::Sender<Course>,
    pub(crate) sources: Sources,
    pub(crate) rules: Arc<Desk>,
}

impl Live {
    /// Puts a document to use that was checked. Devices stay connected, and no reading is lost: those that
    /// come meanwhile meet either the old filter or the new one.
    ///
    /// # Errors
    /// A file that the check has seen is gone.
    pub(crate) fn apply(&mut self, document: &serde_json::Value, generation: u64) -> anyhow::Result<()> {
        let config = lay_over(&self.base, document).map_err(anyhow::Error::msg)?;
        let filter = config.check()?;
        let options = match &config.sync.server {
            Some(server) => Some(Uplink::options(&config.gateway.id, server, &config.sync)?),
            None => None,
        };
        // With the next commit, which the filter's change brings about.
        self.intake.keep_batches_small(!config.rules.is_empty());
        self.rules.want(config.rules);
        self.intake.reconfigure(filter, &config.limits);
        self.reader.set_maps(config.map.into());
        self.sources.run(&config.broker, config.gateway.id.as_str(), &self.reader)?;
        self.course.send_replace(Course { settings: config.sync, options, generation });
        Ok(())
    }
}

/// The brokers on site that are listened to.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    running: Vec<(BrokerSettings, watch::Sender<bool>, JoinHandle<()>)>,
}

impl Sources {
    /// Listens to these and to no other; those that stay as they are go on undisturbed.
    ///
    /// # Errors
    /// A file with a password cannot be read; then nothing has changed.
    pub(crate) fn run(
        &mut self,
        wanted: &[BrokerSettings],
        gateway: &str,
        reader: &Arc<Reader>,
    ) -> anyhow::Result<()> {
        let is_running =
            |settings: &&BrokerSettings| self.running.iter().any(|(known, ..)| known == *settings);
        let new = wanted.iter().filter(|settings| !is_running(settings));
        let new: Vec<_> = new
            .map(|settings| Ok((settings, BrokerSource::new(settings.clone(), gateway, Arc::clone(reader))?)))
            .collect::<anyhow::Result<_>>()?;
        self.running.retain(|(settings, stop, _)| {
            let stays = wanted.contains(settings);
            if !stays {
                stop.send_replace(true);
            }
            stays
        });
        for (settings, source) in new {
            let (stop, stopping) = watch::channel(false);
            self.running.push((settings.clone(), stop, tokio::spawn(source.run(stopping))));
        }
        Ok(())
    }

    /// Stops them all, and waits.
    pub(crate) async fn stop(&mut self) {
        for (_, stop, task) in self.running.drain(..) {
            stop.send_replace(true);
            if task.await.is_err() {
                tracing::warn!("a listener to a broker on site ended badly");
            }
        }
    }
}

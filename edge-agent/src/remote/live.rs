//! A configuration put to use in a running agent: filters, limits, maps, brokers on site and the uplink.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::document::lay_over_unread;
use crate::config::{BrokerSettings, Config};
use crate::intake::Intake;
use crate::rules::Desk;
use crate::sources::broker::BrokerSource;
use crate::sources::reader::Reader;
use crate::sync::{Course, Uplink};

/// What a configuration from afar is put to use in.
pub(crate) trait Configurable {
    /// Uses the gateway's own file with this document laid over it, and connects anew.
    ///
    /// # Errors
    /// It cannot be used. Then nothing has changed.
    fn apply(&mut self, document: &Value, generation: u64) -> anyhow::Result<()>;
}

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

impl Configurable for Live {
    /// Puts a document to use that was checked. Devices stay connected, and no reading is lost: those that come
    /// meanwhile meet either the old filter or the new one. All that can fail is done first. A password that is gone
    /// since keeps its broker away and nothing else: what a gateway goes back to may be its only way to the server.
    fn apply(&mut self, document: &Value, generation: u64) -> anyhow::Result<()> {
        let config = lay_over_unread(&self.base, document).map_err(anyhow::Error::msg)?;
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
        self.sources.run(&config.broker, config.gateway.id.as_str(), &self.reader);
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
    pub(crate) fn run(&mut self, wanted: &[BrokerSettings], gateway: &str, reader: &Arc<Reader>) {
        let is_running =
            |settings: &&BrokerSettings| self.running.iter().any(|(known, ..)| known == *settings);
        let new: Vec<_> = wanted.iter().filter(|settings| !is_running(settings)).cloned().collect();
        self.running.retain(|(settings, stop, _)| {
            let stays = wanted.contains(settings);
            if !stays {
                stop.send_replace(true);
            }
            stays
        });
        for settings in new {
            let (stop, stopping) = watch::channel(false);
            let source = BrokerSource::new(settings.clone(), gateway, Arc::clone(reader));
            self.running.push((settings, stop, tokio::spawn(source.run(stopping))));
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::intake::counts::Note;
    use crate::settings;

    /// Filters, rules and maps were changed before a password was found to be gone, which failed the rest.
    #[tokio::test]
    async fn what_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let base: Config =
            settings::parse(&format!("[sync]\nserver = \"mqtts://a\"\ntls.ca = {ca:?}")).unwrap();
        let intake = Arc::new(Intake::new(base.check().unwrap(), &base.limits, Note::default()));
        let reader = Arc::new(Reader::new(Arc::clone(&intake), Arc::from([])));
        let beginning = Course { settings: base.sync.clone(), options: None, generation: 0 };
        let (course, courses) = watch::channel(beginning);
        let (sources, rules, known) = (Sources::default(), Arc::default(), Arc::clone(&reader));
        let mut live = Live { base, intake, reader, course, sources, rules };
        let broker = json!({ "address": "mqtt://127.0.0.1:1", "topics": ["a"], "password_file": "gone" });
        let document = json!({ "map": [{ "topic": "plant/+", "device": "{1}" }], "broker": [broker] });
        assert!(live.apply(&document, 1).is_err(), "the authority's certificate is gone");
        assert!(!known.is_telemetry("plant/press-4"));
        assert!(live.sources.running.is_empty() && !courses.has_changed().unwrap());
        std::fs::write(ca, "").unwrap();
        live.apply(&document, 1).unwrap();
        assert!(known.is_telemetry("plant/press-4"));
        assert_eq!((live.sources.running.len(), courses.borrow().generation), (1, 1));
        live.sources.stop().await;
    }
}

//! The server put together: listeners, broker, HTTP, and what works behind them, started and stopped in order.

mod doors;
mod site;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fieldline_mqtt::Broker;
use fieldline_store::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::doors::{Addresses, Doors};
use self::site::{Ending, Site};
use crate::access::{Access, NoCertificates};
use crate::broker::{Back, Desk};
use crate::config::{Config, Endpoint};
use crate::counters::Counters;
use crate::data_plane::{self, DataPlane};
use crate::functions::{self, Invoker, Line};
use crate::http;
use crate::retention;
use crate::rules_desk::RulesDesk;
use crate::waiting::Waiting;

/// How long open requests may take to end at shutdown.
const DOORS_CLOSE: Duration = Duration::from_secs(10);

/// A running server. Dropping it without [`Server::stop`] loses nothing that was acknowledged.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    /// First the doors are closed, then what is inside is finished.
    doors: watch::Sender<bool>,
    work: watch::Sender<bool>,
    door_tasks: Vec<JoinHandle<()>>,
    work_tasks: Vec<JoinHandle<()>>,
    /// What ends after the work, in this order.
    last_words: Vec<Ending>,
    store: Option<Arc<SqliteStore>>,
    rules: Option<Rules>,
}

/// The rules of a running server, from outside.
#[derive(Debug, Clone)]
pub struct Rules(RulesDesk);

impl Rules {
    /// Reads the files of rules again; what cannot be used is in the log.
    pub async fn reload(&self) {
        if let Err(error) = self.0.reload().await {
            tracing::error!(error = &error as &dyn std::error::Error, "rules were not read again");
        }
    }
}

impl Server {
    /// Binds the listeners, opens the store where there is one, and starts.
    ///
    /// # Errors
    /// The configuration is impossible, the data folder cannot be used, or an address is taken;
    /// each says what, where, and what to do.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let config = config.with_identity();
        config.check()?;
        let listeners = Doors::bind(&config)?;
        let (doors, closing) = watch::channel(false);
        let (work, ending) = watch::channel(false);
        let mut server = Self {
            addresses: listeners.addresses(),
            doors,
            work,
            door_tasks: Vec::new(),
            work_tasks: Vec::new(),
            last_words: Vec::new(),
            store: None,
            rules: None,
        };
        let parts = match config.functions.clone() {
            Some(functions) => server.start_with_functions(&config, functions, ending),
            None => {
                let site = Site::start(&config, &closing, ending).await?;
                server.work_tasks.extend(site.work);
                server.last_words = site.last_words;
                server.start_retention(&config, &site.store, closing.clone());
                server.store = Some(site.store);
                server.rules = Some(Rules(site.rules));
                site.parts
            }
        };
        server.door_tasks.extend(listeners.open(parts, &closing)?);
        Ok(server)
    }

    /// Where the broker listens without TLS.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.addresses.mqtt
    }

    /// Where the broker listens with mutual TLS.
    pub fn mqtts_address(&self) -> Option<SocketAddr> {
        self.addresses.mqtts
    }

    /// Where the data plane listens with mutual TLS.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.addresses.https
    }

    /// Where the HTTP API listens.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// The rules; none where the functions run elsewhere.
    pub fn rules(&self) -> Option<Rules> {
        self.rules.clone()
    }

    /// Takes nothing more in, finishes what is in hand, and closes the store.
    pub async fn stop(self) {
        self.doors.send_replace(true);
        for task in self.door_tasks {
            // A client that never ends its request must not keep the server from stopping.
            match tokio::time::timeout(DOORS_CLOSE, task).await {
                Ok(outcome) => finished(outcome),
                Err(_elapsed) => tracing::warn!("a listener did not close in time"),
            }
        }
        self.work.send_replace(true);
        for task in self.work_tasks {
            finished(task.await);
        }
        for (ending, task) in self.last_words {
            ending.send_replace(true);
            finished(task.await);
        }
        // It holds the store.
        drop(self.rules);
        if let Some(store) = self.store
            && let Err(error) = store.close().await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the store did not close well");
        }
    }

    /// The tasks between broker and functions elsewhere.
    fn start_with_functions(
        &mut self,
        config: &Config,
        functions: Endpoint,
        ending: watch::Receiver<bool>,
    ) -> Parts {
        tracing::info!(%functions, "functions run elsewhere; nothing is stored here");
        let (counters, settings) = (Counters::new(), config.invoke.clone());
        let invoker = Invoker::new(functions);
        let (line, work) = Line::start(invoker.clone(), settings.clone(), counters.clone(), ending);
        self.work_tasks.push(work);
        let waiting = Waiting::new(config.mqtt.waiting_bytes_max);
        let access = Access::new(Arc::new(NoCertificates), true);
        let back = Back::Functions(line);
        let desk = Arc::new(Desk { back, waiting, counters: counters.clone(), access: access.clone() });
        let broker = Broker::new(config.mqtt.limits.clone(), desk.clone());
        let router = functions::query::router(invoker, settings);
        let devices = data_plane::router(DataPlane { desk: desk.clone(), broker: broker.clone() });
        Parts { broker: broker.clone(), router: routes(router, desk, counters, broker), devices, access }
    }

    fn start_retention(&mut self, config: &Config, store: &Arc<SqliteStore>, closing: watch::Receiver<bool>) {
        let days = config.store.retention_days;
        self.door_tasks.push(tokio::spawn(retention::run(store.clone(), days, closing)));
    }
}

/// What listeners are opened on.
struct Parts {
    broker: Broker,
    /// For this machine.
    router: Router,
    /// For devices with certificates.
    devices: Router,
    access: Access,
}

/// What every server answers, beside what depends on where its functions are.
fn routes(router: Router, desk: Arc<Desk>, counters: Counters, broker: Broker) -> Router {
    let plane = DataPlane { desk, broker: broker.clone() };
    router.merge(http::operations(counters, broker)).merge(data_plane::router(plane))
}

/// A task that panicked has a bug: say so, and go on stopping the rest.
fn finished(outcome: Result<(), tokio::task::JoinError>) {
    if let Err(error) = outcome {
        tracing::error!(error = &error as &dyn std::error::Error, "a task ended badly");
    }
}

//! The server put together: store, functions, broker and HTTP, started and stopped in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use axum::Router;
use fieldline_model::{AckMessage, GatewayId, GatewayTopic};
use fieldline_mqtt::{Broker, Message, QoS, TlsServer};
use fieldline_store::{SqliteConfig, SqliteStore, TimeSeriesStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::books::{self, BooksDesk};
use crate::broker::{Back, Desk, now};
use crate::config::{Config, Endpoint, TlsSettings};
use crate::counters::Counters;
use crate::data_plane::{self, DataPlane};
use crate::direct::{Direct, OwnStream};
use crate::functions::{self, Invoker, Line};
use crate::http::{self, Face};
use crate::intake::{self, Intake, StorageQueue};
use crate::quarantine::QuarantineDesk;
use crate::reported::{Noting, Reported, Stored};
use crate::retention;
use crate::shadows::{self, ShadowDesk};
use crate::stop;
use crate::waiting::Waiting;

/// How long open requests may take to end at shutdown.
const DOORS_CLOSE: Duration = Duration::from_secs(10);

/// A running server. Dropping it without [`Server::stop`] loses nothing that was acknowledged.
#[derive(Debug)]
pub struct Server {
    mqtt: Option<SocketAddr>,
    mqtts: Option<SocketAddr>,
    http: Option<SocketAddr>,
    /// First the doors are closed, then what is inside is finished.
    doors: watch::Sender<bool>,
    work: watch::Sender<bool>,
    door_tasks: Vec<JoinHandle<()>>,
    work_tasks: Vec<JoinHandle<()>>,
    /// Shows what the work has come to; told to end when that is finished.
    last_word: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    /// None where the functions run elsewhere.
    store: Option<Arc<SqliteStore>>,
}

impl Server {
    /// Binds the listeners, opens the store where there is one, and starts.
    ///
    /// # Errors
    /// The configuration is impossible, the data folder cannot be used, or an address is taken;
    /// each says what, where, and what to do.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let tls = config.mqtt.tls.as_ref().map(tls_server).transpose()?;
        let mqtt = bind("mqtt.listen", "--mqtt", config.mqtt.listen).await?;
        let mqtts =
            bind("mqtt.tls.listen", "the file", config.mqtt.tls.as_ref().map(|tls| tls.listen)).await?;
        let http = bind("http.listen", "--http", config.http.listen).await?;

        let (doors, closing) = watch::channel(false);
        let (work, ending) = watch::channel(false);
        let mut server = Self {
            mqtt: address(mqtt.as_ref()),
            mqtts: address(mqtts.as_ref()),
            http: address(http.as_ref()),
            doors,
            work,
            door_tasks: Vec::new(),
            work_tasks: Vec::new(),
            last_word: None,
            store: None,
        };
        let (broker, router) = match config.functions.clone() {
            Some(functions) => server.start_with_functions(&config, functions, ending),
            None => {
                let store = Arc::new(open_store(&config).await?);
                server.store = Some(store.clone());
                server.start_retention(&config, &store, closing.clone());
                server.start_with_store(&config, &store, ending).await?
            }
        };
        if let Some(listener) = mqtt {
            server.open_broker(&broker, listener, None, closing.clone());
        }
        if let (Some(listener), Some(tls)) = (mqtts, tls) {
            server.open_broker(&broker, listener, Some(tls), closing.clone());
        }
        if let Some(listener) = http {
            server.open_http(listener, router, closing);
        }
        Ok(server)
    }

    /// Where the broker listens without TLS.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// Where the broker listens with mutual TLS.
    pub fn mqtts_address(&self) -> Option<SocketAddr> {
        self.mqtts
    }

    /// Where the HTTP API listens.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
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
        if let Some((ending, task)) = self.last_word {
            ending.send_replace(true);
            finished(task.await);
        }
        if let Some(store) = self.store
            && let Err(error) = store.close().await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the store did not close well");
        }
    }

    /// The tasks between broker and store.
    async fn start_with_store(
        &mut self,
        config: &Config,
        store: &Arc<SqliteStore>,
        ending: watch::Receiver<bool>,
    ) -> anyhow::Result<(Broker, Router)> {
        let counters = Counters::new();
        let waiting = Waiting::new(config.mqtt.waiting_bytes_max);
        let quarantine = QuarantineDesk::start(store.clone());
        let (direct, offers) = Direct::new(config.gateway.clone(), quarantine, counters.clone());
        let reported = Reported::new(config.shadows.telemetry_every, counters.clone());
        let noting: Arc<dyn TimeSeriesStore> =
            Arc::new(Noting { store: store.clone(), reported: reported.clone() });
        let own = OwnStream::open(&config.gateway, noting.clone(), store.clone(), counters.clone()).await?;
        let (intake, jobs) = Intake::new();
        let (books, reports) = BooksDesk::new();
        let (shadows, requests) = ShadowDesk::new();
        let back = Back::Store { intake, direct: direct.clone(), books, shadows, reported: reported.clone() };
        let desk = Arc::new(Desk { back, waiting: waiting.clone(), counters: counters.clone() });
        let broker = Broker::new(config.mqtt.limits.clone(), desk.clone());
        let service = shadows::Service { store: store.clone(), broker: broker.clone() };
        let acks: Arc<dyn storage::Acks> = Arc::new(BrokerAcks(broker.clone()));
        let function = storage::Context { store: noting, ledger: store.clone(), acks: acks.clone() };
        let queue = StorageQueue::start(function, counters.clone());
        let context = ingest::Context {
            limits: fieldline_wire::Limits::default(),
            blocks: Arc::new(queue),
            quarantine: Arc::new(ingest::LedgerQuarantine { ledger: store.clone(), acks }),
        };
        self.work_tasks.extend([
            tokio::spawn(intake::run(jobs, context, counters.clone(), ending.clone())),
            tokio::spawn(books::run(
                reports,
                store.clone(),
                reported.clone(),
                counters.clone(),
                ending.clone(),
            )),
            tokio::spawn(shadows::run(requests, service.clone(), ending.clone())),
            tokio::spawn(own.run(offers, ending)),
        ]);
        self.start_last_word(reported, service.clone(), store);
        let api = query::State::new(store.clone(), store.clone(), now).with_own(config.gateway.clone());
        let face = Face { direct, waiting, counters: counters.clone() };
        let router = http::with_store(face, api, config.http.body_bytes_max);
        let router = router.merge(shadows::router(service));
        Ok((broker.clone(), routes(router, desk, counters, broker)))
    }

    /// The shadows follow what has been done, and so end after it.
    fn start_last_word(&mut self, reported: Reported, things: shadows::Service, store: &Arc<SqliteStore>) {
        let (ending, told) = watch::channel(false);
        let stored = Stored { readings: store.clone(), ledger: store.clone() };
        let task = tokio::spawn(reported.run(Arc::new(things), stored, told));
        self.last_word = Some((ending, task));
    }

    /// The tasks between broker and functions elsewhere.
    fn start_with_functions(
        &mut self,
        config: &Config,
        functions: Endpoint,
        ending: watch::Receiver<bool>,
    ) -> (Broker, Router) {
        tracing::info!(%functions, "functions run elsewhere; nothing is stored here");
        let (counters, settings) = (Counters::new(), config.invoke.clone());
        let invoker = Invoker::new(functions);
        let (line, work) = Line::start(invoker.clone(), settings.clone(), counters.clone(), ending);
        self.work_tasks.push(work);
        let waiting = Waiting::new(config.mqtt.waiting_bytes_max);
        let desk = Arc::new(Desk { back: Back::Functions(line), waiting, counters: counters.clone() });
        let broker = Broker::new(config.mqtt.limits.clone(), desk.clone());
        let router = functions::query::router(invoker, settings);
        (broker.clone(), routes(router, desk, counters, broker))
    }

    fn open_broker(
        &mut self,
        broker: &Broker,
        listener: TcpListener,
        tls: Option<TlsServer>,
        mut closing: watch::Receiver<bool>,
    ) {
        let broker = broker.clone();
        self.door_tasks.push(tokio::spawn(async move {
            let shutdown = async move { stop::told(&mut closing).await };
            if let Err(error) = broker.serve(listener, tls, shutdown).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the broker stopped");
            }
        }));
    }

    fn open_http(&mut self, listener: TcpListener, router: Router, mut closing: watch::Receiver<bool>) {
        self.door_tasks.push(tokio::spawn(async move {
            let shutdown = async move { stop::told(&mut closing).await };
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(shutdown).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the http listener stopped");
            }
        }));
    }

    fn start_retention(&mut self, config: &Config, store: &Arc<SqliteStore>, closing: watch::Receiver<bool>) {
        if let Some(days) = config.store.retention_days {
            self.door_tasks.push(tokio::spawn(retention::run(store.clone(), days, closing)));
        }
    }
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

fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

/// The store's word to the gateways, over the broker.
#[derive(Debug)]
struct BrokerAcks(Broker);

#[async_trait]
impl storage::Acks for BrokerAcks {
    async fn publish(&self, gateway: &GatewayId, ack: &AckMessage) -> Result<(), storage::PortError> {
        let topic = GatewayTopic::Ack(gateway.clone()).to_string();
        self.0.publish(&Message::new(topic, serde_json::to_vec(ack)?, QoS::AtLeastOnce));
        Ok(())
    }
}

async fn bind(key: &str, flag: &str, wanted: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(wanted) = wanted else { return Ok(None) };
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(anyhow!(
            "{key}: {wanted} is in use by another program; stop it (another fieldline?), or choose another \
             address with {flag} (port 0 takes a free one)"
        )),
        Err(error) => Err(error)
            .with_context(|| format!("{key}: cannot listen on {wanted}; choose another address with {flag}")),
    }
}

async fn open_store(config: &Config) -> anyhow::Result<SqliteStore> {
    let folder = config.data.join("server");
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder).with_context(|| not_writable(&folder))?;
        SqliteStore::open(&folder, SqliteConfig::default(), now()).with_context(|| {
            format!("cannot use the data folder {}; choose another with --data", folder.display())
        })
    })
    .await?
}

fn not_writable(folder: &Path) -> String {
    format!(
        "cannot write to the data folder {}; give it to this user, or choose another with --data",
        folder.display()
    )
}

fn tls_server(settings: &TlsSettings) -> anyhow::Result<TlsServer> {
    let read = |key: &str, path: &Path| {
        std::fs::read(path).with_context(|| format!("mqtt.tls.{key}: cannot read {}", path.display()))
    };
    let chain = read("certificate", &settings.certificate)?;
    let key = read("key", &settings.key)?;
    let ca = read("client_ca", &settings.client_ca)?;
    TlsServer::new(&chain, &key, Some(&ca)).context("mqtt.tls: the certificates cannot be used")
}

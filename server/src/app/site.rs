//! The store and the functions in this process, and everything between them and the listeners.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use fieldline_model::{AckMessage, GatewayId, GatewayTopic};
use fieldline_mqtt::{Broker, Message, QoS};
use fieldline_store::{SqliteConfig, SqliteStore, TimeSeriesStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Parts, routes};
use crate::access::{self, Access};
use crate::books::{self, BooksDesk};
use crate::broker::{Back, Desk, now};
use crate::certs::{self, Authority};
use crate::commands_desk::{self, CommandDesk};
use crate::config::Config;
use crate::counters::Counters;
use crate::data_plane::{self, DataPlane};
use crate::direct::{Direct, OwnStream};
use crate::gateway_config;
use crate::http::{self, Face};
use crate::intake::{self, Intake, StorageQueue};
use crate::quarantine::QuarantineDesk;
use crate::registry::{self, ControlPlane, Keeper, Sightings, Signer};
use crate::reported::{Noting, Reported, Stored};
use crate::rules_desk::{self, AlarmBook, Couriers, RulesDesk};
use crate::shadows::{self, ShadowDesk};
use crate::waiting::Waiting;

/// A task, and how it is told to end.
pub(super) type Ending = (watch::Sender<bool>, JoinHandle<()>);

/// What runs in this process.
pub(super) struct Site {
    pub(super) parts: Parts,
    pub(super) work: Vec<JoinHandle<()>>,
    /// What has to be there until the work is finished; told to end then, one after the other.
    pub(super) last_words: Vec<Ending>,
    pub(super) store: Arc<SqliteStore>,
    pub(super) rules: RulesDesk,
}

impl Site {
    /// Opens the store and starts the tasks between it and the broker; they work until `ending`, and requests
    /// that wait for something end with `closing`.
    pub(super) async fn start(
        config: &Config,
        closing: &watch::Receiver<bool>,
        ending: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let store = Arc::new(open_store(config).await?);
        let counters = Counters::new();
        let waiting = Waiting::new(config.mqtt.waiting_bytes_max);
        let quarantine = QuarantineDesk::start(store.clone());
        let keeper = Keeper::open(store.clone()).await?;
        let access = access(config, &keeper);
        let (sightings, seen) = Sightings::new(keeper.handle().clone(), config.registry.devices);
        let (direct, offers) =
            Direct::new(config.gateway.clone(), quarantine, counters.clone(), sightings.clone());
        let reported = Reported::new(config.shadows.telemetry_every, counters.clone());
        let noting: Arc<dyn TimeSeriesStore> =
            Arc::new(Noting { store: store.clone(), reported: reported.clone() });
        let (intake, jobs) = Intake::new();
        let (books, reports) = BooksDesk::new();
        let (shadows, requests) = ShadowDesk::new();
        let (commands, asks) = CommandDesk::new();
        let back = Back::Store {
            intake,
            direct: direct.clone(),
            books,
            shadows,
            commands: commands.clone(),
            reported: reported.clone(),
        };
        let (room, count, may) = (waiting.clone(), counters.clone(), access.clone());
        let desk = Arc::new(Desk { back, waiting: room, counters: count, access: may });
        let broker = Broker::new(config.mqtt.limits.clone(), desk.clone());
        let book =
            AlarmBook::open(store.clone(), broker.clone(), config.gateway.clone(), bounds(config)).await?;
        let (rules, rules_line) = RulesDesk::new(book.clone());
        let own = own_stream(config, &noting, &store, &rules, &counters, &sightings).await?;
        let service = shadows::Service { store: store.clone(), broker: broker.clone() };
        let limits = commands_desk::Limits::default();
        let executions = commands_desk::Service::open(store.clone(), broker.clone(), limits).await?;
        let blocks = Blocks { store: store.clone(), noting, rules: rules.clone(), broker: broker.clone() };
        let context = blocks.functions(counters.clone(), sightings.clone());
        let told = books::run(reports, store.clone(), reported.clone(), counters.clone(), ending.clone());
        let work = vec![
            tokio::spawn(intake::run(jobs, context, counters.clone(), ending.clone())),
            tokio::spawn(told),
            tokio::spawn(shadows::run(requests, service.clone(), ending.clone())),
            tokio::spawn(executions.run(asks, ending.clone())),
            turn_away(&access, &broker, &keeper, &ending),
            tokio::spawn(registry::run_sightings(seen, sightings, keeper.clone(), ending.clone())),
            tokio::spawn(own.run(offers, ending)),
        ];
        let couriers = couriers(config, &broker, &counters)?;
        let outlet = rules_desk::Router::new(book, couriers, commands.clone(), service.clone());
        let parts = rules_parts(config, &store, &keeper, &direct, &counters);
        let last_words =
            vec![start_rules(parts, outlet, rules_line).await?, last_word(reported, service.clone(), &store)];
        let face = Face { direct, waiting, counters };
        let inside = Inside {
            desk,
            broker: broker.clone(),
            face,
            shadows: service,
            keeper,
            commands,
            rules: rules.clone(),
        };
        let (router, devices) = inside.routers(config, &store, closing).await?;
        Ok(Self { parts: Parts { broker, router, devices, access }, work, last_words, store, rules })
    }
}

/// What blocks go through.
struct Blocks {
    store: Arc<SqliteStore>,
    noting: Arc<dyn TimeSeriesStore>,
    rules: RulesDesk,
    broker: Broker,
}

impl Blocks {
    /// `ingest`, with `storage` and the rules behind it.
    fn functions(self, counters: Counters, sightings: Sightings) -> ingest::Context {
        let acks: Arc<dyn storage::Acks> = Arc::new(BrokerAcks(self.broker));
        let function =
            storage::Context { store: self.noting, ledger: self.store.clone(), acks: acks.clone() };
        let queue = StorageQueue::start(function, self.rules, counters, sightings);
        ingest::Context {
            limits: fieldline_wire::Limits::default(),
            blocks: Arc::new(queue),
            quarantine: Arc::new(ingest::LedgerQuarantine { ledger: self.store, acks }),
        }
    }
}

/// What requests are answered from.
struct Inside {
    desk: Arc<Desk>,
    broker: Broker,
    face: Face,
    shadows: shadows::Service,
    keeper: Keeper,
    commands: CommandDesk,
    rules: RulesDesk,
}

impl Inside {
    /// The routes for this machine, and those for devices with certificates.
    async fn routers(
        self,
        config: &Config,
        store: &Arc<SqliteStore>,
        closing: &watch::Receiver<bool>,
    ) -> anyhow::Result<(Router, Router)> {
        let Self { desk, broker, face, shadows, keeper, commands, rules } = self;
        let devices = http::telemetry_routes(face.clone(), config.http.body_bytes_max)
            .merge(shadows::router(shadows.clone()))
            .merge(data_plane::router(DataPlane { desk: desk.clone(), broker: broker.clone() }));
        let api = query::State::new(store.clone(), store.clone(), now).with_own(config.gateway.clone());
        let configs = gateway_config::Service::open(store.clone(), shadows.clone(), broker.clone()).await?;
        let authority = authority(config)?;
        let plane = ControlPlane {
            keeper: keeper.clone(),
            signer: authority.clone().map(|authority| authority as Arc<dyn Signer>),
            endpoint: config.registry.endpoint.clone(),
        };
        let counters = face.counters.clone();
        let router = http::with_store(face, api, config.http.body_bytes_max)
            .merge(shadows::router(shadows))
            .merge(gateway_config::router(configs))
            .merge(commands_desk::router(commands, closing.clone()))
            .merge(rules_desk::router(rules))
            .merge(registry::router(plane))
            .merge(registry::api_router(keeper, store.clone()))
            .merge(certs::router(authority));
        Ok((routes(router, desk, counters, broker), devices))
    }
}

/// What comes without a gateway has a stream of the server's own.
async fn own_stream(
    config: &Config,
    noting: &Arc<dyn TimeSeriesStore>,
    store: &Arc<SqliteStore>,
    rules: &RulesDesk,
    counters: &Counters,
    sightings: &Sightings,
) -> anyhow::Result<OwnStream> {
    let (noting, store, rules) = (noting.clone(), store.clone(), rules.clone());
    let own =
        OwnStream::open(&config.gateway, noting, store, rules, counters.clone(), sightings.clone()).await?;
    Ok(own)
}

fn access(config: &Config, keeper: &Keeper) -> Access {
    Access::new(Arc::new(access::Registered::new(keeper.handle().clone())), config.lets_strangers_in())
}

/// Ends the connections of those that may not be connected any more.
fn turn_away(
    access: &Access,
    broker: &Broker,
    keeper: &Keeper,
    ending: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let registry = keeper.handle().clone();
    tokio::spawn(access::turn_away(access.clone(), broker.clone(), registry, ending.clone()))
}

/// Who is told by notifications.
fn couriers(config: &Config, broker: &Broker, counters: &Counters) -> anyhow::Result<Couriers> {
    let targets = rules_desk::targets(&config.targets, broker, &config.gateway)?;
    Ok(Couriers::start(targets, counters))
}

fn rules_parts(
    config: &Config,
    store: &Arc<SqliteStore>,
    keeper: &Keeper,
    direct: &Direct,
    counters: &Counters,
) -> rules_desk::Parts {
    rules_desk::Parts {
        store: store.clone(),
        registry: keeper.handle().clone(),
        direct: direct.clone(),
        // What rules derive is bounded by what they are given to evaluate, which has its place.
        waiting: Waiting::new(usize::MAX),
        counters: counters.clone(),
        folders: config.rules.folders(&config.data),
        look_every: config.rules.look_every,
        targets: config.targets.keys().cloned().collect(),
    }
}

/// Blocks are acknowledged when the rules have seen them, so that the rules end after the blocks.
async fn start_rules(
    parts: rules_desk::Parts,
    outlet: rules_desk::Router,
    line: rules_desk::Line,
) -> anyhow::Result<Ending> {
    let (ending, told) = watch::channel(false);
    let service = rules_desk::Service::open(parts, outlet, &line).await?;
    Ok((ending, tokio::spawn(service.run(line, told))))
}

fn bounds(config: &Config) -> rules_desk::Bounds {
    rules_desk::Bounds { lines_max: config.rules.history_lines_max, days_max: config.rules.history_days_max }
}

/// The shadows follow what has been done, and so end after it.
fn last_word(reported: Reported, things: shadows::Service, store: &Arc<SqliteStore>) -> Ending {
    let (ending, told) = watch::channel(false);
    let stored = Stored { readings: store.clone(), shadows: store.clone() };
    (ending, tokio::spawn(reported.run(Arc::new(things), stored, told)))
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

async fn open_store(config: &Config) -> anyhow::Result<SqliteStore> {
    let folder = config.data.join("server");
    let settings = SqliteConfig { named_shadows_max: config.shadows.named_max, ..SqliteConfig::default() };
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder).with_context(|| not_writable(&folder))?;
        SqliteStore::open(&folder, settings, now()).with_context(|| {
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

/// The authority that `fieldline certs init` has made, where there is one.
fn authority(config: &Config) -> anyhow::Result<Option<Arc<Authority>>> {
    let folder = certs::folder(&config.data);
    match folder.join(certs::CA_CERTIFICATE).exists() {
        true => Ok(Some(Arc::new(Authority::open(&folder).context("the site's authority cannot be used")?))),
        false => Ok(None),
    }
}

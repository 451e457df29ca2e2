//! The agent put together: sources, intake, committer, journal and uplink, started and stopped in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use fieldline_journal::{DiskFs, Journal};
use fieldline_mqtt::{Broker, BrokerConfig, TlsServer};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::address::ServerAddress;
use crate::clock;
use crate::commands::Commands;
use crate::committer::{Board, Committer, recovered_note};
use crate::config::{Config, ListenerTls};
use crate::control::{self, Observed, Status};
use crate::intake::Intake;
use crate::quarantine::Quarantine;
use crate::remote::{self, Driver, Live, Remote, Sources};
use crate::rules::{LocalOutlet, RulesHost};
use crate::sources::http::{self, Inlet};
use crate::sources::listener::Listener;
use crate::sources::reader::Reader;
use crate::sync::{Correspondent, Course, Office, Post, Uplink, UplinkBoard, post, stopped};
use crate::things::Things;

/// How often windows are closed by the clock, cursors are saved and old readings expire.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// A running agent. Dropping it without [`Agent::stop`] loses nothing, as a power cut would not.
#[derive(Debug)]
pub struct Agent {
    mqtt_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    observed: Observed,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    committer: oneshot::Receiver<()>,
    shadows: Option<oneshot::Receiver<()>>,
    /// Those that no configuration from afar looks after.
    sources: Sources,
}

impl Agent {
    /// Opens the journal, binds the listeners and starts.
    ///
    /// # Errors
    /// The configuration is impossible, the data folder cannot be used (not writable, in use, of a
    /// newer version), or an address is taken; each names the key or the file.
    pub async fn start(base: Config) -> anyhow::Result<Self> {
        base.check()?;
        // First, for it locks the data folder.
        let journal = open_journal(&base).await?;
        let remote = begin_remote(&base)?;
        let config = remote.as_ref().map_or_else(|| base.clone(), |(config, ..)| config.clone());
        let filter = config.check()?;
        check_passwords(&config)?;
        let note = recovered_note(&journal);
        let board = Board::new(note.counts.clone());
        let settled = note.settled.clone();
        let intake = Arc::new(
            Intake::new(filter, &config.limits, note).with_journal_bytes(config.journal.bytes_max.as_u64()),
        );
        let reader = Arc::new(Reader::new(Arc::clone(&intake), config.map.clone().into()));
        let mqtt = bind("mqtt.listen", config.mqtt.listen).await?;
        let http = bind("http.listen", config.http.listen).await?;

        let (stop, stopping) = watch::channel(false);
        let mut tasks = Vec::new();
        let address = |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok());
        let (mqtt_address, http_address) = (address(&mqtt), address(&http));
        let (post, letters) = post();
        let Devices { broker, things, commands, shadows } = match mqtt {
            Some(listener) => open_to_devices(&config, listener, &reader, &post, &stopping, &mut tasks)?,
            None => Devices::default(),
        };
        let rules = start_rules(&config, &broker, &things);
        intake.keep_batches_small(!config.rules.is_empty());
        let desk = Arc::clone(&rules.desk);
        let things_heard = things.clone().map(|things| things as Arc<dyn Correspondent>);
        let remote_heard = remote.as_ref().map(|(_, remote, _)| remote.clone() as Arc<dyn Correspondent>);
        let commands_heard = commands.map(|commands| commands as Arc<dyn Correspondent>);
        let heard = things_heard.into_iter().chain(commands_heard).chain(remote_heard);
        let office = Office::new(letters, heard.collect());
        let mut sources = Sources::default();
        sources.run(&config.broker, config.gateway.id.as_str(), &reader);
        let (uplink, course) = start_uplink(&config, &journal, &board, office, &stopping, &mut tasks)?;
        let (remote, sources) = match remote {
            Some((_, remote, driver)) => {
                let (intake, rules) = (Arc::clone(&intake), Arc::clone(&desk));
                let live = Live { base, intake, reader, course, sources, rules };
                tasks.push(tokio::spawn(driver.run(live, post, stopping.clone())));
                (Some(remote), Sources::default())
            }
            None => (None, sources),
        };
        let observed = Observed {
            gateway: config.gateway.id.clone(),
            intake: Arc::clone(&intake),
            committed: Arc::clone(&board),
            journal: journal.clone(),
            journal_bytes_max: config.journal.bytes_max.as_u64(),
            broker,
            uplink,
            things,
            remote,
            rules: desk,
        };
        if let Some(listener) = http {
            tasks.push(serve_http(&config, listener, &observed, stopping.clone()));
        }
        tasks.push(tokio::spawn(keep_house(Arc::clone(&intake), journal.clone(), stopping)));
        let quarantine = Quarantine::new(&config.data);
        let made = BTreeMap::new();
        let committer = Committer { intake, journal, quarantine, board, settled, rules, made };
        let committer = start_committer(committer)?;
        Ok(Self { mqtt_address, http_address, observed, stop, tasks, committer, shadows, sources })
    }

    /// Where devices reach the agent by MQTT.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt_address
    }

    /// Where devices reach the agent by HTTP, and where its status is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// What the agent is doing.
    pub fn status(&self) -> Status {
        self.observed.status()
    }

    /// Stops: no new readings, the last commit and its acknowledgements, then the uplink.
    pub async fn stop(mut self) {
        self.observed.intake.stop();
        let committed = tokio::time::timeout(Duration::from_secs(10), self.committer).await;
        if committed.is_err() {
            tracing::warn!("the last readings could not be committed; their devices will send them again");
        }
        self.observed.committed.give_up();
        if let (Some(things), Some(ended)) = (&self.observed.things, self.shadows) {
            things.stop();
            if tokio::time::timeout(Duration::from_secs(5), ended).await.is_err() {
                tracing::warn!("the last requests for shadows could not be answered; devices will ask again");
            }
        }
        self.stop.send_replace(true);
        self.sources.stop().await;
        for task in self.tasks {
            if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
                tracing::warn!("a part of the agent did not stop in time");
            }
        }
        if let Err(error) = self.observed.journal.save_cursors() {
            tracing::warn!(%error, "cannot save what the store has acknowledged; it will be sent again");
        }
    }
}

/// What came from afar, where a server may say so.
fn begin_remote(base: &Config) -> anyhow::Result<Option<(Config, Arc<Remote>, Driver)>> {
    let Some(server) = &base.sync.server else { return Ok(None) };
    match base.remote.is_enabled(server.is_aws()) {
        true => remote::begin(base, Arc::new(DiskFs)).map(Some),
        false => Ok(None),
    }
}

/// What is open to devices.
#[derive(Debug, Default)]
struct Devices {
    broker: Option<Broker>,
    things: Option<Arc<Things>>,
    commands: Option<Arc<Commands>>,
    shadows: Option<oneshot::Receiver<()>>,
}

fn open_to_devices(
    config: &Config,
    listener: TcpListener,
    reader: &Arc<Reader>,
    post: &Post,
    stopping: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<Devices> {
    let aws = config.sync.server.as_ref().is_some_and(ServerAddress::is_aws);
    let (things, opened) = Things::open(&config.gateway.id, &config.things, &config.data, aws)?.unzip();
    let commands = Commands::open(&config.gateway.id, &config.commands, aws);
    let application = Listener::new(reader.clone(), things.clone(), commands.clone());
    let broker = listen(config, listener, application, stopping, tasks)?;
    let shadows = match (&things, opened) {
        (Some(things), Some(opened)) => Some(things.start(opened, broker.clone(), post.clone())?),
        _ => None,
    };
    if let Some(commands) = &commands {
        commands.connect(broker.clone(), post.clone());
        tasks.push(tokio::spawn(Arc::clone(commands).run(stopping.clone())));
    }
    Ok(Devices { broker: Some(broker), things, commands, shadows })
}

/// That those of the gateway's own file can be read. What came from afar has said in its status what it lacks.
fn check_passwords(config: &Config) -> anyhow::Result<()> {
    let mut own = config.broker.iter().filter(|broker| broker.is_own());
    own.try_for_each(|broker| broker.password().map(drop))
}

/// The rules, in force from the first reading on.
fn start_rules(config: &Config, broker: &Option<Broker>, things: &Option<Arc<Things>>) -> RulesHost {
    let rules = RulesHost {
        fs: Arc::new(DiskFs),
        folder: config.data.join("rules"),
        outlet: Arc::new(LocalOutlet::new(broker.clone(), things.clone())),
        desk: Arc::default(),
        store: Mutex::default(),
    };
    rules.desk.want(config.rules.clone());
    if let Err(error) = rules.start() {
        // It is tried again before readings are taken; what waits for the server is sent, which makes room on the disk.
        tracing::error!(error, "rules are not in force yet");
    }
    rules
}

/// On a thread of its own; what is given back resolves when it has ended.
fn start_committer(committer: Committer) -> anyhow::Result<oneshot::Receiver<()>> {
    let (ended, committer_ended) = oneshot::channel();
    std::thread::Builder::new().name("committer".to_owned()).spawn(move || {
        committer.run();
        if ended.send(()).is_err() {
            tracing::debug!("nobody waited for the last commit");
        }
    })?;
    Ok(committer_ended)
}

async fn open_journal(config: &Config) -> anyhow::Result<Journal> {
    let settings = &config.journal;
    let journal_config = fieldline_journal::Config {
        segment_bytes: settings.segment_bytes.as_u64(),
        bytes_max: settings.bytes_max.as_u64(),
        age_max: settings.age_max,
        policy: settings.policy,
        ..fieldline_journal::Config::default()
    };
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make the data folder {}", config.data.display()))?;
    let folder = config.data.join("journal");
    let now_ms = clock::now().millis();
    let opened =
        tokio::task::spawn_blocking(move || Journal::open(Arc::new(DiskFs), &folder, journal_config, now_ms));
    let (journal, recovery) = opened.await?.context("cannot open the journal")?;
    tracing::info!(
        segments = recovery.segments,
        damaged_readings = recovery.damaged_readings,
        sealed_lanes = recovery.sealed_lanes,
        "journal open"
    );
    Ok(journal)
}

async fn bind(key: &str, address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {key} = \"{address}\"; is another program using it? port 0 takes a free one"
        )
    })?;
    Ok(Some(listener))
}

fn listen(
    config: &Config,
    listener: TcpListener,
    application: Listener,
    stopping: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<Broker> {
    let broker_config = BrokerConfig {
        receive_maximum: config.mqtt.receive_maximum,
        connections_max: config.mqtt.connections_max,
        // Topic and header come on top of the payload.
        packet_bytes_max: u32::try_from(config.limits.payload_bytes_max.as_u64()).unwrap_or(u32::MAX) + 1024,
        ..BrokerConfig::default()
    };
    let tls = config.mqtt.tls.as_ref().map(listener_tls).transpose()?;
    let broker = Broker::new(broker_config, Arc::new(application));
    let (serving, mut stopping) = (broker.clone(), stopping.clone());
    tasks.push(tokio::spawn(async move {
        if let Err(error) = serving.serve(listener, tls, async move { stopped(&mut stopping).await }).await {
            tracing::error!(%error, "the MQTT listener has failed");
        }
    }));
    Ok(broker)
}

fn listener_tls(files: &ListenerTls) -> anyhow::Result<TlsServer> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (chain, key, ca) = (read(&files.certificate)?, read(&files.key)?, read(&files.client_ca)?);
    TlsServer::new(&chain, &key, Some(&ca)).context("mqtt.tls cannot be used")
}

fn start_uplink(
    config: &Config,
    journal: &Journal,
    board: &Arc<Board>,
    office: Office,
    stopping: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<(UplinkBoard, watch::Sender<Course>)> {
    let state = UplinkBoard::default();
    let (course, courses) =
        watch::channel(Course { settings: config.sync.clone(), options: None, generation: 0 });
    let Some(server) = &config.sync.server else {
        tracing::warn!("no server is configured (sync.server); readings are buffered only");
        return Ok((state, course));
    };
    state.update(|state| state.server = Some(server.to_string()));
    let uplink = Uplink {
        gateway: config.gateway.id.clone(),
        settings: config.sync.clone(),
        options: Uplink::options(&config.gateway.id, server, &config.sync)?,
        journal: journal.clone(),
        committed: Arc::clone(board),
        board: state.clone(),
        office,
        generation: 0,
        course: courses,
        carryover: Mutex::default(),
    };
    tasks.push(tokio::spawn(uplink.run(stopping.clone())));
    Ok((state, course))
}

fn serve_http(
    config: &Config,
    listener: TcpListener,
    observed: &Observed,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let inlet = Inlet { intake: Arc::clone(&observed.intake), commit_timeout: config.http.commit_timeout };
    let payload_bytes_max = usize::try_from(config.limits.payload_bytes_max.as_u64()).unwrap_or(usize::MAX);
    let router = http::routes(inlet, payload_bytes_max).merge(control::routes(observed.clone()));
    tokio::spawn(async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(async move { stopped(&mut stopping).await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the HTTP listener has failed");
        }
    })
}

/// What has to be done now and then.
async fn keep_house(intake: Arc<Intake>, journal: Journal, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            _ = ticks.tick() => {}
        }
        intake.tick(clock::now());
        let journal = journal.clone();
        let kept = tokio::task::spawn_blocking(move || {
            journal.expire(clock::now().millis())?;
            journal.save_cursors()
        })
        .await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = crate::committer::chain(&error), "journal housekeeping failed")
            }
            Err(error) => tracing::error!(%error, "journal housekeeping was cut short"),
        }
    }
}

//! The whole chain on loopback: agent → our broker in IoT Core's place → `ingest` → SNS FIFO → SQS FIFO →
//! `storage` → time-series store and ledger → the acknowledgement over the data plane.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Emulators, FunctionSpec, Host, Poller, Queue, Services};
use crate::emulator::Emulator;
use crate::influxdb::{self, InfluxDb};
use crate::programs;
use crate::site::{Agent, Server};
use crate::timestream::{Options, Stub};

/// The name of the ledger's table.
const LEDGER: &str = "fieldline-ledger";
const QUARANTINE: &str = "fieldline-quarantine";
/// The bucket of readings, where the store is S3.
const READINGS: &str = "fieldline-readings";
/// The database in InfluxDB, and the secret that holds who may use it.
const INFLUX_DATABASE: &str = "fieldline";
const INFLUX_SECRET: &str = "fieldline-influx";
/// How often a message may come before it is a dead letter.
const ATTEMPTS_MAX: u32 = 1_000;

/// Which time-series store the functions use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Timestream for LiveAnalytics, on our stub.
    Timestream,
    /// Parquet on S3.
    S3,
    /// InfluxDB's line protocol, on a real server.
    InfluxDb,
}

/// The running chain. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Stack {
    /// The gateway's daemon.
    pub agent: Agent,
    /// The broker in IoT Core's place; its HTTP API passes queries on to the function.
    pub server: Server,
    /// The functions.
    pub host: Host,
    /// The queue in front of `storage`, and its dead letters.
    pub queue: Queue,
    /// What `storage` has refused too often.
    pub dead: Queue,
    poller: Poller,
    topic: String,
    /// In front of `shadow`, once it is asked for.
    shadows: Option<Poller>,
    emulators: Emulators,
    timestream: Option<Stub>,
    influx: Option<InfluxDb>,
}

impl Stack {
    /// Starts everything in `folder`, on moto.
    ///
    /// # Errors
    /// As [`Stack::start_on`].
    pub fn start(
        folder: &Path,
        store: StoreKind,
        before: impl FnMut(SocketAddr) -> Result<SocketAddr>,
    ) -> Result<Option<Self>> {
        Self::start_on(Services::Moto, folder, store, before)
    }

    /// Starts everything in `folder`. `before` gives, for the address of each emulated service, the one
    /// that the functions are to call instead. `None`, and a printed line, when a tool is missing.
    ///
    /// # Errors
    /// Something does not start.
    pub fn start_on(
        services: Services,
        folder: &Path,
        store: StoreKind,
        mut before: impl FnMut(SocketAddr) -> Result<SocketAddr>,
    ) -> Result<Option<Self>> {
        let Some(emulators) = services.start(folder)? else { return Ok(None) };
        let services = emulators.most();
        emulators.tables().create_ledger_table(LEDGER)?;
        services.create_bucket(QUARANTINE)?;
        let (topic, queue, dead) = services.create_fifo("fieldline-blocks", ATTEMPTS_MAX)?;
        let host = Host::start()?;
        let mut server = Server::prepare(&folder.join("server"))?;
        server.set_functions(host.address());
        let agent = Agent::prepare(&folder.join("agent"), Some(server.mqtt_address()))?;

        let mut environment = emulators.variables(&mut before)?;
        let mut set = |name: &str, value: &str| environment.push((name.to_owned(), value.to_owned()));
        set("FIELDLINE_BLOCKS_TOPIC_ARN", &topic);
        set("FIELDLINE_LEDGER_TABLE", LEDGER);
        set("FIELDLINE_QUARANTINE_BUCKET", QUARANTINE);
        set("FIELDLINE_IOT_ENDPOINT", &format!("http://{}", server.http_address()));
        let (mut timestream, mut influx) = (None, None);
        match store {
            StoreKind::Timestream => {
                let stub = Stub::start(Options::default())?;
                let endpoint = format!("http://{}", before(stub.address())?);
                set("FIELDLINE_STORE", "timestream");
                set("FIELDLINE_TIMESTREAM_DATABASE", "fieldline");
                set("FIELDLINE_TIMESTREAM_TABLE", "readings");
                set("AWS_ENDPOINT_URL_TIMESTREAM_WRITE", &endpoint);
                set("AWS_ENDPOINT_URL_TIMESTREAM_QUERY", &endpoint);
                timestream = Some(stub);
            }
            StoreKind::S3 => {
                services.create_bucket(READINGS)?;
                set("FIELDLINE_STORE", "s3");
                set("FIELDLINE_READINGS_BUCKET", READINGS);
            }
            StoreKind::InfluxDb => {
                let Some(server) = start_influx(folder, services)? else { return Ok(None) };
                set("FIELDLINE_STORE", "influxdb");
                set("FIELDLINE_INFLUX_URL", &format!("http://{}", before(server.address())?));
                set("FIELDLINE_INFLUX_DATABASE", INFLUX_DATABASE);
                set("FIELDLINE_INFLUX_DIALECT", "v1");
                set("FIELDLINE_INFLUX_TOKEN_SECRET", INFLUX_SECRET);
                influx = Some(server);
            }
        }
        let compact = (store == StoreKind::S3).then_some("compact");
        let deploy = |name: &str, environment: &[(String, String)]| -> Result<()> {
            host.deploy(FunctionSpec {
                name: name.to_owned(),
                program: programs::function(name)?.to_owned(),
                environment: environment.to_vec(),
                timeout: Duration::from_secs(60),
                log: folder.join(format!("{name}.log")),
            });
            Ok(())
        };
        for name in ["ingest", "storage", "query"].into_iter().chain(compact) {
            deploy(name, &environment)?;
        }
        let poller = Poller::start(&host, queue.clone(), "storage");
        // AWS IoT's data plane is the server here, but for shadows: those are moto's.
        let shadows = format!("http://{}", emulators.tables().address());
        environment.retain(|(name, _)| name != "FIELDLINE_IOT_ENDPOINT");
        environment.push(("FIELDLINE_IOT_ENDPOINT".to_owned(), shadows));
        deploy("shadow", &environment)?;
        let mut stack = Self {
            agent,
            server,
            host,
            queue,
            dead,
            poller,
            topic,
            shadows: None,
            emulators,
            timestream,
            influx,
        };
        stack.server.start()?;
        stack.agent.start().context("the agent")?;
        Ok(Some(stack))
    }

    /// From now on `shadow` is given what `ingest` publishes, too. moto has to know the things.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn show(&mut self, things: &[&str]) -> Result<()> {
        for thing in things {
            self.emulators.tables().create_thing(thing)?;
        }
        let queue = self.emulators.most().create_standard("fieldline-shadow", &self.topic)?;
        self.shadows = Some(Poller::start(&self.host, queue, "shadow"));
        Ok(())
    }

    /// What a named shadow of a thing reports.
    ///
    /// # Errors
    /// The emulator fails.
    pub fn reported(&self, thing: &str, shadow: &str) -> Result<Option<Value>> {
        self.emulators.tables().reported(thing, shadow)
    }

    /// How many batches `storage` has been given, and how many messages came back from it.
    pub fn counts(&self) -> (u64, u64) {
        self.poller.counts()
    }

    /// KiB that Timestream would bill so far for what was written.
    pub fn timestream_billed(&self) -> u64 {
        self.timestream.as_ref().map_or(0, |stub| stub.counts().kibibytes_billed)
    }

    /// From now on the queue delivers nothing, so that who invokes `storage` by hand is alone.
    pub fn deliver_nothing(&self) {
        self.poller.stop();
    }

    /// From now on the queue delivers now and then twice or backwards.
    pub fn deliver_unruly(&self, seed: u64) {
        self.poller.be_unruly(seed);
    }

    /// The emulated services by name, and where they are.
    pub fn services(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut services = self.emulators.addresses();
        services.push(("Lambda: Invoke and Runtime API", self.host.address()));
        services.extend(self.timestream.as_ref().map(|stub| ("Timestream", stub.address())));
        services.extend(self.influx.as_ref().map(|server| ("InfluxDB", server.address())));
        services
    }

    /// Stops agent and broker in order.
    ///
    /// # Errors
    /// One does not stop, or not well.
    pub fn finish(mut self) -> Result<()> {
        self.agent.stop()?;
        self.server.stop()
    }
}

/// An InfluxDB that asks who is there; the answer lies in a secret.
fn start_influx(folder: &Path, services: &Emulator) -> Result<Option<InfluxDb>> {
    let password = "loopback-only";
    let options = influxdb::Options { password: Some(password.to_owned()), ..influxdb::Options::default() };
    let Some(server) = InfluxDb::start(folder, &options)? else { return Ok(None) };
    server.create_database(INFLUX_DATABASE)?;
    services.create_secret(INFLUX_SECRET, &format!("admin:{password}"))?;
    Ok(Some(server))
}

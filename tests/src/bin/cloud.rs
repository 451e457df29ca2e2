//! The cloud on this machine: every function and service of the chain, on loopback, without an account.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use fieldline_tests::cloud::{Stack, StoreKind};

/// What to start.
#[derive(Debug, Parser)]
#[command(name = "cloud", bin_name = "cargo xtask cloud")]
enum Options {
    /// Starts the whole chain and says where everything is; Ctrl-C stops it.
    Up {
        /// The time-series store that the functions use.
        #[arg(long, value_enum, default_value_t = Store::Timestream)]
        store: Store,
        /// Where logs and the agent's journal go; it has to be empty or not there.
        #[arg(long, default_value = "./fieldline-data/cloud")]
        data: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Store {
    Timestream,
    S3,
    Influxdb,
}

impl From<Store> for StoreKind {
    fn from(store: Store) -> Self {
        match store {
            Store::Timestream => Self::Timestream,
            Store::S3 => Self::S3,
            Store::Influxdb => Self::InfluxDb,
        }
    }
}

fn main() -> Result<()> {
    let Options::Up { store, data } = Options::parse();
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    // Readings of an earlier run would wait in the journal for a cloud that is no more.
    let used = std::fs::read_dir(&data)?.next().is_some();
    anyhow::ensure!(!used, "{} is not empty: delete it, or give another with --data", data.display());
    println!("starting; the functions are built first");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let interrupted = runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        anyhow::Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    })?;
    let stack = Stack::start(&data, store.into(), Ok)?.context("a tool is missing, see above")?;
    tell(&stack, &data);
    runtime.block_on(interrupted);
    println!("stopping");
    stack.finish()
}

fn tell(stack: &Stack, data: &std::path::Path) {
    let (agent, server) = (&stack.agent, &stack.server);
    println!("The cloud is up; logs are in {}", data.display());
    println!("  agent    MQTT {}, HTTP http://{}", agent.mqtt_address(), agent.http_address());
    println!("  broker   MQTT {} (in the place of AWS IoT Core)", server.mqtt_address());
    println!("  queries  http://{}/api/v1 (function query)", server.http_address());
    for (name, address) in stack.services() {
        println!("  {name}  http://{address}");
    }
    println!("Try next, in a second terminal:");
    println!(
        "  mosquitto_pub -p {} -q 1 -t telemetry/press-4 -m '{{\"temperature\": 21.5}}'",
        agent.mqtt_address().port()
    );
    println!("  cargo run --release -- query press-4 --server http://{}", server.http_address());
    println!("  cargo run --release -- ledger --server http://{}", server.http_address());
    println!("Ctrl-C stops it.");
}

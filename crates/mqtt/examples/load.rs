//! How many QoS 1 messages a second a broker takes when the application accepts at once.
//!
//! `cargo run --release -p fieldline-mqtt --example load` starts the broker here and the clients in
//! a process of their own, so that each side's CPU time can be told apart (on Linux).

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fieldline_mqtt::{
    Application, Broker, BrokerConfig, ClientInfo, ClientOptions, ConnectRequest, Connection, Event, Message,
    QoS, Receipt, Refusal, Routing, Version,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const MESSAGES: u64 = 2_000_000;
const PAYLOAD: &[u8] = br#"{"temperature": 21.5, "running": true, "ts": "2026-11-22T10:00:00Z"}"#;

struct AcceptAtOnce;

impl Application for AcceptAtOnce {
    fn authenticate(&self, _: &ConnectRequest<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn authorize_publish(&self, _: &ClientInfo, _: &str) -> bool {
        true
    }

    fn authorize_subscribe(&self, _: &ClientInfo, _: &str) -> bool {
        true
    }

    fn publish(&self, _: &ClientInfo, _: Message, receipt: Receipt) {
        receipt.accept(Routing::Consume);
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["clients", port, connections, window] => {
            clients(port.parse()?, connections.parse()?, window.parse()?).await
        }
        _ => {
            println!("connections x in flight | messages/s | broker CPU us/message | clients CPU us/message");
            for (connections, window) in [(1, 100), (50, 20), (200, 1)] {
                measure(connections, window).await?;
            }
            idle(1000).await
        }
    }
}

/// Runs the clients in another process, and this one's broker against them.
async fn measure(connections: u64, window: u16) -> Result<(), Failure> {
    let (broker, port) = broker().await?;
    let (started, cpu_before) = (Instant::now(), cpu_s());
    let arguments =
        ["clients", &port.to_string(), &connections.to_string(), &window.to_string()].map(str::to_owned);
    let program = std::env::current_exe()?;
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program).args(arguments).stderr(std::process::Stdio::inherit()).output()
    })
    .await??;
    let seconds = started.elapsed().as_secs_f64();
    let taken = broker.stats().messages_in;
    let per_message = |cpu: f64| cpu * 1e6 / taken as f64;
    let clients_cpu: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    println!(
        "{connections:>4} x {window:<4} | {:>9.0} | {:.2} | {:.2}",
        taken as f64 / seconds,
        per_message(cpu_s() - cpu_before),
        per_message(clients_cpu),
    );
    Ok(())
}

async fn broker() -> Result<(Broker, u16), Failure> {
    let broker = Broker::new(BrokerConfig::default(), Arc::new(AcceptAtOnce));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let serving = broker.clone();
    tokio::spawn(async move { serving.serve(listener, None, std::future::pending()).await });
    Ok((broker, port))
}

/// Publishes all messages, spread over the connections, and prints the CPU time it took.
async fn clients(port: u16, connections: u64, window: u16) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let mut options = ClientOptions::new("127.0.0.1", port, format!("load-{number}"));
        options.version = Version::V3_1_1;
        options.receive_maximum = window;
        tasks.spawn(client(options, if window == 1 { MESSAGES / 10 } else { MESSAGES } / connections));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    println!("{}", cpu_s());
    Ok(())
}

async fn client(options: ClientOptions, messages: u64) -> Result<(), Failure> {
    let topic = format!("telemetry/{}", options.client_id);
    let mut connection = Connection::open(&options).await?;
    let (mut sent, mut settled) = (0, 0);
    while settled < messages {
        while sent < messages && connection.vacancy() > 0 {
            connection.publish(&topic, Bytes::from_static(PAYLOAD), QoS::AtLeastOnce, false)?;
            sent += 1;
        }
        if let Event::Published(_) = connection.next().await? {
            settled += 1;
        }
    }
    connection.disconnect().await?;
    Ok(())
}

/// What an idle connection costs in memory, both ends in this process.
async fn idle(connections: u64) -> Result<(), Failure> {
    let (_broker, port) = broker().await?;
    let before = resident_kib();
    let mut open = Vec::new();
    for number in 0..connections {
        let options = ClientOptions::new("127.0.0.1", port, format!("idle-{number}"));
        open.push(Connection::open(&options).await?);
    }
    let grown = resident_kib().saturating_sub(before);
    println!("idle: {:.1} KiB a connection, client's end included", grown as f64 / open.len() as f64);
    Ok(())
}

/// User and system time of this process so far, by /proc; 0 where there is none.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

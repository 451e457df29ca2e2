//! `fieldline replay`: a recorded CSV file, published as a device with its original times.

pub(crate) mod recording;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use edge_agent::ServerAddress;
use fieldline_model::{DeviceId, DeviceTopic};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};

use crate::cli::{ReplayArgs, Speed};
use recording::{Recording, Row};

/// Rows that go into one message at most.
const ROWS_MAX: usize = 100;
/// Bytes that go into one message at most.
const BYTES_MAX: usize = 32 * 1024;
/// How long nothing may be acknowledged before the replay gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What a replay has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Rows read.
    pub rows: u64,
    /// Rows without a value, passed over.
    pub empty: u64,
    /// Messages published.
    pub messages: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages refused.
    pub refused: u64,
}

/// Publishes the file; ends when everything is acknowledged.
///
/// # Errors
/// The file or its columns cannot be read, or the connection fails (then nothing is resumed: start
/// again; a value that is stored twice at one time counts once).
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<Report> {
    let mut recording = Recording::open(&args.file, &args.columns)?;
    let broker: ServerAddress = args.agent.parse()?;
    if broker.tls {
        bail!("--agent {}: a replay speaks plain MQTT only, to an agent on this machine", args.agent);
    }
    let options = ClientOptions::new(broker.host, broker.port, client_id(&args.device)?);
    let connection = Connection::open(&options).await.with_context(|| {
        format!(
            "no agent answers at {}; start one with `fieldline up`, or name another with --agent",
            args.agent
        )
    })?;
    let mut publisher = Publisher::new(connection, &args.device);
    let outcome = publisher.publish_all(&mut recording, args.speed).await;
    publisher.progress.finish(&publisher.report);
    outcome?;
    // The acknowledgements are all there; a server that is gone by now changes nothing.
    if let Err(error) = publisher.connection.disconnect().await {
        tracing::debug!(error = &error as &dyn std::error::Error, "disconnecting failed");
    }
    if publisher.report.refused > 0 {
        bail!("{} of {} messages were refused", publisher.report.refused, publisher.report.messages);
    }
    Ok(publisher.report)
}

/// Another id than the device's own, so that the replay does not throw the device off its broker.
fn client_id(device: &DeviceId) -> anyhow::Result<String> {
    let random = getrandom::u32().context("the system has no random numbers")?;
    Ok(format!("replay-{random:08x}-{device}").chars().take(100).collect())
}

struct Publisher {
    connection: Connection,
    topic: String,
    report: Report,
    progress: Progress,
}

impl Publisher {
    fn new(connection: Connection, device: &DeviceId) -> Self {
        let topic = DeviceTopic::Device(device.clone()).to_string();
        Self { connection, topic, report: Report::default(), progress: Progress::new() }
    }

    async fn publish_all(&mut self, recording: &mut Recording, speed: Speed) -> anyhow::Result<()> {
        let mut clock = Clock::new(speed);
        let mut batch = Batch::default();
        while let Some(row) = recording.next_row()? {
            self.report.rows += 1;
            if row.values.is_empty() {
                self.report.empty += 1;
                continue;
            }
            let due = clock.due(row.nanos);
            if batch.is_full() || (due.is_some_and(|due| due > Instant::now()) && !batch.is_empty()) {
                self.publish(batch.take()).await?;
            }
            if let Some(due) = due {
                self.wait_until(due).await?;
            }
            batch.push(&row);
        }
        if !batch.is_empty() {
            self.publish(batch.take()).await?;
        }
        while self.settled() < self.report.messages {
            self.step().await?;
        }
        Ok(())
    }

    fn settled(&self) -> u64 {
        self.report.acknowledged + self.report.refused
    }

    async fn publish(&mut self, payload: Bytes) -> anyhow::Result<()> {
        while self.connection.vacancy() == 0 {
            self.step().await?;
        }
        self.connection.publish(&self.topic, payload, QoS::AtLeastOnce, false)?;
        self.report.messages += 1;
        self.progress.tell(&self.report);
        Ok(())
    }

    /// Waits for one event of the connection.
    async fn step(&mut self) -> anyhow::Result<()> {
        let event = tokio::time::timeout(PATIENCE, self.connection.next())
            .await
            .with_context(|| format!("nothing was acknowledged for {} s", PATIENCE.as_secs()))?
            .context("the connection failed before everything was acknowledged; start the replay again")?;
        self.count(&event);
        Ok(())
    }

    async fn wait_until(&mut self, due: Instant) -> anyhow::Result<()> {
        let pause = tokio::time::sleep_until(due.into());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return Ok(()),
                event = self.connection.next() => {
                    let event = event.context("the connection failed; start the replay again")?;
                    self.count(&event);
                }
            }
        }
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Published(_) => self.report.acknowledged += 1,
            Event::Refused(_, reason) => {
                self.report.refused += 1;
                tracing::warn!(reason = ?reason, "a message was refused");
            }
            _ => {}
        }
        self.progress.tell(&self.report);
    }
}

/// Rows on their way into one JSON array.
#[derive(Debug, Default)]
struct Batch {
    text: String,
    rows: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.text.len() >= BYTES_MAX
    }

    fn push(&mut self, row: &Row) {
        self.text.push(if self.rows == 0 { '[' } else { ',' });
        row.write_json(&mut self.text);
        self.rows += 1;
    }

    fn take(&mut self) -> Bytes {
        let mut text = std::mem::take(&mut self.text);
        text.push(']');
        self.rows = 0;
        Bytes::from(text)
    }
}

/// When a row is due.
struct Clock {
    speed: Speed,
    origin: Option<(i64, Instant)>,
}

impl Clock {
    fn new(speed: Speed) -> Self {
        Self { speed, origin: None }
    }

    /// None: at once. A row that lies before the first one is due at once, too.
    fn due(&mut self, nanos: i64) -> Option<Instant> {
        let Speed::Times(factor) = self.speed else { return None };
        let (first, began) = *self.origin.get_or_insert_with(|| (nanos, Instant::now()));
        let after_s = (nanos.saturating_sub(first)).max(0) as f64 / 1e9 / factor;
        Some(began + Duration::try_from_secs_f64(after_s).unwrap_or(Duration::MAX / 4))
    }
}

/// A line on standard error while the work goes on.
struct Progress {
    terminal: bool,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), told: Instant::now() }
    }

    fn tell(&mut self, report: &Report) {
        if self.terminal && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            eprint!("\r{}", sentence(report));
        }
    }

    fn finish(&self, report: &Report) {
        let back = if self.terminal { "\r" } else { "" };
        eprintln!("{back}{}", sentence(report));
    }
}

fn sentence(report: &Report) -> String {
    let empty = if report.empty > 0 { format!(", {} without a value", report.empty) } else { String::new() };
    format!(
        "{} rows read{empty}; {} of {} messages acknowledged",
        report.rows, report.acknowledged, report.messages
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_due_by_their_own_times() {
        let mut clock = Clock::new(Speed::Times(10.0));
        let first = clock.due(5_000_000_000).unwrap();
        let second = clock.due(15_000_000_000).unwrap();
        assert_eq!(second - first, Duration::from_secs(1));
        assert_eq!(clock.due(0).unwrap(), first);
        assert_eq!(Clock::new(Speed::Max).due(5), None);
    }
}

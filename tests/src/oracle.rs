//! Hands out readings, remembers which were acknowledged, and holds the store to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::Http;
use crate::publisher::{Publisher, Source, runtime};
use crate::site::Site;
use crate::wait::{PATIENCE, until};
use crate::{http, ledger};

/// Devices that publish until they are told to stop.
///
/// Message `i` of a device holds three readings: `n` = i and `wave` at the time of its own, and
/// `last` = i at one time for all, so that the value that stands at the end tells whether the order
/// was kept.
#[derive(Debug)]
pub struct Oracle {
    devices: Vec<Arc<Device>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// One device and what it has said.
#[derive(Debug)]
struct Device {
    id: String,
    base_ms: i64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// Everything that was acknowledged.
#[derive(Debug)]
pub struct Obligations {
    devices: Vec<Arc<Device>>,
}

/// The distance of two messages of a device in time.
const STEP_MS: i64 = 1_000;

impl Oracle {
    /// Starts so many devices that publish to `address`, each so many messages a second.
    ///
    /// # Errors
    /// The clock is before 1970.
    pub fn start(address: SocketAddr, devices: usize, messages_per_second: f64) -> Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let base_ms = i64::try_from(now.as_secs())? * 1_000 - 30 * 86_400_000;
        let device = |number| Device {
            id: format!("oracle-{number}"),
            base_ms,
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        };
        let devices: Vec<_> = (0..devices).map(|number| Arc::new(device(number))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (all, flag) = (devices.clone(), Arc::clone(&stop));
        let pause = Duration::from_secs_f64(1.0 / messages_per_second);
        let thread = std::thread::spawn(move || publish(address, all, &flag, pause));
        Ok(Self { devices, stop, thread: Some(thread) })
    }

    /// How many messages have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.devices.iter().map(|device| device.acknowledged.load(Ordering::Relaxed)).sum()
    }

    /// Waits until `count` more messages are acknowledged.
    ///
    /// # Errors
    /// They are not, within a minute, or a device has given up.
    pub fn wait_for_more(&self, count: u64) -> Result<()> {
        let goal = self.acknowledged() + count;
        let publishing = until("acknowledgements", PATIENCE, || {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            let enough = self.acknowledged() >= goal;
            Ok((enough || ended).then_some(!ended))
        })?;
        ensure!(publishing, "the devices have given up");
        Ok(())
    }

    /// Lets the devices finish: no new readings, and what is unacknowledged is sent until it is not.
    ///
    /// # Errors
    /// A device gave up.
    pub fn finish(mut self) -> Result<Obligations> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("an oracle finishes once")?;
        thread.join().map_err(|_| anyhow!("the devices' thread panicked"))??;
        Ok(Obligations { devices: std::mem::take(&mut self.devices) })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Obligations {
    /// Waits until the books are settled, and compares every reading.
    ///
    /// # Errors
    /// Anything is lost, doubled, altered or out of order; the books do not balance; or a fresh
    /// reading does not pass.
    pub fn check(&self, site: &Site) -> Result<()> {
        self.check_at(site.agent.http(), site.server.http())
    }

    /// The same, where the agent and the query API answer at these addresses.
    ///
    /// # Errors
    /// As [`Obligations::check`].
    pub fn check_at(&self, agent: Http, server: Http) -> Result<()> {
        let books = ledger::settle(agent, server, "gw-1", PATIENCE * 3)?;
        ensure!(books.quarantined_count() == 0, "good readings were quarantined: {books:?}");
        let messages: u64 = self.devices.iter().map(|device| device.sent.load(Ordering::Relaxed)).sum();
        ensure!(books.accepted >= 3 * messages, "{} accepted of {} readings", books.accepted, 3 * messages);
        for device in &self.devices {
            device.check(server).with_context(|| format!("device {}", device.id))?;
        }
        fresh_reading_passes(agent, server)
    }

    /// How many messages there were.
    pub fn messages(&self) -> u64 {
        self.devices.iter().map(|device| device.sent.load(Ordering::Relaxed)).sum()
    }
}

impl Device {
    fn time_ms(&self, index: u64) -> i64 {
        self.base_ms + STEP_MS * index.cast_signed()
    }

    fn message(&self, index: u64) -> Bytes {
        let own = json!({"n": index, "wave": wave(index), "ts": self.time_ms(index)});
        let shared = json!({"last": index, "ts": self.base_ms});
        Bytes::from(Value::Array(vec![own, shared]).to_string())
    }

    fn check(&self, server: Http) -> Result<()> {
        let sent = self.sent.load(Ordering::Relaxed);
        for (metric, value) in
            [("n", (|index| json!(index)) as fn(u64) -> Value), ("wave", |index| json!(wave(index)))]
        {
            let stored = server.series(&self.id, metric)?;
            let mut stored = stored.iter();
            for index in 0..sent {
                let (time, found) =
                    stored.next().with_context(|| format!("{metric} ends before {index} of {sent}"))?;
                let right = *time == self.time_ms(index) && *found == value(index);
                ensure!(
                    right,
                    "{metric} {index} of {sent} should be {} at {}, is {found} at {time}",
                    value(index),
                    self.time_ms(index)
                );
            }
            ensure!(stored.next().is_none(), "{metric} has more points than were sent");
        }
        if sent > 0 {
            let last = server.series(&self.id, "last")?;
            ensure!(
                last == [(self.base_ms, json!(sent - 1))],
                "the last write {} does not stand: {last:?}",
                sent - 1
            );
        }
        Ok(())
    }
}

/// A value with a fraction that no other reading nearby has.
fn wave(index: u64) -> f64 {
    (index.wrapping_mul(7_919) % 100_003) as f64 / 100.0
}

/// Publishes one reading, and expects it in the store soon.
///
/// # Errors
/// It is not.
pub fn fresh_reading_passes(agent: Http, server: Http) -> Result<()> {
    let answer = agent.post("/telemetry/fresh", "application/json", b"{\"alive\": true}")?;
    ensure!((200..300).contains(&answer.status), "a fresh reading is refused: {answer:?}");
    until("a fresh reading", PATIENCE, || {
        let points: http::Points = server.series("fresh", "alive")?;
        Ok(points.iter().any(|(_, value)| *value == json!(true)).then_some(()))
    })
}

fn publish(
    address: SocketAddr,
    devices: Vec<Arc<Device>>,
    stop: &Arc<AtomicBool>,
    pause: Duration,
) -> Result<()> {
    runtime()?.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for device in devices {
            let publisher = Publisher::new(address, &device.id);
            let mut feed = Feed { device, stop: Arc::clone(stop), pause, due: Instant::now() };
            tasks.spawn(async move { publisher.run(&mut feed).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// The device as a source of messages.
struct Feed {
    device: Arc<Device>,
    stop: Arc<AtomicBool>,
    pause: Duration,
    due: Instant,
}

impl Source for Feed {
    fn due(&mut self, _: u64) -> Option<Instant> {
        // Looks up now and then, so that it sees the end also when messages are rare.
        (!self.stop.load(Ordering::Relaxed)).then_some(self.due)
    }

    fn message(&mut self, index: u64) -> (String, Bytes) {
        if self.device.sent.fetch_max(index + 1, Ordering::Relaxed) <= index {
            self.due = Instant::now() + self.pause;
        }
        (format!("telemetry/{}", self.device.id), self.device.message(index))
    }

    fn acknowledged(&mut self, _: u64) {
        self.device.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

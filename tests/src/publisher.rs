//! Publishes like a careful device: QoS 1, several in flight, and whatever is not acknowledged is
//! sent again on the next connection, in order.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fieldline_mqtt::{ClientOptions, Connection, Event, PublishError, QoS, Token, Version};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// What a device has to say.
pub trait Source {
    /// When message number `index` may be sent; none: there is no such message.
    fn due(&mut self, index: u64) -> Option<Instant>;
    /// Topic and payload of message number `index`, the same each time.
    fn message(&mut self, index: u64) -> (String, Bytes);
    /// Message number `index` is the receiver's obligation now.
    fn acknowledged(&mut self, index: u64);
}

/// How to publish.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Where.
    pub address: SocketAddr,
    /// As whom.
    pub client_id: String,
    /// How many messages may be unacknowledged.
    pub window: usize,
    /// The protocol spoken.
    pub version: Version,
}

/// A device that hears nothing for so long connects anew.
const SILENCE: Duration = Duration::from_secs(4);
/// No progress for so long is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(20);

impl Publisher {
    /// With 20 in flight, MQTT 5.
    pub fn new(address: SocketAddr, client_id: &str) -> Self {
        Self { address, client_id: client_id.to_owned(), window: 20, version: Version::V5 }
    }

    /// Publishes everything that `source` has, and ends when all of it is acknowledged.
    ///
    /// # Errors
    /// A message is refused for good, or nothing moves for a long time.
    pub async fn run(&self, source: &mut impl Source) -> Result<()> {
        let ended = "not connected yet".to_owned();
        let mut state = State { next: 0, unacknowledged: VecDeque::new(), progress: Instant::now(), ended };
        loop {
            match Connection::open(&self.options()).await {
                Ok(connection) => {
                    if state.drive(connection, self.window, source).await? {
                        return Ok(());
                    }
                }
                Err(error) => state.ended = format!("{error}"),
            }
            if state.progress.elapsed() > PATIENCE {
                let (id, ended) = (&self.client_id, state.ended);
                bail!("{id} has waited {PATIENCE:?} for an acknowledgement; the last connection: {ended}");
            }
            sleep(PAUSE).await;
        }
    }

    fn options(&self) -> ClientOptions {
        let host = self.address.ip().to_string();
        let mut options = ClientOptions::new(host, self.address.port(), &self.client_id);
        options.version = self.version;
        options.receive_maximum = u16::try_from(self.window).unwrap_or(u16::MAX).max(1);
        options.connect_timeout = Duration::from_secs(3);
        options
    }
}

/// Publishes these messages in this order, and returns when all are acknowledged.
///
/// # Errors
/// As [`Publisher::run`].
pub fn publish(address: SocketAddr, client_id: &str, messages: &[(String, Bytes)]) -> Result<()> {
    let publisher = Publisher::new(address, client_id);
    runtime()?.block_on(publisher.run(&mut Messages(messages)))
}

/// Publishes one message and says what became of it: `None` when it was acknowledged.
///
/// # Errors
/// The connection breaks.
pub fn offer(address: SocketAddr, topic: &str, payload: &[u8]) -> Result<Option<PublishError>> {
    let mut options = Publisher::new(address, "offer").options();
    options.packet_bytes_max = 16 << 20;
    runtime()?.block_on(async {
        let mut connection = Connection::open(&options).await?;
        connection.publish(topic, Bytes::copy_from_slice(payload), QoS::AtLeastOnce, false)?;
        loop {
            match timeout_at(Instant::now() + PATIENCE, connection.next()).await?? {
                Event::Published(_) => return Ok(None),
                Event::Refused(_, reason) => return Ok(Some(reason)),
                _ => {}
            }
        }
    })
}

/// What drives a publisher: one thread.
///
/// # Errors
/// The system gives none.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A list as a source.
struct Messages<'a>(&'a [(String, Bytes)]);

impl Source for Messages<'_> {
    fn due(&mut self, index: u64) -> Option<Instant> {
        (index < self.0.len() as u64).then(Instant::now)
    }

    fn message(&mut self, index: u64) -> (String, Bytes) {
        usize::try_from(index).ok().and_then(|index| self.0.get(index).cloned()).unwrap_or_default()
    }

    fn acknowledged(&mut self, _: u64) {}
}

struct State {
    next: u64,
    unacknowledged: VecDeque<u64>,
    progress: Instant,
    /// Why the last connection ended.
    ended: String,
}

impl State {
    /// Uses one connection to its end; true when there is nothing left to say.
    async fn drive(
        &mut self,
        mut connection: Connection,
        window: usize,
        source: &mut impl Source,
    ) -> Result<bool> {
        let mut again = self.unacknowledged.clone();
        let mut flying: HashMap<Token, u64> = HashMap::new();
        let mut heard = Instant::now();
        loop {
            let mut wake = heard + SILENCE;
            let mut over = false;
            while flying.len() < window && connection.vacancy() > 0 {
                let index = match (again.pop_front(), source.due(self.next)) {
                    (Some(index), _) => index,
                    (None, Some(due)) if due <= Instant::now() => {
                        self.next += 1;
                        self.unacknowledged.push_back(self.next - 1);
                        self.next - 1
                    }
                    (None, Some(due)) => {
                        wake = if flying.is_empty() { due } else { wake.min(due) };
                        break;
                    }
                    (None, None) => {
                        over = true;
                        break;
                    }
                };
                if flying.is_empty() {
                    heard = Instant::now();
                    wake = heard + SILENCE;
                }
                let (topic, payload) = source.message(index);
                let token = connection.publish(&topic, payload, QoS::AtLeastOnce, false)?;
                flying.insert(token.context("QoS 1 gives a token")?, index);
            }
            if over && self.unacknowledged.is_empty() {
                // Everything is acknowledged: how the goodbye ends is of no matter.
                drop(connection.disconnect().await);
                return Ok(true);
            }
            match timeout_at(wake, connection.next()).await {
                Err(_) if !flying.is_empty() && heard.elapsed() >= SILENCE => {
                    self.ended = format!("silence with {} messages in flight", flying.len());
                    return Ok(false);
                }
                Err(_) => {}
                Ok(Err(error)) => {
                    self.ended = format!("{error}");
                    return Ok(false);
                }
                Ok(Ok(event)) => {
                    heard = Instant::now();
                    if !self.hear(event, &mut flying, source)? {
                        sleep_until(heard + PAUSE).await;
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes an event; false when a message has to be sent again on another connection.
    fn hear(
        &mut self,
        event: Event,
        flying: &mut HashMap<Token, u64>,
        source: &mut impl Source,
    ) -> Result<bool> {
        match event {
            Event::Published(token) => {
                if let Some(index) = flying.remove(&token) {
                    self.unacknowledged.retain(|waiting| *waiting != index);
                    self.progress = Instant::now();
                    source.acknowledged(index);
                }
                Ok(true)
            }
            Event::Refused(_, PublishError::QuotaExceeded) => {
                self.ended = "refused, quota exceeded".to_owned();
                Ok(false)
            }
            Event::Refused(_, reason) => bail!("a good message was refused: {reason:?}"),
            _ => Ok(true),
        }
    }
}

//! Keeps a link to the server up: connects, runs it, waits with backoff, connects again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fieldline_journal::Journal;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_mqtt::{ClientOptions, Connection, TlsClient, Version};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::link::Link;
use super::plan::Carryover;
use super::post::Office;
use super::state::UplinkBoard;
use crate::address::ServerAddress;
use crate::clock;
use crate::committer::{Board, chain};
use crate::config::{SyncSettings, UplinkVersion};

/// A link that has held this long was a good one: the next pause is the first again. Two agents
/// with one client id throw each other out sooner, and so keep backing off.
const GOOD_LINK: Duration = Duration::from_secs(30);

/// AWS IoT Core's name for MQTT with a client certificate.
const AWS_MQTT: &str = "x-amzn-mqtt-ca";

/// Where the uplink goes to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) settings: SyncSettings,
    /// How to connect; none where there is no server.
    pub(crate) options: Option<ClientOptions>,
    /// Which configuration this is, counted from the start.
    pub(crate) generation: u64,
}

/// The uplink of a gateway.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) gateway: GatewayId,
    pub(crate) settings: SyncSettings,
    pub(crate) options: ClientOptions,
    pub(crate) journal: Journal,
    pub(crate) committed: std::sync::Arc<Board>,
    pub(crate) board: UplinkBoard,
    pub(crate) office: Office,
    pub(crate) generation: u64,
    pub(crate) course: watch::Receiver<Course>,
    /// Of earlier connections; taken out while there is one.
    pub(crate) carryover: Mutex<Carryover>,
}

impl Uplink {
    /// How to connect, from the configuration; reads the certificate files.
    pub(crate) fn options(
        gateway: &GatewayId,
        server: &ServerAddress,
        settings: &SyncSettings,
    ) -> anyhow::Result<ClientOptions> {
        let mut options = ClientOptions::new(&server.host, server.port, gateway.as_str());
        options.version = match settings.version {
            UplinkVersion::V3_1_1 => Version::V3_1_1,
            UplinkVersion::V5 => Version::V5,
        };
        let session_s = u32::try_from(settings.session.as_secs()).unwrap_or(u32::MAX);
        options.clean_start = session_s == 0;
        options.session_expiry_s = session_s;
        options.connect_timeout = settings.answer_timeout;
        options.ping_timeout = settings.answer_timeout;
        options.keep_alive_s = u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX);
        if let Some(tls) = settings.tls.as_ref().filter(|_| server.tls) {
            let read = |path: &std::path::Path| {
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
            };
            options.tls = Some(TlsClient {
                ca: read(&tls.ca)?,
                certificate: tls.certificate.as_deref().map(read).transpose()?,
                key: tls.key.as_deref().map(read).transpose()?,
                server_name: None,
                alpn: alpn(server, tls.alpn.as_deref()).into_iter().collect(),
            });
        }
        Ok(options)
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(self.settings.backoff_min, self.settings.backoff_max);
        loop {
            if self.course.has_changed().unwrap_or(false) {
                self.take_course();
                backoff = Backoff::new(self.settings.backoff_min, self.settings.backoff_max);
            }
            let started = Instant::now();
            match self.one_link(stop.clone()).await {
                Ended::Stopped => return,
                Ended::Course => {
                    tracing::info!("the configuration has changed; the link is made anew");
                    self.board.update(|state| {
                        state.connected_since = None;
                        state.in_flight = 0;
                        state.pacing = false;
                    });
                    continue;
                }
                Ended::Lost(error) => self.note_down(&error),
            }
            if started.elapsed() >= GOOD_LINK {
                backoff.reset();
            }
            let pause = backoff.next(random());
            self.board.update(|state| {
                let nanos = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
                state.next_attempt = Some(clock::now().saturating_add_nanos(nanos));
            });
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = changed(self.course.clone()) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// From the next connection on.
    fn take_course(&mut self) {
        let course = self.course.borrow_and_update().clone();
        self.settings = course.settings;
        self.generation = course.generation;
        if let Some(options) = course.options {
            self.options = options;
        }
        let server = self.settings.server.as_ref().map(ToString::to_string);
        self.board.update(|state| state.server = server);
    }

    /// One connection from its beginning to its end.
    async fn one_link(&self, mut stop: watch::Receiver<bool>) -> Ended {
        self.board.update(|state| {
            state.attempts += 1;
            state.next_attempt = None;
        });
        let opened = tokio::select! {
            () = stopped(&mut stop) => return Ended::Stopped,
            () = changed(self.course.clone()) => return Ended::Course,
            opened = Connection::open(&self.options) => opened,
        };
        match opened {
            Ok(connection) => match Link::new(self, connection).run(stop).await {
                Ok(ended) => ended,
                Err(error) => Ended::Lost(format!("{error:#}")),
            },
            Err(error) => Ended::Lost(chain(&error)),
        }
    }

    fn note_down(&self, error: &str) {
        let now: Timestamp = clock::now();
        self.board.update(|state| {
            let was_up = state.connected_since.take().is_some();
            if was_up || state.last_error.as_deref() != Some(error) {
                tracing::warn!(error, server = state.server, "no link to the server; readings are buffered");
            }
            if was_up || state.down_since.is_none() {
                state.down_since = Some(now);
            }
            state.in_flight = 0;
            state.pacing = false;
            state.last_error = Some(error.to_owned());
        });
    }
}

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The agent stops.
    Stopped,
    /// There is another course.
    Course,
    /// The network or the server; why.
    Lost(String),
}

/// Resolves when there is another course.
pub(super) async fn changed(mut course: watch::Receiver<Course>) {
    // Without anybody to set one there is none.
    if course.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// On port 443 AWS IoT Core speaks HTTPS, unless it is asked for MQTT with a client certificate.
fn alpn(server: &ServerAddress, configured: Option<&str>) -> Option<String> {
    configured.or((server.is_aws() && server.port == 443).then_some(AWS_MQTT)).map(str::to_owned)
}

/// Resolves when the value turns true or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: that is a stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Uniform in 0..1; falls back to the middle where the system has no randomness.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_443_of_aws_is_asked_for_mqtt() {
        let asked = |address: &str, configured| alpn(&address.parse().unwrap(), configured);
        let aws = "a1b2-ats.iot.eu-west-1.amazonaws.com";
        assert_eq!(asked(&format!("mqtts://{aws}:443"), None).as_deref(), Some("x-amzn-mqtt-ca"));
        assert_eq!(asked(&format!("mqtts://{aws}:443"), Some("mqtt")).as_deref(), Some("mqtt"));
        for plain in [format!("mqtts://{aws}:8883"), "mqtts://broker.example.test:443".to_owned()] {
            assert_eq!(asked(&plain, None), None, "{plain}");
        }
    }
}

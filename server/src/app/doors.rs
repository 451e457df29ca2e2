//! The listeners: bound first, so that a taken address ends a start before anything is opened.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use axum::middleware;
use fieldline_mqtt::{Broker, TlsServer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Parts;
use crate::access::identify;
use crate::config::{Config, TlsSettings};
use crate::https::{Peer, TlsListener};
use crate::stop;

/// Connections that may wait to be taken, per listener; the system may allow less (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Where a server listens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addresses {
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) mqtts: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) https: Option<SocketAddr>,
}

/// Listeners that are bound and not open yet.
#[derive(Debug)]
pub(super) struct Doors {
    mqtt: Option<TcpListener>,
    mqtts: Option<TcpListener>,
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    tls: Option<TlsServer>,
}

impl Doors {
    /// Binds what the configuration names.
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let settings = config.mqtt.tls.as_ref();
        Ok(Self {
            tls: settings.map(|tls| tls_server(tls, &config.data)).transpose()?,
            mqtt: bind("mqtt.listen", "--mqtt", config.mqtt.listen)?,
            mqtts: bind("mqtt.tls.listen", "--mqtts", settings.map(|tls| tls.listen))?,
            http: bind("http.listen", "--http", config.http.listen)?,
            https: bind("http.tls_listen", "--https", config.http.tls_listen)?,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        let address = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        Addresses {
            mqtt: address(&self.mqtt),
            mqtts: address(&self.mqtts),
            http: address(&self.http),
            https: address(&self.https),
        }
    }

    /// Opens them all.
    pub(super) fn open(
        self,
        parts: Parts,
        closing: &watch::Receiver<bool>,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let Parts { broker, router, devices, access } = parts;
        let mut tasks = Vec::new();
        if let (Some(listener), Some(tls)) = (self.https, &self.tls) {
            let listener = TlsListener::new(listener, tls.clone())?;
            let devices = devices.layer(middleware::from_fn_with_state(access, identify));
            let service = devices.into_make_service_with_connect_info::<Peer>();
            let shutdown = stop::told_by(closing.clone());
            tasks.push(http(axum::serve(listener, service).with_graceful_shutdown(shutdown).into_future()));
        }
        if let Some(listener) = self.mqtt {
            tasks.push(mqtt(broker.clone(), listener, None, closing.clone()));
        }
        if let (Some(listener), Some(tls)) = (self.mqtts, self.tls) {
            tasks.push(mqtt(broker, listener, Some(tls), closing.clone()));
        }
        if let Some(listener) = self.http {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let shutdown = stop::told_by(closing.clone());
            tasks.push(http(axum::serve(listener, service).with_graceful_shutdown(shutdown).into_future()));
        }
        Ok(tasks)
    }
}

fn mqtt(
    broker: Broker,
    listener: TcpListener,
    tls: Option<TlsServer>,
    closing: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = broker.serve(listener, tls, stop::told_by(closing)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the broker stopped");
        }
    })
}

fn http(serve: impl Future<Output = std::io::Result<()>> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = serve.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the http listener stopped");
        }
    })
}

/// As [`TcpListener::bind`], whose queue of 128 is soon full when a fleet comes back after a power failure:
/// the system then drops what comes, and a client tries again no sooner than a second later.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As there: otherwise a server that comes back would find its port taken for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(key: &str, flag: &str, wanted: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(wanted) = wanted else { return Ok(None) };
    match listen(wanted) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(anyhow!(
            "{key}: {wanted} is in use by another program; stop it (another fieldline?), or choose another \
             address with {flag} (port 0 takes a free one)"
        )),
        Err(error) => Err(error)
            .with_context(|| format!("{key}: cannot listen on {wanted}; choose another address with {flag}")),
    }
}

fn tls_server(settings: &TlsSettings, data: &Path) -> anyhow::Result<TlsServer> {
    let read = |key: &str, path: &Path| {
        std::fs::read(path).with_context(|| {
            format!(
                "mqtt.tls.{key}: cannot read {} (`fieldline certs init` makes an identity)",
                path.display()
            )
        })
    };
    let [certificate, key, client_ca] = settings.files(data);
    let (chain, key) = (read("certificate", &certificate)?, read("key", &key)?);
    let ca = read("client_ca", &client_ca)?;
    TlsServer::new(&chain, &key, Some(&ca)).context("mqtt.tls: the certificates cannot be used")
}

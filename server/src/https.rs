//! HTTP over mutual TLS: the data plane for devices on other machines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use fieldline_mqtt::{Identity, TlsConnection, TlsServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// From the TCP accept to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; beyond them a connection is closed at once.
const HANDSHAKES_MAX: usize = 1_000;
/// After an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where the connection comes from.
    pub(crate) address: SocketAddr,
    /// Who the client's certificate says it is.
    pub(crate) identity: Option<Arc<Identity>>,
}

/// Connections whose handshake is done. A client that is slow with its own holds up nobody else's.
#[derive(Debug)]
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsConnection, Peer)>,
    /// Ends with the listener.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, tls: TlsServer) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, done));
        Ok(Self { address, ready, _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, tls: TlsServer, done: mpsc::Sender<(TlsConnection, Peer)>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) if handshakes.len() < HANDSHAKES_MAX => {
                    handshakes.spawn(handshake(socket, address, tls.clone(), done.clone()));
                }
                Ok((_, address)) => tracing::debug!(%address, "too many handshakes, connection refused"),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn handshake(
    socket: TcpStream,
    address: SocketAddr,
    tls: TlsServer,
    done: mpsc::Sender<(TlsConnection, Peer)>,
) {
    match tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await {
        Ok(Ok((stream, identity))) => {
            if done.send((stream, Peer { address, identity })).await.is_err() {
                tracing::debug!(%address, "a connection came too late for this run");
            }
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
        Err(_elapsed) => tracing::debug!(%address, "no handshake in time"),
    }
}

impl Listener for TlsListener {
    type Io = TlsConnection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The accepting task has no end but with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Peer { address: self.address, identity: None })
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.remote_addr().clone()
    }
}

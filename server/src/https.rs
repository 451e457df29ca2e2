//! HTTP over mutual TLS: the data plane for devices on other machines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use fieldline_mqtt::{Identity, Opening, Openings, TlsConnection, TlsServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// From the TCP accept to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; for one more the oldest one of the address that has most of them is given up.
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
        Self::with_max(listener, tls, HANDSHAKES_MAX)
    }

    fn with_max(listener: TcpListener, tls: TlsServer, handshakes_max: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, handshakes_max, done));
        Ok(Self { address, ready, _accepting: accepting })
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsServer,
    handshakes_max: usize,
    done: mpsc::Sender<(TlsConnection, Peer)>,
) {
    let mut handshakes = JoinSet::new();
    let openings = Openings::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    if openings.count() >= handshakes_max {
                        openings.make_way();
                    }
                    let opening = openings.enter(address.ip());
                    handshakes.spawn(handshake(socket, address, tls.clone(), opening, done.clone()));
                }
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
    opening: Opening,
    done: mpsc::Sender<(TlsConnection, Peer)>,
) {
    let outcome = tokio::select! {
        biased;
        outcome = tokio::time::timeout(HANDSHAKE, tls.accept(socket)) => outcome,
        () = opening.told_to_give_way() => {
            return tracing::debug!(%address, "no handshake yet, and others want in");
        }
    };
    match outcome {
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

#[cfg(test)]
mod tests {
    use fieldline_mqtt::{ClientOptions, Connection, TlsClient};
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::certs::Authority;

    /// As many half-open handshakes as there may be kept everybody out for ten seconds.
    #[tokio::test]
    async fn half_open_handshakes_keep_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::init(folder.path(), &["127.0.0.1".to_owned()]).unwrap();
        let pem = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let (chain, key) = (pem(crate::certs::SERVER_CERTIFICATE), pem(crate::certs::SERVER_KEY));
        let tls = TlsServer::new(&chain, &key, None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = TlsListener::with_max(listener, tls, 8).unwrap();
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut options = ClientOptions::new("127.0.0.1", address.port(), "good");
        let ca = authority.certificate().as_bytes().to_vec();
        options.tls = Some(TlsClient { ca, ..TlsClient::default() });
        let good = tokio::spawn(async move { Connection::open(&options).await });
        let accepted = tokio::time::timeout(HANDSHAKE / 2, Listener::accept(&mut listener)).await;
        assert!(accepted.is_ok(), "the handshake comes to its end beside silent ones");
        // Only the oldest one has given way.
        let mut byte = [0];
        let read = tokio::time::timeout(HANDSHAKE / 2, silent[0].read(&mut byte)).await.unwrap();
        assert_eq!(read.unwrap_or_default(), 0);
        assert!(silent.iter().skip(1).all(|stream| stream.try_read(&mut byte).is_err()));
        good.abort();
    }
}

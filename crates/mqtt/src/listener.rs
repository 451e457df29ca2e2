//! Takes connections, from TCP accept to the session's start.

mod handshake;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::broker::Shared;
use crate::stats::add;
use crate::stream::Stream;
use crate::{DisconnectReason, Opening, Openings, TlsServer, janitor};

/// How long connections have to end when the broker stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// After an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn serve(
    shared: &Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsServer>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    info!(%address, tls = tls.is_some(), "mqtt listener is up");
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let openings = Openings::new();
    let janitor = janitor::run(Arc::clone(shared));
    tokio::pin!(shutdown, janitor);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = &mut janitor => {}
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) if connections.len() < shared.config.connections_max || openings.make_way() => {
                    let (shared, tls, stopped) = (Arc::clone(shared), tls.clone(), stopped.clone());
                    let opening = openings.enter(peer.ip());
                    connections.spawn(connection(shared, socket, peer, tls, opening, stopped));
                }
                Ok((_, peer)) => {
                    add(&shared.counters.connections_refused, 1);
                    debug!(%peer, "connection refused, there are as many as allowed");
                }
                Err(error) => {
                    // The connection that failed is gone; a listener without descriptors comes back.
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        connections.shutdown().await;
    }
    info!(%address, "mqtt listener is down");
    Ok(())
}

/// One connection, from its first byte to its last.
async fn connection(
    shared: Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsServer>,
    opening: Opening,
    mut stopped: watch::Receiver<bool>,
) {
    let timeout = shared.config.connect_timeout();
    let opened = tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => return,
        opened = tokio::time::timeout(timeout, open(&shared, socket, peer, tls)) => opened,
        () = opening.told_to_give_way() => {
            add(&shared.counters.connections_refused, 1);
            return debug!(%peer, "no connect packet yet, and others want in");
        }
    };
    drop(opening);
    let mut driver = match opened {
        Ok(Ok(driver)) => driver,
        Ok(Err(error)) => {
            add(&shared.counters.connections_refused, 1);
            return debug!(%peer, %error, "connection refused");
        }
        Err(_elapsed) => {
            add(&shared.counters.connections_refused, 1);
            return debug!(%peer, "no connect packet in time");
        }
    };
    let finished = tokio::select! {
        biased;
        () = driver.run() => true,
        _ = stopped.wait_for(|stopped| *stopped) => false,
    };
    if !finished {
        driver.close(DisconnectReason::ShuttingDown);
        driver.run().await;
    }
}

async fn open(
    shared: &Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsServer>,
) -> io::Result<crate::connection::Driver> {
    socket.set_nodelay(true)?;
    let (stream, identity) = match tls {
        None => (Stream::Plain(socket), None),
        Some(tls) => {
            let (stream, identity) = tls.accept(socket).await?;
            (Stream::Server(Box::new(stream)), identity)
        }
    };
    handshake::run(shared, stream, peer, identity).await
}

//! The broker: what all its connections share.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::stats::{Counters, add};
use crate::{Application, BrokerConfig, Message, Stats, TlsServer};

/// An MQTT broker. Cheap to clone; all clones are one broker.
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// What the connections of a broker share.
pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) counters: Counters,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn route(&self, message: &Message, publisher: Option<&str>) -> usize {
        let _ = (message, publisher);
        0
    }

    pub(crate) fn count_refused(&self) {
        add(&self.counters.messages_refused, 1);
    }
}

impl Broker {
    /// A broker without connections. Sessions and retained messages live in memory.
    pub fn new(config: BrokerConfig, application: Arc<dyn Application>) -> Self {
        let shared = Shared { config: config.sane(), application, counters: Counters::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Takes connections until `shutdown` is ready; then tells every client (MQTT 5: 0x8B), closes
    /// and waits for them. Several listeners may be served at once, with and without TLS.
    ///
    /// # Errors
    /// The listener failed for good. (A connection that fails only ends itself.)
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<TlsServer>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        let _ = (listener, tls);
        shutdown.await;
        Ok(())
    }

    /// Publishes from the server itself: no hook is asked. Returns how many sessions took it.
    pub fn publish(&self, message: &Message) -> usize {
        self.shared.route(message, None)
    }

    /// Ends a client's connection (MQTT 5: 0x98); false when it is not connected.
    pub fn disconnect(&self, client_id: &str) -> bool {
        let _ = (client_id, &self.shared.application);
        false
    }

    /// Counters and what is held now.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }
}

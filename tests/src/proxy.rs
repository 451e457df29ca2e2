//! A TCP proxy that is as bad as a network can be.
//!
//! It stands before a listener. It can cut every connection, swallow everything while connections
//! stay open (half-open), and add latency; and on the way back it knows MQTT well enough to lose,
//! delay, double and reorder acknowledgements: PUBACKs, and messages on the `fieldline/…/ack` topics.

mod frame;
mod pump;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::random::Random;

/// What is wrong with the network now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Toxics {
    /// Added on each way.
    pub latency: Duration,
    /// New connections are closed at once.
    pub refuse: bool,
    /// Everything is swallowed while connections stay open. A connection that lost bytes so is cut
    /// when this ends, as its two ends would never agree again.
    pub blackhole: bool,
    /// What becomes of acknowledgements, in percent.
    pub acks: AckToxics,
}

/// What becomes of acknowledgements on their way back, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AckToxics {
    /// Lost.
    pub lose: u64,
    /// Sent twice.
    pub double: u64,
    /// Held back for a while, so that later traffic passes them.
    pub delay: u64,
    /// Held back until the next acknowledgement has passed.
    pub reorder: u64,
}

/// A proxy before one listener. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
}

/// What the proxy's threads share.
#[derive(Debug)]
struct Network {
    upstream: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    toxics: Toxics,
    random: Random,
    sockets: Vec<TcpStream>,
    ended: bool,
}

impl Proxy {
    /// Listens on a free port of loopback and passes everything on to `upstream`.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(upstream: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state =
            State { toxics: Toxics::default(), random: Random::new(seed), sockets: Vec::new(), ended: false };
        let network = Arc::new(Network { upstream, state: Mutex::new(state) });
        let acceptor = Arc::clone(&network);
        std::thread::spawn(move || acceptor.accept(&listener));
        Ok(Self { address, network })
    }

    /// A random fault, or an end of all faults.
    pub fn disturb(&self, random: &mut Random) {
        let acks = AckToxics { lose: 25, double: 25, delay: 25, reorder: 25 };
        match random.below(6) {
            0 => self.heal(),
            1 => self.cut(),
            2 => self.set(Toxics { blackhole: true, ..Toxics::default() }),
            3 => self.set(Toxics { refuse: true, ..Toxics::default() }),
            4 => self.set(Toxics { latency: Duration::from_millis(random.below(40)), ..Toxics::default() }),
            _ => self.set(Toxics { acks, ..Toxics::default() }),
        }
    }

    /// Where to connect instead of to the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the network so bad, from now on.
    pub fn set(&self, toxics: Toxics) {
        let mut state = self.network.lock();
        let healed = state.toxics.blackhole && !toxics.blackhole;
        state.toxics = toxics;
        if healed {
            close_all(&mut state);
        }
    }

    /// A good network again.
    pub fn heal(&self) {
        self.set(Toxics::default());
    }

    /// Cuts every connection once.
    pub fn cut(&self) {
        close_all(&mut self.network.lock());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.ended = true;
        close_all(&mut state);
        drop(state);
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            let (ended, refuse) = {
                let state = self.lock();
                (state.ended, state.toxics.refuse)
            };
            if ended {
                return;
            }
            if !refuse {
                // A client that cannot be connected sees its connection closed, as with no proxy.
                drop(self.connect(client));
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect_timeout(&self.upstream, Duration::from_secs(2))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.lock().sockets.extend([client.try_clone()?, server.try_clone()?]);
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || pump::forward(&there, from, to));
        std::thread::spawn(move || pump::backward(&back, server, client));
        Ok(())
    }
}

fn close_all(state: &mut State) {
    for socket in state.sockets.drain(..) {
        // Already closed is as good.
        drop(socket.shutdown(Shutdown::Both));
    }
}

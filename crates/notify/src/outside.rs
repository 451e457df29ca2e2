//! What comes from outside: names, time and chance.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// Finds addresses of names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, which may be an address itself.
    ///
    /// # Errors
    /// The name is unknown, or nobody can be asked.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>>;
}

/// The world as a target sees it; the default is the real one.
#[derive(Clone)]
pub struct Outside {
    /// Names.
    pub resolver: Arc<dyn Resolve>,
    /// The time, in whole seconds since 1970.
    pub unix_seconds: fn() -> u64,
    /// A clock that only goes forward.
    pub now: fn() -> Instant,
    /// A random number, 0.0 to 1.0.
    pub chance: fn() -> f64,
}

impl Default for Outside {
    fn default() -> Self {
        Self { resolver: Arc::new(System), unix_seconds, now: Instant::now, chance }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

/// The machine's own resolver.
struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.map(|address: SocketAddr| address.ip()).collect())
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Without randomness the middle will do: a receiver is well, if less gently treated.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

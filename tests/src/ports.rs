//! Ports that a program keeps over a restart.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 14_000;
const COUNT: u16 = 16_000;

/// A port that nobody listens on, below the range that the system gives to outgoing connections, so
/// that it is still free when a killed program comes back.
///
/// # Errors
/// All are taken.
pub fn reserve() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes at once start at different places.
    let offset = (std::process::id().wrapping_mul(797) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + ((u32::from(offset) + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port between {FIRST} and {} is free", FIRST + COUNT)
}

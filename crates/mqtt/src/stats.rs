//! Counters of a broker.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a broker has done so far and holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Clients connected now.
    pub connections: u64,
    /// Clients that have connected.
    pub connections_total: u64,
    /// Connections turned away: over the limit, no CONNECT in time, TLS failed, refused.
    pub connections_refused: u64,
    /// Sessions held, connected or not.
    pub sessions: u64,
    /// Subscriptions held.
    pub subscriptions: u64,
    /// Retained messages held.
    pub retained: u64,
    /// Bytes of retained messages held.
    pub retained_bytes: u64,
    /// PUBLISH packets taken from clients.
    pub messages_in: u64,
    /// PUBLISH packets written to clients, repeats included.
    pub messages_out: u64,
    /// Messages to subscribers that were dropped: queue full, expired, too large for the client,
    /// session ended; and messages that could not be retained.
    pub messages_dropped: u64,
    /// PUBLISH packets refused: not authorised, or by the application.
    pub messages_refused: u64,
    /// Bytes read from clients, after TLS.
    pub bytes_in: u64,
    /// Bytes written to clients, before TLS.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_total: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    pub(crate) messages_refused: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: get(&self.connections),
            connections_total: get(&self.connections_total),
            connections_refused: get(&self.connections_refused),
            messages_in: get(&self.messages_in),
            messages_out: get(&self.messages_out),
            messages_dropped: get(&self.messages_dropped),
            messages_refused: get(&self.messages_refused),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            ..Stats::default()
        }
    }
}

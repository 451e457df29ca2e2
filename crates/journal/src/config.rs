//! What can be set.

use std::time::Duration;

use serde::Deserialize;

/// How large the journal may grow, and what happens then.
#[derive(Debug, Clone)]
pub struct Config {
    /// A segment is closed when it would grow past this; 8 MiB. At most a quarter of `bytes_max`.
    pub segment_bytes: u64,
    /// How much disk all segments together may take; 1 GiB.
    pub bytes_max: u64,
    /// Segments whose newest record is older than this are dropped; none by default.
    pub age_max: Option<Duration>,
    /// What happens when `bytes_max` is reached.
    pub policy: Policy,
    /// Disk kept back so that a cursor can be written when the disk is full; 256 KiB.
    pub reserve_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 8 * 1024 * 1024,
            bytes_max: 1024 * 1024 * 1024,
            age_max: None,
            policy: Policy::DropOldest,
            reserve_bytes: 256 * 1024,
        }
    }
}

/// What happens when the journal is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The oldest segment of the cheapest class goes: history, then live, event, alarm. What goes is
    /// counted as dropped by `drop-oldest`.
    #[default]
    DropOldest,
    /// Nothing more is taken until some has been released; devices get no PUBACK.
    Refuse,
}

/// The name under which readings dropped for want of space are counted.
pub const DROP_OLDEST: &str = "drop-oldest";
/// The name under which readings dropped for their age are counted.
pub const EXPIRED: &str = "expired";

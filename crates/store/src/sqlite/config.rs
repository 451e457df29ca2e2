use std::time::Duration;

/// Limits and sizes of a [`crate::SqliteStore`].
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The heads become chunks when they hold so many points, 16 to 30 bytes of memory each. During a
    /// flush as many again may gather.
    pub head_points_max: usize,
    /// The heads become chunks when the oldest block in the log has been received so long before the
    /// newest.
    pub flush_after: Duration,
    /// The heads become chunks when the blocks in the log have so many bytes.
    pub log_bytes_max: u64,
    /// The database file takes no more bytes; then writes are refused as on a full disk until retention
    /// has made room. `None`: the disk is the limit.
    pub file_bytes_max: Option<u64>,
    /// SQLite's write-ahead log is taken into the file when it has so many bytes. It grows beyond while a
    /// long query runs.
    pub wal_bytes_max: u32,
    /// The most blocks in one transaction.
    pub batch_blocks_max: usize,
    /// A transaction takes no more blocks when it has so many encoded bytes.
    pub batch_bytes_max: usize,
    /// How many calls may wait for the writer; more wait outside.
    pub queue_max: usize,
    /// How many queries may run at the same time.
    pub readers: usize,
    /// The most points (or buckets) in a page, whatever the query says.
    pub page_points_max: usize,
    /// The most series; a block that would bring more is refused.
    pub series_max: usize,
    /// The most named shadows of one thing; an update that would make one more is refused.
    pub named_shadows_max: usize,
    /// Bytes kept of messages that were set aside; beyond it the oldest go. Their counts stay.
    pub quarantine_bytes_max: u64,
    /// Bytes kept of one such message.
    pub quarantine_message_bytes_max: usize,
}

impl Default for SqliteConfig {
    /// Fit for some 10,000 readings a second on a small machine.
    fn default() -> Self {
        Self {
            head_points_max: 4_000_000,
            flush_after: Duration::from_secs(600),
            log_bytes_max: 64 << 20,
            file_bytes_max: None,
            wal_bytes_max: 16 << 20,
            batch_blocks_max: 256,
            batch_bytes_max: 8 << 20,
            queue_max: 1_024,
            readers: 2,
            page_points_max: 100_000,
            series_max: 1_000_000,
            named_shadows_max: crate::NAMED_SHADOWS_MAX,
            quarantine_bytes_max: 16 << 20,
            quarantine_message_bytes_max: 128 << 10,
        }
    }
}

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fieldline_model::{Books, Class, GatewayId, LaneBooks, RangeSet, SeqRange, StreamId, Timestamp};

use crate::StoreError;

/// What is known of each stream: what is stored, and what became of the rest.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Keeps what a gateway says of its readings, in place of what it said before. `now` is the
    /// server's time at which the report came.
    async fn record_books(&self, gateway: &GatewayId, books: Books, now: Timestamp)
    -> Result<(), StoreError>;

    /// The ledger of one gateway, or of all, by name; empty for an unknown gateway.
    async fn ledger(&self, gateway: Option<&GatewayId>) -> Result<Vec<GatewayLedger>, StoreError>;

    /// Sets aside a message that cannot be stored. Its sequence numbers, if they are known, count as
    /// quarantined from now on and can be acknowledged. The bytes of the oldest are let go of at the
    /// store's limit; the counts stay.
    async fn quarantine(&self, refused: Refused) -> Result<(), StoreError>;

    /// The stream under which the server itself stores what reached it without an agent, and the next
    /// free sequence number in it. The stream comes into being at the first call.
    ///
    /// Only one caller at a time may use the stream: a second one would use the same numbers.
    async fn own_stream(&self, gateway: &GatewayId, now: Timestamp) -> Result<OwnStream, StoreError>;
}

/// The server's own stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnStream {
    /// Its name; stays the same over restarts.
    pub stream: StreamId,
    /// One more than the greatest sequence number that is stored; from 1.
    pub next_seq: u64,
}

/// A message that cannot be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Who sent it.
    pub gateway: GatewayId,
    /// Which readings it held, if that much could be read.
    pub readings: Option<(StreamId, Class, SeqRange)>,
    /// Why, in a word or two (for counting: few different ones, such as `checksum`); cut to 64 bytes.
    pub reason: String,
    /// What was received; cut to the store's limit.
    pub bytes: Bytes,
    /// When it reached the server.
    pub received: Timestamp,
}

/// The last report of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedBooks {
    /// What it said.
    pub books: Books,
    /// When the report reached the server.
    pub received: Timestamp,
}

/// All that is known of the readings of one gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayLedger {
    /// Which gateway.
    pub gateway: GatewayId,
    /// Its last report; `None` if it never reported.
    pub reported: Option<ReportedBooks>,
    /// Its streams, by epoch.
    pub streams: Vec<StreamLedger>,
    /// Messages set aside by the server, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Whether the books balance.
    pub balance: Balance,
}

/// Whether every reading that was accepted is somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Every reading is somewhere.
    Balanced,
    /// The gateway has not reported yet.
    Unknown,
    /// Readings are missing, or there are more than there should be.
    Off {
        /// [`Books::balance`] of the report: accepted readings that the gateway cannot account for.
        at_gateway: i128,
        /// Readings that neither the store nor the gateway has, though nothing says that they were dropped.
        unaccounted: u64,
    },
}

/// What is known of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamLedger {
    /// Which stream.
    pub stream: StreamId,
    /// How dear its readings are.
    pub class: Class,
    /// What is stored.
    pub stored: RangeSet,
    /// What reached the server but could not be stored.
    pub quarantined: RangeSet,
    /// What the gateway said of the stream.
    pub reported: Option<LaneBooks>,
    /// The sequence numbers from 1 to the greatest known one that are not stored.
    pub gaps: RangeSet,
    /// The part of the gaps for which there is no explanation: not buffered, dropped or damaged at the
    /// gateway, and not quarantined here.
    pub unaccounted: RangeSet,
}

impl StreamLedger {
    pub(crate) fn new(
        stream: StreamId,
        class: Class,
        stored: RangeSet,
        quarantined: RangeSet,
        reported: Option<LaneBooks>,
    ) -> Self {
        let told = reported.as_ref().map_or(0, |lane| lane.last_seq);
        let last = told.max(stored.last().unwrap_or(0)).max(quarantined.last().unwrap_or(0));
        let gaps: RangeSet = match last {
            0 => RangeSet::new(),
            last => stored.gaps_within(SeqRange::new(1, last)).into(),
        };
        let mut unaccounted = gaps.clone();
        let mut explain = |ranges: &RangeSet| {
            for run in ranges.runs() {
                unaccounted.remove(*run);
            }
        };
        explain(&quarantined);
        if let Some(lane) = &reported {
            explain(&lane.buffered);
            explain(&lane.damaged);
            lane.dropped.values().for_each(&mut explain);
        }
        Self { stream, class, stored, quarantined, reported, gaps, unaccounted }
    }
}

impl GatewayLedger {
    pub(crate) fn new(
        gateway: GatewayId,
        reported: Option<ReportedBooks>,
        streams: Vec<StreamLedger>,
        refused: BTreeMap<String, u64>,
    ) -> Self {
        let balance = match &reported {
            None => Balance::Unknown,
            Some(report) => {
                let at_gateway = report.books.balance();
                let unaccounted = streams.iter().map(|stream| stream.unaccounted.count()).sum();
                match (at_gateway, unaccounted) {
                    (0, 0) => Balance::Balanced,
                    _ => Balance::Off { at_gateway, unaccounted },
                }
            }
        };
        Self { gateway, reported, streams, refused, balance }
    }
}

/// Messages set aside, by gateway and reason.
pub type RefusedCounts = BTreeMap<GatewayId, BTreeMap<String, u64>>;

/// What a store itself knows of a stream.
#[derive(Debug, Clone)]
pub struct StreamRecord {
    /// Which stream.
    pub stream: StreamId,
    /// How dear its readings are.
    pub class: Class,
    /// What is stored.
    pub stored: RangeSet,
    /// What has come but could not be stored.
    pub quarantined: RangeSet,
}

impl Refused {
    /// The reason, cut to 64 bytes.
    pub fn reason_word(&self) -> String {
        let mut word = self.reason.clone();
        word.truncate(word.floor_char_boundary(64));
        word
    }
}

/// Brings together what the store knows and what the gateways said; streams of which nothing has come
/// yet are among it.
pub fn assemble(
    only: Option<&GatewayId>,
    books: BTreeMap<GatewayId, ReportedBooks>,
    streams: Vec<StreamRecord>,
    refused: RefusedCounts,
) -> Vec<GatewayLedger> {
    let mut known: BTreeMap<StreamId, StreamRecord> =
        streams.into_iter().map(|record| (record.stream.clone(), record)).collect();
    for (gateway, report) in &books {
        for lane in &report.books.lanes {
            let stream = StreamId { gateway: gateway.clone(), epoch: lane.epoch };
            known.entry(stream.clone()).or_insert_with(|| StreamRecord {
                stream,
                class: lane.class,
                stored: RangeSet::new(),
                quarantined: RangeSet::new(),
            });
        }
    }
    let mut gateways: BTreeMap<GatewayId, Vec<StreamLedger>> = BTreeMap::new();
    for gateway in books.keys().chain(refused.keys()) {
        gateways.entry(gateway.clone()).or_default();
    }
    for record in known.into_values() {
        let report = books.get(&record.stream.gateway);
        let lane = report
            .and_then(|report| report.books.lanes.iter().find(|lane| lane.epoch == record.stream.epoch));
        let gateway = record.stream.gateway.clone();
        let StreamRecord { stream, class, stored, quarantined } = record;
        let ledger = StreamLedger::new(stream, class, stored, quarantined, lane.cloned());
        gateways.entry(gateway).or_default().push(ledger);
    }
    let wanted = gateways.into_iter().filter(|(gateway, _)| only.is_none_or(|only| only == gateway));
    wanted
        .map(|(gateway, streams)| {
            let reported = books.get(&gateway).cloned();
            let refused = refused.get(&gateway).cloned().unwrap_or_default();
            GatewayLedger::new(gateway, reported, streams, refused)
        })
        .collect()
}

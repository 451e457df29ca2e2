//! Where every reading is: what a gateway says of itself, set against what the store has.
//!
//! The store's word counts for what is stored: a reading that the gateway still reports as buffered
//! and that the store has is stored. Sequence numbers beyond the last one that the gateway has
//! reported were given out since; those of them that have not arrived are in transit. So the
//! account is exact at the time of the report, and consistent with everything stored since.

use std::collections::BTreeMap;

use fieldline_model::{Books, Class, GatewayId, LaneBooks, RangeSet, Reason, SeqRange, Timestamp};
use fieldline_store::{GatewayLedger, StreamLedger};
use serde::Serialize;

/// One gateway in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    gateway: GatewayId,
    /// When the gateway last reported its books.
    reported: Option<Timestamp>,
    accepted: u64,
    filtered: u64,
    buffered: u64,
    stored: u64,
    dropped: u64,
    quarantined: u64,
    quarantined_by: BTreeMap<Reason, u64>,
    dropped_by: BTreeMap<String, u64>,
    /// Messages (not readings) that the server could not read, by reason.
    refused: BTreeMap<String, u64>,
    /// Readings that nobody has, and nothing says why.
    missing: u64,
    /// `accepted − (filtered + buffered + stored + dropped + quarantined)`; none without books.
    balance: Option<i64>,
    balanced: Option<bool>,
    streams: Vec<StreamAccount>,
}

/// One stream in the ledger; all ranges are disjoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StreamAccount {
    stream: String,
    epoch: u64,
    class: Class,
    /// The greatest number that is known.
    last_seq: u64,
    stored: RangeSet,
    /// What is not stored below the last number that is known.
    gaps: RangeSet,
    /// At the gateway, waiting for the store's acknowledgement.
    buffered: RangeSet,
    /// Given out since the gateway's report, not here yet.
    in_transit: RangeSet,
    dropped: BTreeMap<String, RangeSet>,
    /// Found damaged on the gateway's disk.
    damaged: RangeSet,
    /// Reached the server and could not be stored.
    quarantined: RangeSet,
    /// Given out before the gateway's report, and nobody has it.
    missing: RangeSet,
}

/// Draws up the account of one gateway. `own` says that the readings are the server's own, taken in
/// without a gateway, so that nothing is hidden from it although nobody reports.
pub(crate) fn account(ledger: &GatewayLedger, own: bool) -> Account {
    let streams: Vec<StreamAccount> = ledger.streams.iter().map(stream_account).collect();
    let sum = |part: fn(&StreamAccount) -> &RangeSet| -> u64 {
        streams.iter().map(|stream| part(stream).count()).sum()
    };
    let books = ledger.reported.as_ref().map(|report| &report.books);
    let (stored, missing) = (sum(|s| &s.stored), sum(|s| &s.missing));
    let buffered = sum(|s| &s.buffered) + sum(|s| &s.in_transit);
    let quarantined_by = quarantined_by(books, sum(|s| &s.damaged), sum(|s| &s.quarantined));
    let dropped_by = dropped_by(&streams);
    let (dropped, quarantined) = (dropped_by.values().sum(), quarantined_by.values().sum());
    let filtered = books.map_or(0, |books| books.filtered);
    let accepted = books.map_or(stored + quarantined, |books| books.accepted + since_report(books, &streams));
    let settled: i128 = [filtered, buffered, stored, dropped, quarantined].into_iter().map(i128::from).sum();
    let difference = i64::try_from(i128::from(accepted) - settled).unwrap_or(i64::MAX);
    let balance = (books.is_some() || own).then_some(difference);
    Account {
        gateway: ledger.gateway.clone(),
        reported: ledger.reported.as_ref().map(|report| report.received),
        accepted,
        filtered,
        buffered,
        stored,
        dropped,
        quarantined,
        quarantined_by,
        dropped_by,
        refused: ledger.refused.clone(),
        missing,
        balance,
        balanced: balance.map(|balance| balance == 0 && missing == 0),
        streams,
    }
}

fn stream_account(ledger: &StreamLedger) -> StreamAccount {
    let stored = &ledger.stored;
    // Each number is counted in one place: what is stored is stored, whatever else was said of it.
    let mut placed = stored.clone();
    let mut claim = |ranges: &RangeSet| {
        let mut own = ranges.clone();
        for run in placed.runs() {
            own.remove(*run);
        }
        placed.insert_all(&own);
        own
    };
    let silent = LaneBooks::default();
    let lane = ledger.reported.as_ref().unwrap_or(&silent);
    let quarantined = claim(&ledger.quarantined);
    let damaged = claim(&lane.damaged);
    let dropped: BTreeMap<String, RangeSet> = lane
        .dropped
        .iter()
        .map(|(policy, ranges)| (policy.clone(), claim(ranges)))
        .filter(|(_, ranges)| !ranges.is_empty())
        .collect();
    let buffered = claim(&lane.buffered);
    let last_seq = lane.last_seq.max(placed.last().unwrap_or(0));
    let (mut missing, mut in_transit) = (RangeSet::new(), RangeSet::new());
    if ledger.reported.is_some() {
        missing = unplaced(&placed, 1, lane.last_seq);
        in_transit = unplaced(&placed, lane.last_seq.saturating_add(1), last_seq);
    }
    StreamAccount {
        stream: ledger.stream.to_string(),
        epoch: ledger.stream.epoch,
        class: ledger.class,
        last_seq,
        stored: stored.clone(),
        gaps: unplaced(stored, 1, last_seq),
        buffered,
        in_transit,
        dropped,
        damaged,
        quarantined,
        missing,
    }
}

/// The numbers from `first` to `last` that are not in the set; none where `last` lies below `first`.
fn unplaced(set: &RangeSet, first: u64, last: u64) -> RangeSet {
    if last < first { RangeSet::new() } else { set.gaps_within(SeqRange::new(first, last)).into() }
}

fn quarantined_by(books: Option<&Books>, damaged: u64, here: u64) -> BTreeMap<Reason, u64> {
    let mut by = books.map(|books| books.quarantined.clone()).unwrap_or_default();
    for (reason, count) in [(Reason::Damaged, damaged), (Reason::Malformed, here)] {
        if count > 0 {
            *by.entry(reason).or_default() += count;
        }
    }
    by
}

fn dropped_by(streams: &[StreamAccount]) -> BTreeMap<String, u64> {
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for (policy, ranges) in streams.iter().flat_map(|stream| &stream.dropped) {
        *by.entry(policy.clone()).or_default() += ranges.count();
    }
    by
}

/// Readings that the gateway has accepted since its report, as far as they can be known here.
fn since_report(books: &Books, streams: &[StreamAccount]) -> u64 {
    streams
        .iter()
        .map(|stream| match books.lanes.iter().find(|lane| lane.epoch == stream.epoch) {
            Some(lane) => stream.last_seq.saturating_sub(lane.last_seq),
            // A lane that the gateway no longer speaks of, or not yet: what came was accepted.
            None => stream.stored.count() + stream.quarantined.count(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use fieldline_model::StreamId;
    use fieldline_store::{Balance, ReportedBooks};

    use super::*;

    fn ranges(runs: &[(u64, u64)]) -> RangeSet {
        runs.iter().map(|run| SeqRange::from(*run)).collect()
    }

    fn lane(last_seq: u64, buffered: &[(u64, u64)], stored: &[(u64, u64)]) -> LaneBooks {
        LaneBooks {
            epoch: 7,
            last_seq,
            buffered: ranges(buffered),
            stored: ranges(stored),
            ..LaneBooks::default()
        }
    }

    fn ledger(stored: &[(u64, u64)], books: Option<Books>) -> GatewayLedger {
        let gateway = GatewayId::new("gw-1").unwrap();
        let lane = books.as_ref().and_then(|books| books.lanes.first().cloned());
        let stream = StreamLedger {
            stream: StreamId { gateway: gateway.clone(), epoch: 7 },
            class: Class::Live,
            stored: ranges(stored),
            quarantined: RangeSet::new(),
            reported: lane,
            // Drawn up anew here, with what is in transit told apart.
            gaps: RangeSet::new(),
            unaccounted: RangeSet::new(),
        };
        GatewayLedger {
            gateway,
            reported: books.map(|books| ReportedBooks { books, received: Timestamp::EPOCH }),
            streams: vec![stream],
            refused: BTreeMap::new(),
            balance: Balance::Unknown,
        }
    }

    #[test]
    fn the_store_s_word_counts_for_what_is_stored() {
        let mut reported = lane(100, &[(61, 100)], &[(21, 60)]);
        reported.dropped = BTreeMap::from([("drop-oldest".to_owned(), ranges(&[(1, 19)]))]);
        reported.damaged = ranges(&[(20, 20)]);
        let books = Books {
            accepted: 150,
            filtered: 40,
            quarantined: BTreeMap::from([(Reason::TooOld, 10)]),
            lanes: vec![reported],
        };
        // 61–80 have come since the gateway reported them as buffered, and so has 5, once dropped there.
        let account = account(&ledger(&[(5, 5), (21, 80)], Some(books)), false);
        assert_eq!((account.stored, account.buffered, account.dropped), (61, 20, 18));
        assert_eq!(account.quarantined_by, BTreeMap::from([(Reason::TooOld, 10), (Reason::Damaged, 1)]));
        assert_eq!(account.balance, Some(0));
        assert_eq!(account.streams[0].buffered, ranges(&[(81, 100)]));
        assert_eq!(account.streams[0].gaps, ranges(&[(1, 4), (6, 20), (81, 100)]));
    }

    #[test]
    fn what_came_since_the_report_is_accepted_and_the_hole_in_it_in_transit() {
        let books = Books { accepted: 10, lanes: vec![lane(10, &[(6, 10)], &[(1, 5)])], ..Books::default() };
        let account = account(&ledger(&[(1, 10), (15, 20)], Some(books)), false);
        assert_eq!(account.accepted, 20);
        assert_eq!((account.stored, account.buffered), (16, 4));
        assert_eq!(account.streams[0].in_transit, ranges(&[(11, 14)]));
        assert_eq!(account.balance, Some(0));
    }

    #[test]
    fn what_the_gateway_let_go_of_and_the_store_lacks_is_missing() {
        let books = Books { accepted: 10, lanes: vec![lane(10, &[], &[(1, 10)])], ..Books::default() };
        let account = account(&ledger(&[(1, 8)], Some(books)), false);
        assert_eq!((account.missing, account.balance, account.balanced), (2, Some(2), Some(false)));
        assert_eq!(account.streams[0].missing, ranges(&[(9, 10)]));
    }

    #[test]
    fn without_books_nothing_can_be_balanced_but_the_server_s_own_stream() {
        let ledger = ledger(&[(1, 8)], None);
        let foreign = account(&ledger, false);
        assert_eq!((foreign.balance, foreign.accepted), (None, 8));
        assert_eq!(account(&ledger, true).balance, Some(0));
    }

    #[test]
    fn what_the_server_quarantined_is_accounted_for() {
        let books = Books { accepted: 10, lanes: vec![lane(10, &[], &[(1, 10)])], ..Books::default() };
        let mut ledger = ledger(&[(1, 8)], Some(books));
        ledger.streams[0].quarantined = ranges(&[(9, 10)]);
        let account = account(&ledger, false);
        assert_eq!((account.quarantined, account.missing, account.balance), (2, 0, Some(0)));
    }

    #[test]
    fn a_stream_that_is_only_in_the_books_is_there_too() {
        let books = Books { accepted: 5, lanes: vec![lane(5, &[(1, 5)], &[])], ..Books::default() };
        let account = account(&ledger(&[], Some(books)), false);
        assert_eq!((account.buffered, account.balance), (5, Some(0)));
        assert_eq!(account.streams[0].gaps, ranges(&[(1, 5)]));
    }
}

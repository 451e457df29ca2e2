//! Which sequence numbers go out next. Pure: it sees what waits and what is under way, and picks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fieldline_model::{Class, RangeSet, SeqRange};

use super::cuts::Cuts;

/// Where a picked run comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Given out since the link came up; never waits for backlog.
    Live,
    /// From before; paced.
    Backlog,
}

/// A run to send: as much of it as fits one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) epoch: u64,
    pub(crate) class: Class,
    pub(crate) range: SeqRange,
    pub(crate) kind: Kind,
}

/// What of one lane still waits for the store.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) epoch: u64,
    pub(crate) class: Class,
    pub(crate) last_seq: u64,
    pub(crate) buffered: RangeSet,
}

#[derive(Debug)]
struct Lane {
    epoch: u64,
    /// The first sequence number that counts as live.
    live_from: u64,
    /// Sent on this connection and not yet acknowledged by the store.
    under_way: Vec<Sent>,
    sent: RangeSet,
}

#[derive(Debug)]
struct Sent {
    range: SeqRange,
    due: Instant,
}

/// What a connection leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Carryover {
    cuts: Cuts,
    /// The first live number of each lane. What has been backlog stays backlog: else it would overtake what is
    /// older, and rules, to which it is history by then, want history in its order.
    live_from: BTreeMap<u64, u64>,
}

/// What is under way on one connection.
#[derive(Debug)]
pub(crate) struct Plan {
    lanes: Vec<Lane>,
    carryover: Carryover,
    in_flight_max: usize,
    ack_timeout: Duration,
    /// Doubles with each silence, up to sixteen times, and halves again with each acknowledgement.
    patience: u32,
}

impl Plan {
    /// A fresh connection: all that waits now is backlog, what comes from now on is live.
    pub(crate) fn new(waiting: &[Waiting], in_flight_max: usize, ack_timeout: Duration) -> Self {
        let lanes = waiting.iter().map(|lane| Lane::new(lane.epoch, lane.last_seq + 1)).collect();
        Self { lanes, carryover: Carryover::default(), in_flight_max, ack_timeout, patience: 1 }
    }

    /// Goes on where an earlier connection was.
    pub(crate) fn after(mut self, carryover: Carryover) -> Self {
        self.carryover = carryover;
        self
    }

    /// What the next connection has to know.
    pub(crate) fn into_carryover(self) -> Carryover {
        let live_from = self.lanes.iter().map(|lane| (lane.epoch, lane.live_from)).collect();
        Carryover { live_from, ..self.carryover }
    }

    /// The next run to send: alarms, events, live, then backlog of the same order, then history.
    /// Backlog leaves a quarter of the window free for live data.
    pub(crate) fn pick(&mut self, waiting: &[Waiting], kind: Kind) -> Option<Pick> {
        let limit = match kind {
            Kind::Live => self.in_flight_max,
            Kind::Backlog => self.in_flight_max - self.in_flight_max / 4,
        };
        if self.in_flight() >= limit {
            return None;
        }
        let mut order: Vec<&Waiting> = waiting.iter().filter(|lane| !lane.buffered.is_empty()).collect();
        order.sort_by_key(|lane| std::cmp::Reverse(lane.class));
        let picked = order.into_iter().find_map(|waiting| {
            let lane = self.lane(waiting.epoch);
            // History is never live: it must not delay anything.
            let live_from =
                if waiting.class == Class::History { waiting.last_seq + 1 } else { lane.live_from };
            let window = match kind {
                Kind::Live if live_from <= waiting.last_seq => SeqRange::new(live_from, waiting.last_seq),
                Kind::Backlog if live_from > 1 => SeqRange::new(1, live_from - 1),
                _ => return None,
            };
            let range = first_unsent(&waiting.buffered, &lane.sent, window)?;
            Some(Pick { epoch: waiting.epoch, class: waiting.class, range, kind })
        });
        picked.map(|pick| Pick { range: self.carryover.cuts.within(pick.epoch, pick.range), ..pick })
    }

    /// A block went out.
    pub(crate) fn sent(&mut self, epoch: u64, range: SeqRange, now: Instant) {
        let due = now + self.ack_timeout * self.patience;
        self.carryover.cuts.note(epoch, range);
        let lane = self.lane(epoch);
        lane.sent.insert(range);
        lane.under_way.push(Sent { range, due });
    }

    /// The store has these.
    pub(crate) fn acknowledged(&mut self, epoch: u64, stored: &RangeSet) {
        self.patience = (self.patience / 2).max(1);
        self.carryover.cuts.settle(epoch, stored);
        let lane = self.lane(epoch);
        lane.under_way.retain(|sent| !stored.covers(sent.range));
        for run in stored.runs() {
            lane.sent.remove(*run);
        }
    }

    /// The server would not take a block: it is to be sent again.
    pub(crate) fn refused(&mut self, epoch: u64, range: SeqRange) {
        let lane = self.lane(epoch);
        lane.under_way.retain(|sent| sent.range != range);
        lane.sent.remove(range);
    }

    /// Takes back what the store has not acknowledged in time, to be sent again; says how many
    /// blocks that is.
    pub(crate) fn overdue(&mut self, now: Instant) -> usize {
        let mut count = 0;
        for lane in &mut self.lanes {
            let late: Vec<SeqRange> =
                lane.under_way.iter().filter(|sent| sent.due <= now).map(|sent| sent.range).collect();
            lane.under_way.retain(|sent| sent.due > now);
            for range in &late {
                lane.sent.remove(*range);
            }
            count += late.len();
        }
        if count > 0 {
            self.patience = (self.patience * 2).min(16);
        }
        count
    }

    /// What was given out from `seq` on is live, though it was there before the connection.
    pub(crate) fn begin_live_at(&mut self, epoch: u64, seq: u64) {
        let seq = seq.max(self.carryover.live_from.get(&epoch).copied().unwrap_or_default());
        let seq = self.carryover.cuts.beginning(epoch, seq);
        let lane = self.lane(epoch);
        lane.live_from = lane.live_from.min(seq);
    }

    /// Live data that fell behind becomes backlog, so that what comes now is live again.
    pub(crate) fn demote_live(&mut self, epoch: u64, up_to: u64) {
        let lane = self.lane(epoch);
        lane.live_from = lane.live_from.max(up_to + 1);
    }

    /// When the next block is overdue.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.lanes.iter().flat_map(|lane| lane.under_way.iter().map(|sent| sent.due)).min()
    }

    /// How many blocks are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.under_way.len()).sum()
    }

    /// A lane that came into being after the connection did is live from its first number.
    fn lane(&mut self, epoch: u64) -> &mut Lane {
        let index = match self.lanes.iter().position(|lane| lane.epoch == epoch) {
            Some(index) => index,
            None => {
                self.lanes.push(Lane::new(epoch, 1));
                self.lanes.len() - 1
            }
        };
        &mut self.lanes[index]
    }
}

impl Lane {
    fn new(epoch: u64, live_from: u64) -> Self {
        Self { epoch, live_from, under_way: Vec::new(), sent: RangeSet::new() }
    }
}

/// The first run within `window` that is buffered and not under way.
fn first_unsent(buffered: &RangeSet, sent: &RangeSet, window: SeqRange) -> Option<SeqRange> {
    let from = buffered.runs().partition_point(|run| run.last < window.first);
    buffered.runs().iter().skip(from).take_while(|run| run.first <= window.last).find_map(|run| {
        let within = SeqRange::new(run.first.max(window.first), run.last.min(window.last));
        sent.gaps_within(within).first().copied()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn lane(epoch: u64, class: Class, runs: &[(u64, u64)]) -> Waiting {
        let buffered: RangeSet = runs.iter().map(|(first, last)| SeqRange::new(*first, *last)).collect();
        Waiting { epoch, class, last_seq: buffered.last().unwrap_or(0), buffered }
    }

    fn ranges(first: u64, last: u64) -> RangeSet {
        [SeqRange::new(first, last)].into_iter().collect()
    }

    #[test]
    fn what_waited_before_the_link_is_backlog_and_what_comes_after_is_live() {
        let before = [lane(1, Class::Live, &[(1, 100)])];
        let mut plan = Plan::new(&before, 8, TIMEOUT);
        assert_eq!(plan.pick(&before, Kind::Live), None);
        let after = [lane(1, Class::Live, &[(1, 120)])];
        assert_eq!(plan.pick(&after, Kind::Live).unwrap().range, SeqRange::new(101, 120));
        assert_eq!(plan.pick(&after, Kind::Backlog).unwrap().range, SeqRange::new(1, 100));
    }

    #[test]
    fn what_is_young_when_the_link_comes_up_does_not_wait_for_backlog() {
        let before = [lane(1, Class::Live, &[(1, 100)])];
        let mut plan = Plan::new(&before, 8, TIMEOUT);
        plan.begin_live_at(1, 98);
        assert_eq!(plan.pick(&before, Kind::Live).unwrap().range, SeqRange::new(98, 100));
        assert_eq!(plan.pick(&before, Kind::Backlog).unwrap().range, SeqRange::new(1, 97));
    }

    #[test]
    fn dearer_classes_go_first_and_history_is_never_live() {
        let mut plan = Plan::new(&[], 8, TIMEOUT);
        let waiting = [
            lane(1, Class::History, &[(1, 9)]),
            lane(2, Class::Live, &[(1, 9)]),
            lane(3, Class::Alarm, &[(1, 2)]),
        ];
        assert_eq!(plan.pick(&waiting, Kind::Live).unwrap().class, Class::Alarm);
        plan.sent(3, SeqRange::new(1, 2), Instant::now());
        assert_eq!(plan.pick(&waiting, Kind::Live).unwrap().class, Class::Live);
        plan.sent(2, SeqRange::new(1, 9), Instant::now());
        assert_eq!(plan.pick(&waiting, Kind::Live), None);
        assert_eq!(plan.pick(&waiting, Kind::Backlog).unwrap().class, Class::History);
    }

    #[test]
    fn silence_takes_a_block_back_and_patience_grows() {
        let start = Instant::now();
        let waiting = [lane(1, Class::Live, &[(1, 10)])];
        let mut plan = Plan::new(&[], 8, TIMEOUT);
        plan.sent(1, SeqRange::new(1, 10), start);
        assert_eq!(plan.pick(&waiting, Kind::Live), None);
        assert_eq!(plan.overdue(start + TIMEOUT - Duration::from_millis(1)), 0);
        assert_eq!(plan.overdue(start + TIMEOUT), 1);
        assert_eq!(plan.pick(&waiting, Kind::Live).unwrap().range, SeqRange::new(1, 10));
        plan.sent(1, SeqRange::new(1, 10), start + TIMEOUT);
        assert_eq!(plan.next_due(), Some(start + TIMEOUT * 3));
        plan.acknowledged(1, &ranges(1, 10));
        assert_eq!((plan.in_flight(), plan.next_due()), (0, None));
    }

    #[test]
    fn another_connection_cuts_blocks_where_the_one_before_did() {
        let before = [lane(1, Class::Live, &[(1, 60)])];
        let mut plan = Plan::new(&[], 8, TIMEOUT);
        plan.sent(1, SeqRange::new(1, 40), Instant::now());
        plan.sent(1, SeqRange::new(41, 60), Instant::now());
        plan.acknowledged(1, &ranges(1, 40));
        let mut plan = Plan::new(&before, 8, TIMEOUT).after(plan.into_carryover());
        // Live begins within a block: with its first reading.
        plan.begin_live_at(1, 50);
        let after = [lane(1, Class::Live, &[(41, 90)])];
        let pick = plan.pick(&after, Kind::Live).unwrap();
        assert_eq!(pick.range, SeqRange::new(41, 60));
        plan.sent(1, pick.range, Instant::now());
        assert_eq!(plan.pick(&after, Kind::Live).unwrap().range, SeqRange::new(61, 90));
    }

    #[test]
    fn what_was_backlog_on_one_connection_is_not_live_on_the_next() {
        let before = [lane(1, Class::Live, &[(1, 100)])];
        let mut plan = Plan::new(&before, 8, TIMEOUT);
        plan.begin_live_at(1, 81);
        plan.demote_live(1, 90);
        let after = [lane(1, Class::Live, &[(1, 120)])];
        let mut plan = Plan::new(&after, 8, TIMEOUT).after(plan.into_carryover());
        // Young it is, but older readings wait before it.
        plan.begin_live_at(1, 71);
        assert_eq!(plan.pick(&after, Kind::Live).unwrap().range, SeqRange::new(91, 120));
        assert_eq!(plan.pick(&after, Kind::Backlog).unwrap().range, SeqRange::new(1, 90));
    }

    #[test]
    fn backlog_leaves_room_in_the_window_for_live_data() {
        let before = [lane(1, Class::Live, &[(1, 100)])];
        let mut plan = Plan::new(&before, 4, TIMEOUT);
        for block in 0..3 {
            let pick = plan.pick(&before, Kind::Backlog).unwrap();
            assert_eq!(pick.range.first, block * 10 + 1);
            plan.sent(1, SeqRange::new(pick.range.first, pick.range.first + 9), Instant::now());
        }
        assert_eq!(plan.pick(&before, Kind::Backlog), None);
        let after = [lane(1, Class::Live, &[(1, 101)])];
        assert!(plan.pick(&after, Kind::Live).is_some());
    }

    #[test]
    fn live_data_that_fell_behind_joins_the_backlog() {
        let mut plan = Plan::new(&[], 8, TIMEOUT);
        let waiting = [lane(1, Class::Live, &[(1, 50)])];
        plan.demote_live(1, 40);
        assert_eq!(plan.pick(&waiting, Kind::Live).unwrap().range, SeqRange::new(41, 50));
        assert_eq!(plan.pick(&waiting, Kind::Backlog).unwrap().range, SeqRange::new(1, 40));
    }

    proptest! {
        /// Whatever is picked is buffered and not under way, and with everything acknowledged in
        /// the end nothing is left behind.
        #[test]
        fn everything_goes_out_and_nothing_goes_twice_at_once(
            steps in prop::collection::vec((any::<bool>(), 1u64..20, any::<bool>()), 1..80),
        ) {
            let mut buffered = ranges(1, 200);
            let start = [Waiting { epoch: 1, class: Class::Live, last_seq: 150, buffered: ranges(1, 150) }];
            let mut plan = Plan::new(&start, 6, TIMEOUT);
            let mut under_way: Vec<SeqRange> = Vec::new();
            let mut step = |live: bool, length: u64, acknowledge: bool, buffered: &mut RangeSet| {
                let waiting = [Waiting { epoch: 1, class: Class::Live, last_seq: 200, buffered: buffered.clone() }];
                let kind = if live { Kind::Live } else { Kind::Backlog };
                if let Some(pick) = plan.pick(&waiting, kind) {
                    let range = SeqRange::new(pick.range.first, pick.range.last.min(pick.range.first + length - 1));
                    assert!(buffered.covers(range));
                    assert!(under_way.iter().all(|other| !other.overlaps(range)));
                    plan.sent(1, range, Instant::now());
                    under_way.push(range);
                }
                if acknowledge && !under_way.is_empty() {
                    let range = under_way.remove(0);
                    plan.acknowledged(1, &ranges(range.first, range.last));
                    buffered.remove(range);
                }
            };
            for (live, length, acknowledge) in steps {
                step(live, length, acknowledge, &mut buffered);
            }
            for round in 0..500 {
                step(round % 2 == 0, 50, true, &mut buffered);
            }
            prop_assert!(buffered.is_empty(), "left behind: {:?}", buffered);
        }
    }
}

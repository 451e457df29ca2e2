//! The gateway's books: the committer's counts and the journal's lanes, seen at one moment.

use fieldline_journal::Journal;
use fieldline_model::{Books, LaneBooks};

use crate::committer::Board;

/// How often a moment between two commits is looked for.
const TRIES: usize = 100;

/// Reads counts and lanes so that they belong together; `None` if commits come too fast to find a
/// moment between two of them.
pub(crate) fn read(board: &Board, journal: &Journal) -> Option<Books> {
    for _ in 0..TRIES {
        let counts = board.state().counts;
        let lanes: Vec<LaneBooks> = journal.lanes().into_iter().map(LaneBooks::from).collect();
        let sequenced: u64 = lanes.iter().map(|lane| lane.last_seq).sum();
        if sequenced == counts.sequenced.values().sum::<u64>() && board.state().counts == counts {
            let filtered = counts.filtered_count();
            return Some(Books {
                accepted: counts.accepted,
                filtered,
                quarantined: counts.quarantined,
                lanes,
            });
        }
        std::thread::yield_now();
    }
    None
}

//! How many records a second the journal makes durable, by the size of the group commit.
//!
//! `cargo run --release -p fieldline-journal --example throughput [FOLDER]` writes records of 200 bytes
//! into a temporary folder in FOLDER (default: the current one) for two seconds a line. Each commit is
//! one write and one `fdatasync`, so records a second are commits a second times records a commit, until
//! the processor is the limit.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldline_journal::{Append, Config, DiskFs, Journal};
use fieldline_model::{Class, SeqRange};

const RECORD_BYTES: usize = 200;
const RUN: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = tempfile::tempdir_in(parent)?;
    let (journal, _) = Journal::open(Arc::new(DiskFs), folder.path(), Config::default(), 0)?;
    println!("{:>15} {:>10} {:>12} {:>10}", "records/commit", "syncs/s", "records/s", "MB/s");
    for records in [1, 10, 100, 1000] {
        let (commits, elapsed) = run(&journal, records)?;
        let syncs = f64::from(commits) / elapsed.as_secs_f64();
        let rate = syncs * f64::from(records);
        let megabytes = rate * RECORD_BYTES as f64 / 1e6;
        println!("{records:>15} {syncs:>10.0} {rate:>12.0} {megabytes:>10.1}");
    }
    Ok(())
}

/// Commits for a while and lets go of everything, as an uplink that keeps up would.
fn run(journal: &Journal, records: u32) -> Result<(u32, Duration), Box<dyn Error>> {
    let payload = [0x55; RECORD_BYTES];
    let batch: Vec<Append<'_>> =
        (0..records).map(|_| Append { class: Class::Live, count: 1, payload: &payload }).collect();
    let (start, mut commits) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        journal.commit(&batch, None, 0)?;
        commits += 1;
    }
    let elapsed = start.elapsed();
    for lane in journal.lanes() {
        if lane.last_seq > 0 {
            journal.release(lane.epoch, &[SeqRange::new(1, lane.last_seq)].into_iter().collect(), 0)?;
        }
    }
    Ok((commits, elapsed))
}

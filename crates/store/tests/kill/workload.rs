//! What the process that crashes does. It is this test binary again, told by the environment.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fieldline_model::Timestamp;
use fieldline_store::contract::Feed;
use fieldline_store::{ReceivedBlock, SqliteConfig, SqliteStore, TimeSeriesStore as _};
use fieldline_wire::Block;

const FOLDER: &str = "FIELDLINE_STORE_CRASH_FOLDER";
const FROM: &str = "FIELDLINE_STORE_CRASH_FROM";
const COUNT: &str = "FIELDLINE_STORE_CRASH_COUNT";
/// Stands before the number of acknowledged blocks on a line of its own.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged ";

/// The blocks, the same in every process.
pub(crate) fn blocks(count: usize) -> Vec<Arc<ReceivedBlock>> {
    let blocks: Vec<Block> = Feed::new(7).blocks().into_iter().take(count).collect();
    blocks.into_iter().map(|block| Arc::new(ReceivedBlock::new(block, Timestamp::EPOCH))).collect()
}

/// The arguments and the environment with which this binary runs the workload.
pub(crate) fn command(program: &str, folder: &Path, from: usize, count: usize) -> Command {
    let mut command = Command::new(program);
    command.env(FOLDER, folder).env(FROM, from.to_string()).env(COUNT, count.to_string());
    command
}

/// What to say to this binary so that it runs [`the_crashing_process`].
pub(crate) const ARGUMENTS: [&str; 3] = ["--exact", "workload::the_crashing_process", "--nocapture"];

/// Not a test by itself: does nothing unless the environment says where.
#[tokio::test]
async fn the_crashing_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let config = SqliteConfig { head_points_max: 60, wal_bytes_max: 100 << 10, ..SqliteConfig::default() };
    let open = || SqliteStore::open(Path::new(&folder), config.clone(), Timestamp::EPOCH).unwrap();
    let mut store = open();
    for (at, block) in blocks(number(COUNT)).into_iter().enumerate().skip(number(FROM)) {
        store.write(block).await.unwrap();
        // One write: the line is the moment of acknowledgement.
        std::io::stdout().write_all(format!("\n{ACKNOWLEDGED}{}\n", at + 1).as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        if at % 5 == 4 {
            store.flush().await.unwrap();
        }
        if at % 8 == 7 {
            drop(store);
            store = open();
        }
    }
}

/// The number in a line that acknowledges.
pub(crate) fn acknowledged(line: &str) -> Option<usize> {
    line.trim().strip_prefix(ACKNOWLEDGED)?.parse().ok()
}

//! `kill -9` at any moment of a workload with flushes and restarts.

#[path = "kill/workload.rs"]
mod workload;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use fieldline_model::Timestamp;
use fieldline_store::contract::{assert_same_points, prefix_stored};
use fieldline_store::{MemoryStore, SqliteConfig, SqliteStore};

/// All that the feed has.
const BLOCKS: usize = 80;

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let blocks = workload::blocks(BLOCKS);
    let mut done = 0;
    // How many acknowledgements to wait for before the kill: at once, soon, later.
    for patience in [1, 2, 1, 7, 3, 12, 1, 5, 4, 9].into_iter().cycle() {
        if done >= blocks.len() {
            break;
        }
        let mut child = workload::command(program, folder.path(), done, BLOCKS)
            .args(workload::ARGUMENTS)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = 0;
        let mut acknowledged = done;
        for line in lines {
            let Some(count) = workload::acknowledged(&line) else { continue };
            acknowledged = count;
            seen += 1;
            if seen == patience {
                // The pipe is read to its end all the same: what was said before the kill counts.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let store = SqliteStore::open(folder.path(), SqliteConfig::default(), Timestamp::EPOCH).unwrap();
        let model = MemoryStore::new();
        let in_doubt = (acknowledged + 1).min(blocks.len());
        done = prefix_stored(&store, &model, &blocks, acknowledged..=in_doubt).await.max(acknowledged);
        assert_same_points(&store, &model).await;
    }
}

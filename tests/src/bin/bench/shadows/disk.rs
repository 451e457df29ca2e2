//! What the disk can do: the limit of everything durable.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long it is measured.
const SPAN: Duration = Duration::from_secs(2);
/// The part of a file that is written round and round, as a write-ahead log is.
const PAGES: u64 = 1_024;

/// Writes of one page in `folder`, each followed by `fdatasync`.
pub(crate) fn syncs_per_second(folder: &Path) -> Result<f64> {
    let page = [0x5a; 4_096];
    let mut file = File::create(folder.join("syncs"))?;
    for _ in 0..PAGES {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < SPAN {
        file.seek(SeekFrom::Start(count % PAGES * page.len() as u64))?;
        file.write_all(&page)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

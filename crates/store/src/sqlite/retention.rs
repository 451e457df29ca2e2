//! What is too old goes, and its space with it.

use std::collections::BTreeSet;

use rusqlite::{Connection, TransactionBehavior};

use super::Retained;
use super::packs::Packer;
use crate::StoreError;

/// Chunks that one transaction deletes.
const CHUNKS_MAX: usize = 4_096;
/// Free pages that the file may keep, or a 256th part of all.
const PAGES_KEPT: i64 = 8;

/// Deletes the chunks that end before `before`.
pub(super) fn retain(
    connection: &mut Connection,
    before: i64,
    next_pack: &mut i64,
) -> Result<Retained, StoreError> {
    let mut retained = Retained::default();
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let chunks = old_chunks(&transaction, before)?;
        let mut delete = transaction.prepare_cached("DELETE FROM chunk WHERE series = ? AND t0 = ?")?;
        let mut holed = BTreeSet::new();
        for (series, t0, pack, count) in &chunks {
            delete.execute([series, t0])?;
            holed.insert(*pack);
            retained.chunks += 1;
            retained.points += count.cast_unsigned();
        }
        drop(delete);
        let mut packer = Packer::new(&transaction, *next_pack);
        for pack in holed {
            packer.tidy(pack)?;
        }
        let next = packer.finish()?;
        transaction.commit()?;
        *next_pack = next;
        if chunks.len() < CHUNKS_MAX {
            break;
        }
    }
    shrink(connection)?;
    Ok(retained)
}

fn old_chunks(connection: &Connection, before: i64) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT series, t0, pack, n FROM chunk WHERE t1 < ?1 LIMIT ?2")?;
    let limit = i64::try_from(CHUNKS_MAX).unwrap_or(i64::MAX);
    let rows = statement
        .query_map([before, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives pages back to the file system.
pub(super) fn shrink(connection: &Connection) -> Result<(), StoreError> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let surplus = free - PAGES_KEPT.max(pages / 256);
    if surplus <= 0 {
        return Ok(());
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

//! Opening a store: the folder, its lock, the tables, and the log that becomes heads again.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use fieldline_model::{DeviceId, Metric};
use fieldline_wire::{Block, Limits};
use rusqlite::{Connection, params};

use super::batch::{COLUMNS_MAX, READINGS_MAX};
use super::ledgers::{self, Ledgers, each};
use super::registry::Name;
use super::shared::Live;
use super::writer::LogState;
use super::{SqliteConfig, pieces, schema};
use crate::StoreError;

/// What the store does when it is open needs this.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) live: Live,
    pub(super) ledgers: Ledgers,
    pub(super) log: LogState,
    pub(super) next_pack: i64,
    pub(super) damaged: u64,
    /// Held as long as the store is open.
    pub(super) lock: File,
}

/// The database in its folder.
const FILE: &str = "store.db";
/// Its lock; empty.
const LOCK: &str = "store.lock";
/// What the log's blocks may come to when unpacked: more than any block that was taken in.
const LIMITS: Limits =
    Limits { decompressed_bytes_max: 256 << 20, readings_max: READINGS_MAX, columns_max: COLUMNS_MAX };

/// The database file of a folder.
pub(super) fn file_in(folder: &Path) -> std::path::PathBuf {
    folder.join(FILE)
}

pub(super) fn open(folder: &Path, config: &SqliteConfig) -> Result<Opened, StoreError> {
    let lock = prepare(folder)?;
    let mut connection = schema::open_writer(&file_in(folder), config)?;
    let ledgers = ledgers::load(&connection)?;
    let mut live = Live::default();
    load_series(&connection, &mut live)?;
    let (log, damaged) = replay(&mut connection, &mut live)?;
    let next_pack =
        connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM pack", [], |row| row.get(0))?;
    Ok(Opened { connection, live, ledgers, log, next_pack, damaged, lock })
}

/// Makes the folder, durably, and locks it.
fn prepare(folder: &Path) -> Result<File, StoreError> {
    let fails = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Path { path, source }
    };
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).map_err(fails(folder))?;
        // The names of new folders are durable when the folders around them are synced.
        for parent in folder.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(fails(parent))?;
        }
    }
    let path = folder.join(LOCK);
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fails(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fails(&path)(source)),
    }
}

fn load_series(connection: &Connection, live: &mut Live) -> Result<(), StoreError> {
    let mut damaged = 0u64;
    each(connection, "SELECT id, device, metric FROM series", |row| {
        let device = DeviceId::new(&row.get::<_, String>(1)?);
        let metric = Metric::new(&row.get::<_, String>(2)?);
        match (device, metric) {
            (Ok(device), Ok(metric)) => live.registry.insert((device, metric), row.get(0)?),
            _ => damaged += 1,
        }
        Ok(())
    })?;
    if damaged > 0 {
        tracing::error!(count = damaged, "series with names that cannot be read");
    }
    let series: Vec<(Name, u32)> = live
        .registry
        .series(std::ops::Bound::Unbounded)
        .map(|(name, number)| (name.clone(), number))
        .collect();
    for ((device, _), number) in series {
        if let Some(chunk) = pieces::last_chunk(connection, number)? {
            live.registry.heard(&device, chunk.t1);
        }
    }
    Ok(())
}

/// Reads the log back into heads. Rows that cannot be read are set aside.
fn replay(connection: &mut Connection, live: &mut Live) -> Result<(LogState, u64), StoreError> {
    let mut log = LogState::default();
    let mut damaged = Vec::new();
    each(connection, "SELECT id, ord, plain, received, block FROM log ORDER BY id", |row| {
        log.last = row.get(0)?;
        let bytes = row.get_ref(4)?.as_bytes()?;
        match Block::decode(bytes, &LIMITS) {
            Ok(block) => {
                let order = row.get::<_, i64>(1)?.cast_unsigned();
                apply(live, &block, order, row.get(2)?);
                log.took(bytes.len(), row.get(3)?);
            }
            Err(error) => {
                tracing::error!(row = log.last, error = %error, "a log row is damaged, it is set aside");
                damaged.push(log.last);
            }
        }
        Ok(())
    })?;
    let transaction = connection.transaction()?;
    for row in &damaged {
        transaction.execute(
            "INSERT INTO damaged (what, bytes) SELECT 'log row ' || id, block FROM log WHERE id = ?",
            params![row],
        )?;
        transaction.execute("DELETE FROM log WHERE id = ?", params![row])?;
    }
    transaction.commit()?;
    Ok((log, damaged.len() as u64))
}

fn apply(live: &mut Live, block: &Block, order: u64, plain: bool) {
    for column in &block.columns {
        let Some(series) = live.registry.number(&column.device, &column.metric) else {
            // Its series is committed with it; only damage separates them.
            tracing::error!(device = %column.device, metric = %column.metric, "a series is missing");
            continue;
        };
        live.active.append(series, column, order, plain);
        if let Some(newest) = column.times.iter().max() {
            live.registry.heard(&column.device, *newest);
        }
    }
}

//! The tables, and how connections are set up.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::SqliteConfig;
use crate::StoreError;

/// `FLst`, so that `file` and we know the file.
const APPLICATION: i64 = 0x464C_7374;
/// The version of the tables.
pub(super) const VERSION: i64 = 3;
/// Small, since each commit writes some pages whole. Chunks lie in packs of many pages.
const PAGE_BYTES: u32 = 4 << 10;

const TABLES: &str = "
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    gateway TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    class INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    UNIQUE (gateway, epoch));
CREATE TABLE run (
    stream INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, kind, first)) WITHOUT ROWID;
CREATE TABLE gap (
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    base INTEGER NOT NULL,
    PRIMARY KEY (stream, first)) WITHOUT ROWID;
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    ord INTEGER NOT NULL,
    plain INTEGER NOT NULL,
    received INTEGER NOT NULL,
    block BLOB NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    metric TEXT NOT NULL);
CREATE TABLE chunk (
    series INTEGER NOT NULL,
    t0 INTEGER NOT NULL,
    t1 INTEGER NOT NULL,
    n INTEGER NOT NULL,
    pack INTEGER NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    summary BLOB NOT NULL,
    PRIMARY KEY (series, t0)) WITHOUT ROWID;
CREATE INDEX chunk_pack ON chunk (pack);
CREATE TABLE pack (
    id INTEGER PRIMARY KEY,
    chunks INTEGER NOT NULL,
    bytes BLOB NOT NULL);
CREATE TABLE books (
    gateway TEXT PRIMARY KEY,
    received INTEGER NOT NULL,
    books TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE own (
    gateway TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (
    id INTEGER PRIMARY KEY,
    gateway TEXT NOT NULL,
    reason TEXT NOT NULL,
    received INTEGER NOT NULL,
    bytes BLOB NOT NULL);
CREATE TABLE refused_count (
    gateway TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (gateway, reason)) WITHOUT ROWID;
CREATE TABLE damaged (
    id INTEGER PRIMARY KEY,
    what TEXT NOT NULL,
    bytes BLOB NOT NULL);
";
/// What version 2 has beyond version 1.
const SHADOWS: &str = "
CREATE TABLE shadow (
    thing TEXT NOT NULL,
    name TEXT NOT NULL,
    present INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (thing, name)) WITHOUT ROWID;
";

/// What version 3 has beyond version 2.
const ENTRIES: &str = "
CREATE TABLE entry (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
";

/// An earlier server of the same version works with it as well as without it.
const DELETED_SHADOWS: &str = "
CREATE INDEX IF NOT EXISTS shadow_deleted ON shadow (json_extract(document, '$.at_s')) WHERE NOT present;
";

/// Opens the file for the writer; makes the tables in an empty one. The sizes are those of
/// the configuration.
pub(super) fn open_writer(file: &Path, config: &SqliteConfig) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(file, flags)?;
    check(file, &connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", (config.wal_bytes_max / PAGE_BYTES).max(1))?;
    connection.pragma_update(None, "journal_size_limit", config.wal_bytes_max)?;
    if let Some(bytes) = config.file_bytes_max {
        let pages = i64::try_from(bytes / u64::from(PAGE_BYTES)).unwrap_or(i64::MAX);
        // Answers with the limit; below the size that the file has, it is that size.
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    connection.pragma_update(None, "cache_size", -16_384)?;
    create(&mut connection)?;
    connection.execute_batch(DELETED_SHADOWS)?;
    Ok(connection)
}

/// Opens the file for queries.
pub(super) fn open_reader(file: &Path) -> Result<Connection, StoreError> {
    let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}

fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Or else SQLite plans a query anew for each series that it is run for.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Readers wait out the moments in which the write-ahead log is reset or recovered.
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// An empty file is ours to fill; any other has to say that it is ours, in a version that we know.
fn check(file: &Path, connection: &Connection) -> Result<(), StoreError> {
    let foreign = || StoreError::Foreign { file: file.to_owned() };
    let number = |name: &str| -> Result<i64, StoreError> {
        match connection.pragma_query_value(None, name, |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
                Err(foreign())
            }
            other => Ok(other?),
        }
    };
    let (application, found) = (number("application_id")?, number("user_version")?);
    let table: Option<String> =
        connection.query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0)).optional()?;
    match (application, table) {
        (0, None) => Ok(()),
        (APPLICATION, _) if found > VERSION => {
            Err(StoreError::Newer { file: file.to_owned(), found, known: VERSION })
        }
        (APPLICATION, _) => Ok(()),
        _ => Err(foreign()),
    }
}

fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (since, tables) in [(1, TABLES), (2, SHADOWS), (3, ENTRIES)] {
        if version < since {
            transaction.execute_batch(tables)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

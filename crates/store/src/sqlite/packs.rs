//! Packs: chunks of many series in one row, so that little is lost at the ends of pages.
//!
//! A chunk that goes leaves a hole. When more than half of a pack's chunks have gone, the rest moves.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::StoreError;

/// A pack takes no more chunks when it has so many bytes.
const BYTES_ENOUGH: usize = 128 << 10;

/// Where a chunk's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) pack: i64,
    start: usize,
    size: usize,
}

impl Place {
    /// Reads columns `pack`, `start` and `size` of the table `chunk`, which begin at `at`.
    pub(super) fn of(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        let size = |at| Ok::<_, rusqlite::Error>(usize::try_from(row.get::<_, i64>(at)?).unwrap_or(0));
        Ok(Self { pack: row.get(at)?, start: size(at + 1)?, size: size(at + 2)? })
    }
}

/// The bytes of a chunk; empty if they are not there.
pub(super) fn read(connection: &Connection, place: Place) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; place.size];
    let blob = match connection.blob_open("main", "pack", "bytes", place.pack, true) {
        Ok(blob) => blob,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    match blob.read_at_exact(&mut bytes, place.start) {
        Ok(()) => Ok(bytes),
        Err(rusqlite::Error::BlobSizeError) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A row of the table `chunk` that is to be written.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) series: u32,
    pub(super) t0: i64,
    pub(super) t1: i64,
    pub(super) count: usize,
    pub(super) summary: &'a [u8],
}

/// Fills packs.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    transaction: &'a Transaction<'a>,
    /// The number of the pack that is being filled.
    next: i64,
    chunks: i64,
    bytes: Vec<u8>,
}

impl<'a> Packer<'a> {
    /// `next` is the first free number in the table `pack`.
    pub(super) fn new(transaction: &'a Transaction<'a>, next: i64) -> Self {
        Self { transaction, next, chunks: 0, bytes: Vec::new() }
    }

    /// Writes a chunk.
    pub(super) fn add(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> Result<(), StoreError> {
        let (start, size) = self.put(bytes);
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO chunk (series, t0, t1, n, pack, start, size, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        let count = to_sql(entry.count);
        insert.execute(params![
            entry.series,
            entry.t0,
            entry.t1,
            count,
            self.next,
            start,
            size,
            entry.summary
        ])?;
        self.end_if(BYTES_ENOUGH)
    }

    fn put(&mut self, bytes: &[u8]) -> (i64, i64) {
        let start = to_sql(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.chunks += 1;
        (start, to_sql(bytes.len()))
    }

    fn end_if(&mut self, enough: usize) -> Result<(), StoreError> {
        if self.bytes.len() < enough || self.chunks == 0 {
            return Ok(());
        }
        let mut insert =
            self.transaction.prepare_cached("INSERT INTO pack (id, chunks, bytes) VALUES (?, ?, ?)")?;
        insert.execute(params![self.next, self.chunks, self.bytes])?;
        self.bytes.clear();
        self.chunks = 0;
        self.next += 1;
        Ok(())
    }

    /// Ends the pack: what comes next lies apart from what came before.
    pub(super) fn end(&mut self) -> Result<(), StoreError> {
        self.end_if(0)
    }

    /// Chunks of `pack` have been deleted: deletes it when it is empty, moves what is left when that is
    /// less than half.
    pub(super) fn tidy(&mut self, pack: i64) -> Result<(), StoreError> {
        let chunks = "SELECT chunks FROM pack WHERE id = ?";
        let chunks: Option<i64> =
            self.transaction.prepare_cached(chunks)?.query_row([pack], |row| row.get(0)).optional()?;
        let Some(chunks) = chunks else { return Ok(()) };
        let left = self.left(pack)?;
        if 2 * to_sql(left.len()) >= chunks && !left.is_empty() {
            return Ok(());
        }
        let mut update = self
            .transaction
            .prepare_cached("UPDATE chunk SET pack = ?, start = ?, size = ? WHERE series = ? AND t0 = ?")?;
        for (series, t0, place) in left {
            let bytes = read(self.transaction, place)?;
            let (start, size) = self.put(&bytes);
            update.execute(params![self.next, start, size, series, t0])?;
            self.end_if(BYTES_ENOUGH)?;
        }
        self.transaction.prepare_cached("DELETE FROM pack WHERE id = ?")?.execute([pack])?;
        Ok(())
    }

    fn left(&self, pack: i64) -> Result<Vec<(i64, i64, Place)>, StoreError> {
        let mut select = self.transaction.prepare_cached(
            "SELECT series, t0, pack, start, size FROM chunk WHERE pack = ? ORDER BY start",
        )?;
        let rows = select.query_map([pack], |row| Ok((row.get(0)?, row.get(1)?, Place::of(row, 2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes what is left, and says which number is free.
    pub(super) fn finish(mut self) -> Result<i64, StoreError> {
        self.end()?;
        Ok(self.next)
    }
}

fn to_sql(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

//! A store that, told so, acknowledges what is not on disk.

use std::io::Write;
use std::path::Path;

use rusqlite::Connection;

/// Rows that it acknowledges.
pub(crate) const ROWS: usize = 20;

pub(crate) fn run(folder: &Path, acknowledgements: &Path, synchronous: &str) {
    let mut file = std::fs::File::create(acknowledgements).unwrap();
    let connection = Connection::open(folder.join("careless.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", synchronous).unwrap();
    connection.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)").unwrap();
    for row in 0..ROWS {
        connection.execute("INSERT INTO t VALUES (?, zeroblob(3000))", [row as i64]).unwrap();
        file.write_all(format!("{row}\n").as_bytes()).unwrap();
    }
}

/// How many rows are there.
pub(crate) fn rows(folder: &Path) -> usize {
    let count = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
    };
    Connection::open(folder.join("careless.db")).and_then(count).map_or(0, |rows| rows as usize)
}

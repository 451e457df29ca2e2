//! Small documents: changes in one transaction, and questions.

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior, params};

use super::SqliteStore;
use super::queue::Command;
use crate::{Entries, Entry, EntryChange, StoreError};

/// Makes all of them, in their order; all are durable when this returns, or none.
pub(super) fn write(connection: &mut Connection, changes: &[EntryChange]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        match change {
            EntryChange::Put(Entry { kind, key, value }) => transaction
                .prepare_cached("INSERT OR REPLACE INTO entry (kind, key, value) VALUES (?, ?, ?)")?
                .execute(params![kind, key, value])?,
            EntryChange::Delete { kind, key } => transaction
                .prepare_cached("DELETE FROM entry WHERE kind = ? AND key = ?")?
                .execute(params![kind, key])?,
        };
    }
    Ok(transaction.commit()?)
}

#[async_trait]
impl Entries for SqliteStore {
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        let kind = kind.to_owned();
        self.query(move |shared| {
            shared.with_reader(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT key, value FROM entry WHERE kind = ? ORDER BY key")?;
                let rows = statement.query_map([&kind], |row| {
                    Ok(Entry { kind: kind.clone(), key: row.get(0)?, value: row.get(1)? })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError> {
        self.shared.queue.call(|reply| Command::Entries(changes, reply)).await
    }
}

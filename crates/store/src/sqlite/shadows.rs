//! Device shadows: changes of many of them in one transaction, and questions.

use std::fmt;

use async_trait::async_trait;
use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Applied, Stored, Update};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde_json::Value;
use tokio::sync::oneshot;

use super::SqliteStore;
use super::queue::Command;
use crate::shadows::{deleted, updated};
use crate::{Outcome, Shadows, StoreError};

/// From what is stored, and whether the thing may have one more shadow, to what is to be stored; nothing where
/// nothing changes.
type Work = Box<dyn FnOnce(&Stored, bool) -> Option<Stored> + Send>;

/// A shadow, and what is to be done with it.
pub(super) struct Change {
    shadow: ShadowId,
    /// Whether it may make the shadow.
    makes: bool,
    work: Work,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("shadow", &self.shadow).finish_non_exhaustive()
    }
}

/// Makes all of them, in their order; all are durable when this returns, or none. A thing has at most
/// `named_max` named shadows.
pub(super) fn write(
    connection: &mut Connection,
    changes: Vec<Change>,
    named_max: usize,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Change { shadow, makes, work } in changes {
        let stored = load(&transaction, &shadow)?;
        let is_new = makes && shadow.name.is_some() && !matches!(stored, Stored::Present(_));
        let has_room = !is_new || count_named(&transaction, &shadow.thing)? < named_max;
        if let Some(after) = work(&stored, has_room) {
            save(&transaction, &shadow, &after)?;
        }
    }
    Ok(transaction.commit()?)
}

fn count_named(connection: &Connection, thing: &ThingName) -> Result<usize, StoreError> {
    let count = "SELECT count(*) FROM shadow WHERE thing = ? AND name > '' AND present";
    let count: i64 = connection.prepare_cached(count)?.query_row([thing.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Forgets at most `limit` shadows that were deleted before `before_s`.
pub(super) fn forget(connection: &mut Connection, before_s: i64, limit: usize) -> Result<usize, StoreError> {
    // As the index of deleted shadows has it, or else all shadows would be looked at.
    let forget = "DELETE FROM shadow WHERE (thing, name) IN (SELECT thing, name FROM shadow
        WHERE NOT present AND json_extract(document, '$.at_s') < ? LIMIT ?)";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(connection.prepare_cached(forget)?.execute(params![before_s, limit])?)
}

fn key(shadow: &ShadowId) -> (&str, &str) {
    // No shadow's name is empty.
    (shadow.thing.as_str(), shadow.name.as_ref().map_or("", ShadowName::as_str))
}

fn load(connection: &Connection, shadow: &ShadowId) -> Result<Stored, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT present, document FROM shadow WHERE thing = ? AND name = ?")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, String>(1)?));
    let stored = match statement.query_row(key(shadow), row).optional()? {
        None => Ok(Stored::Absent),
        Some((true, document)) => serde_json::from_str(&document).map(Stored::Present),
        Some((false, document)) => serde_json::from_str(&document).map(Stored::Deleted),
    };
    stored.map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::Rejected { service: "the store of shadows", source: Box::new(error) }
}

fn save(connection: &Connection, shadow: &ShadowId, stored: &Stored) -> Result<(), StoreError> {
    let (document, present) = match stored {
        Stored::Absent => return Ok(()),
        Stored::Deleted(deleted) => (serde_json::to_string(deleted), false),
        Stored::Present(shadow) => (serde_json::to_string(shadow), true),
    };
    let document = document.map_err(unreadable)?;
    let (thing, name) = key(shadow);
    connection
        .prepare_cached("INSERT OR REPLACE INTO shadow (thing, name, present, document) VALUES (?, ?, ?, ?)")?
        .execute(params![thing, name, present, document])?;
    Ok(())
}

impl SqliteStore {
    /// `change` says what is to be stored, if anything, and the answer; `makes` is whether that may be a shadow
    /// where there was none.
    async fn change<T: Send + 'static>(
        &self,
        shadow: &ShadowId,
        makes: bool,
        change: impl FnOnce(&Stored, bool) -> (Option<Stored>, T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, mut answer) = oneshot::channel();
        let work: Work = Box::new(move |stored, has_room| {
            let (after, answer) = change(stored, has_room);
            // Whoever asked may have gone; the change is made all the same.
            drop(sender.send(answer));
            after
        });
        let change = Change { shadow: shadow.clone(), makes, work };
        self.shared.queue.call(|reply| Command::Shadow(change, reply)).await?;
        answer.try_recv().map_err(|_| StoreError::Failed)
    }
}

#[async_trait]
impl Shadows for SqliteStore {
    async fn shadow(&self, shadow: &ShadowId) -> Result<Stored, StoreError> {
        // In turn with the changes, so that it sees what was asked for before.
        self.change(shadow, false, |stored, _| (None, stored.clone())).await
    }

    async fn update_shadow(
        &self,
        shadow: &ShadowId,
        update: Update,
        now_s: i64,
    ) -> Result<Outcome<Applied>, StoreError> {
        self.change(shadow, true, move |stored, has_room| updated(stored, has_room, &update, now_s)).await
    }

    async fn delete_shadow(
        &self,
        shadow: &ShadowId,
        client_token: Option<String>,
        now_s: i64,
    ) -> Result<Outcome<Value>, StoreError> {
        let name = shadow.to_string();
        self.change(shadow, false, move |stored, _| deleted(stored, &name, client_token.as_deref(), now_s))
            .await
    }

    async fn named_shadows(
        &self,
        thing: &ThingName,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<Vec<ShadowName>, StoreError> {
        let (thing, after) = (thing.clone(), after.map_or(String::new(), |name| name.as_str().to_owned()));
        let names = "SELECT name FROM shadow WHERE thing = ? AND name > ? AND present ORDER BY name LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(move |shared| {
            shared.with_reader(|connection| {
                let mut statement = connection.prepare_cached(names)?;
                let rows = statement
                    .query_map(params![thing.as_str(), after, limit], |row| row.get::<_, String>(0))?;
                let names = rows.map(|name| Ok(ShadowName::new(&name?).ok()));
                names.filter_map(Result::transpose).collect()
            })
        })
        .await
    }

    async fn things_with(
        &self,
        name: &ShadowName,
        after: Option<&ThingName>,
        limit: usize,
    ) -> Result<Vec<ThingName>, StoreError> {
        let after = after.map_or(String::new(), |thing| thing.as_str().to_owned());
        let things =
            "SELECT thing FROM shadow WHERE thing > ? AND name = ? AND present ORDER BY thing LIMIT ?";
        let (name, limit) = (name.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        self.query(move |shared| {
            shared.with_reader(|connection| {
                let mut statement = connection.prepare_cached(things)?;
                let rows = statement
                    .query_map(params![after, name.as_str(), limit], |row| row.get::<_, String>(0))?;
                let things = rows.map(|thing| Ok(ThingName::new(&thing?).ok()));
                things.filter_map(Result::transpose).collect()
            })
        })
        .await
    }

    async fn forget_deleted(&self, before_s: i64, limit: usize) -> Result<usize, StoreError> {
        self.shared.queue.call(|reply| Command::Forget { before_s, limit, reply }).await
    }
}

//! The ledger's small changes: reports of gateways, messages set aside, the server's own streams.

use std::sync::Arc;

use fieldline_model::{Books, Class, GatewayId, StreamId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::ledgers::{Stream, save_stream, to_sql};
use super::shared::Shared;
use crate::{OwnStream, Refused, ReportedBooks, StoreError};

/// Reasons counted apart for one gateway; the rest is `other`.
const REASONS_MAX: usize = 64;
/// Epochs are below 2⁵³, so that every JSON reader holds them.
const EPOCH_BITS: u32 = 53;

/// Keeps a gateway's report.
pub(super) fn books(
    connection: &mut Connection,
    shared: &Arc<Shared>,
    gateway: GatewayId,
    books: Books,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(&books).map_err(|error| StoreError::Refused {
        what: format!("the books cannot be written down: {error}"),
    })?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO books (gateway, received, books) VALUES (?, ?, ?)")?
        .execute(params![gateway.as_str(), now.nanos(), text])?;
    shared.ledgers().books.insert(gateway, ReportedBooks { books, received: now });
    Ok(())
}

/// Sets a message aside, counts it, and lets go of the oldest at the limit.
pub(super) fn quarantine(
    connection: &mut Connection,
    shared: &Arc<Shared>,
    refused: Refused,
) -> Result<(), StoreError> {
    let config = &shared.config;
    let bytes = refused.bytes.get(..config.quarantine_message_bytes_max).unwrap_or(&refused.bytes);
    let reason = reason_of(shared, &refused);
    let staged = refused.readings.as_ref().map(|(name, class, seqs)| {
        let ledgers = shared.ledgers();
        let before = ledgers.streams.get(name).cloned().unwrap_or_default();
        let mut after = before.clone();
        if before.id == 0 {
            (after.id, after.class) = (ledgers.next_stream, *class);
        }
        after.quarantined.insert(*seqs);
        (name.clone(), before, after, ledgers.counter)
    });
    let kept = shared.ledgers().refused_bytes + bytes.len() as u64;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some((name, before, after, counter)) = &staged {
        save_stream(&transaction, name, before, after, *counter)?;
    }
    transaction.execute(
        "INSERT INTO refused (gateway, reason, received, bytes) VALUES (?, ?, ?, ?)",
        params![refused.gateway.as_str(), reason, refused.received.nanos(), bytes],
    )?;
    transaction.execute(
        "INSERT INTO refused_count (gateway, reason, count) VALUES (?, ?, 1)
         ON CONFLICT (gateway, reason) DO UPDATE SET count = count + 1",
        params![refused.gateway.as_str(), reason],
    )?;
    let kept = drop_oldest(&transaction, kept, config.quarantine_bytes_max)?;
    transaction.commit()?;
    let mut ledgers = shared.ledgers();
    ledgers.refused_bytes = kept;
    *ledgers.refused.entry(refused.gateway).or_default().entry(reason).or_default() += 1;
    if let Some((name, _, after, _)) = staged {
        ledgers.next_stream = ledgers.next_stream.max(after.id + 1);
        ledgers.streams.insert(name, after);
    }
    Ok(())
}

fn reason_of(shared: &Shared, refused: &Refused) -> String {
    let word = refused.reason_word();
    let ledgers = shared.ledgers();
    match ledgers.refused.get(&refused.gateway) {
        Some(counts) if counts.len() >= REASONS_MAX && !counts.contains_key(&word) => "other".to_owned(),
        _ => word,
    }
}

/// Deletes messages until no more than `bytes_max` are left; says how many bytes are.
fn drop_oldest(connection: &Connection, mut kept: u64, bytes_max: u64) -> Result<u64, StoreError> {
    while kept > bytes_max {
        let oldest = "SELECT id, length(bytes) FROM refused ORDER BY id LIMIT 1";
        let oldest: Option<(i64, i64)> =
            connection.query_row(oldest, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, bytes)) = oldest else { return Ok(0) };
        connection.execute("DELETE FROM refused WHERE id = ?", [id])?;
        kept = kept.saturating_sub(bytes.cast_unsigned());
    }
    Ok(kept)
}

/// Finds the server's own stream under a gateway's name, or begins it.
pub(super) fn own_stream(
    connection: &mut Connection,
    shared: &Arc<Shared>,
    gateway: &GatewayId,
    now: Timestamp,
) -> Result<OwnStream, StoreError> {
    let known = "SELECT epoch FROM own WHERE gateway = ?";
    let known: Option<i64> = connection.query_row(known, [gateway.as_str()], |row| row.get(0)).optional()?;
    let epoch = match known {
        Some(epoch) => epoch.cast_unsigned(),
        None => new_epoch(connection, shared, gateway, now)?,
    };
    let stream = StreamId { gateway: gateway.clone(), epoch };
    let last = shared.ledgers().streams.get(&stream).and_then(|held| held.order.stored.last());
    Ok(OwnStream { stream, next_seq: last.unwrap_or(0) + 1 })
}

fn new_epoch(
    connection: &mut Connection,
    shared: &Shared,
    gateway: &GatewayId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let random = getrandom::u64()
        .map_err(|error| StoreError::System { what: "a random number", source: error.into() })?;
    let epoch = (random >> (u64::BITS - EPOCH_BITS)).max(1);
    let name = StreamId { gateway: gateway.clone(), epoch };
    let (next, counter) = {
        let ledgers = shared.ledgers();
        (ledgers.next_stream, ledgers.counter)
    };
    let stream = Stream { id: next, class: Class::Live, ..Stream::default() };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO own (gateway, epoch, created) VALUES (?, ?, ?)",
        params![gateway.as_str(), to_sql(epoch), now.nanos()],
    )?;
    save_stream(&transaction, &name, &Stream::default(), &stream, counter)?;
    transaction.commit()?;
    let mut ledgers = shared.ledgers();
    ledgers.next_stream = next + 1;
    ledgers.streams.insert(name, stream);
    Ok(epoch)
}

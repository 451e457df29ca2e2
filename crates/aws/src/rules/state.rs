//! The state of one gateway's rules: keys and bytes, each commit all or nothing, and one writer at a time.
//!
//! The partition has a head, which counts commits up, an item for each key, and pieces of logs.
//!
//! A commit that fits into one transaction of DynamoDB is one: the changes, and the head from `n` to `n + 1`
//! under the condition that it is at `n`. Whoever read the state at an earlier head is refused: a conflict.
//!
//! A larger one goes by a log, which makes it whole whenever its writer is killed:
//! 1. Its changes are written as pieces, under the head `n + 1` to be and a name drawn for this one commit.
//!    Killed here: no head names the pieces, so they are nothing; whoever loads at `n + 1` or later removes them.
//!    Nobody removes them before, since until then their writer may still come to step 2.
//! 2. The head goes from `n` to `n + 1`, naming the log. This is the commit. Killed here: whoever loads takes the
//!    log over the items, and does step 3 before its own first commit.
//! 3. The changes go into the items, by transactions that hold only while the head is at `n + 1`; so a writer that
//!    was overtaken cannot put old values over newer ones. The last of them takes the head to `n + 2` and the log
//!    out of it. Killed in between: the log still stands, and doing all of it again gives the same items.
//! 4. The pieces are removed. Killed here: as in step 1.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use fieldline_model::Timestamp;
use fieldline_store::StoreError;
use tokio::sync::Mutex;

use super::table::{Head, Log, RuleTable, Table};

/// The largest value, in bytes: DynamoDB takes items of 409,600 with names and keys.
const VALUE_BYTES_MAX: usize = 400_000;
/// Changes of one transaction: DynamoDB's 100, less the head.
const CHANGES_MAX: usize = 99;
/// Bytes of one transaction: DynamoDB's 4 MB, less what names take.
const TRANSACTION_BYTES_MAX: usize = 3_500_000;
/// How often a load begins anew since somebody has committed meanwhile.
const LOADS_MAX: u32 = 5;
/// Keys of state begin so; pieces of logs do not.
const STATE: &str = "state#";
const LOG: &str = "log#";

/// A key, and its new value; none: it is gone.
pub type RuleChange = (String, Option<Vec<u8>>);

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleCommit {
    /// All of it is durable.
    Done,
    /// Somebody else has committed since the load; nothing was done.
    Conflict,
}

/// See the module. After a conflict or an error it is to be loaded again.
#[derive(Debug)]
pub struct RuleState<T = RuleTable> {
    table: T,
    held: Mutex<Held>,
}

/// What is known of the table.
#[derive(Debug, Default)]
struct Held {
    head: Head,
    /// What the head's log says.
    pending: Vec<RuleChange>,
}

impl RuleState {
    /// The state in this partition; it is to be loaded before anything is committed.
    pub fn new(table: RuleTable) -> Self {
        Self::on(table)
    }
}

#[expect(private_bounds, reason = "the other table is the one of the tests")]
impl<T: Table> RuleState<T> {
    fn on(table: T) -> Self {
        Self { table, held: Mutex::default() }
    }

    /// All keys and values, as of one commit.
    ///
    /// # Errors
    /// The table cannot be read, or is written faster than it can be read.
    pub async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut held = self.held.lock().await;
        for _ in 0..LOADS_MAX {
            let head = self.table.head().await?;
            let items = self.table.items().await?;
            if self.table.head().await? == head {
                return self.take(&mut held, head, items).await;
            }
        }
        Err(StoreError::Unavailable { service: SERVICE, source: "it is written too fast to be read".into() })
    }

    async fn take(
        &self,
        held: &mut Held,
        head: Head,
        items: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let ours = head.log.as_ref().map(|log| prefix(head.version, &log.writer));
        let mut entries = BTreeMap::new();
        let (mut log, mut pieces, mut dead) = (Vec::new(), 0, Vec::new());
        // By key, and so the pieces in their order.
        for (item, value) in items {
            if let Some(key) = item.strip_prefix(STATE) {
                entries.insert(key.to_owned(), value);
            } else if ours.as_ref().is_some_and(|ours| item.starts_with(ours.as_str())) {
                log.extend(value);
                pieces += 1;
            } else if version(&item).is_some_and(|version| version <= head.version) {
                dead.push(item);
            }
        }
        let mut pending: Vec<RuleChange> = Vec::new();
        if let Some(named) = &head.log {
            if named.pieces != pieces {
                return Err(damaged());
            }
            pending = postcard::from_bytes(&log).map_err(|_not_so| damaged())?;
        }
        for (key, value) in &pending {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        *held = Held { head, pending };
        self.sweep(&dead).await;
        Ok(entries.into_iter().collect())
    }

    /// Whether nobody else has committed since the load.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn is_current(&self) -> Result<bool, StoreError> {
        let held = self.held.lock().await;
        Ok(self.table.head().await?.version == held.head.version)
    }

    /// Makes all of the changes durable, or none; of several to one key the last counts. `wake` is when there
    /// will be something to do by the clock.
    ///
    /// # Errors
    /// It may or may not have been done; or a value is larger than 400,000 bytes, and nothing was done.
    pub async fn commit(
        &self,
        changes: Vec<RuleChange>,
        wake: Option<Timestamp>,
    ) -> Result<RuleCommit, StoreError> {
        let mut held = self.held.lock().await;
        let changes: BTreeMap<String, Option<Vec<u8>>> = changes.into_iter().collect();
        let changes: Vec<RuleChange> = changes.into_iter().collect();
        if let Some((key, _)) = changes.iter().find(|change| size(change) > VALUE_BYTES_MAX + change.0.len())
        {
            let source = format!("the value of {key} is larger than {VALUE_BYTES_MAX} bytes").into();
            return Err(StoreError::Rejected { service: SERVICE, source });
        }
        if !self.settle(&mut held).await? {
            return Ok(RuleCommit::Conflict);
        }
        let next = Head { version: held.head.version + 1, log: None, wake };
        match transactions(&changes).as_slice() {
            [] | [_] => {
                if !self.table.transact(held.head.version, Some(&next), &items(&changes)).await? {
                    return Ok(RuleCommit::Conflict);
                }
                held.head = next;
                Ok(RuleCommit::Done)
            }
            _ => self.commit_by_log(&mut held, next, changes).await,
        }
    }

    async fn commit_by_log(
        &self,
        held: &mut Held,
        mut next: Head,
        changes: Vec<RuleChange>,
    ) -> Result<RuleCommit, StoreError> {
        let encoded = postcard::to_stdvec(&changes).map_err(|_impossible| damaged())?;
        let writer = drawn()?;
        let pieces: Vec<&[u8]> = encoded.chunks(VALUE_BYTES_MAX).collect();
        for (number, piece) in pieces.iter().enumerate() {
            self.table.put(&piece_name(next.version, &writer, number), piece).await?;
        }
        next.log = Some(Log { writer, pieces: pieces.len() });
        if !self.table.transact(held.head.version, Some(&next), &[]).await? {
            return Ok(RuleCommit::Conflict);
        }
        *held = Held { head: next, pending: changes };
        // It is durable; what is left may be done by the next commit, or by somebody else.
        if let Err(error) = self.settle(held).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a log of rules waits to be applied");
        }
        Ok(RuleCommit::Done)
    }

    /// Puts what the head's log says into the items; whether the head was still ours.
    async fn settle(&self, held: &mut Held) -> Result<bool, StoreError> {
        let Some(log) = held.head.log.clone() else { return Ok(true) };
        let before = held.head.version;
        let next = Head { version: before + 1, log: None, wake: held.head.wake };
        let chunks = transactions(&held.pending);
        for (number, chunk) in chunks.iter().enumerate() {
            let head = (number + 1 == chunks.len()).then_some(&next);
            if !self.table.transact(before, head, &items(chunk)).await? {
                return Ok(false);
            }
        }
        let pieces: Vec<String> = (0..log.pieces).map(|n| piece_name(before, &log.writer, n)).collect();
        *held = Held { head: next, pending: Vec::new() };
        self.sweep(&pieces).await;
        Ok(true)
    }

    /// Whoever loads next removes what is left.
    async fn sweep(&self, items: &[String]) {
        for item in items {
            if let Err(error) = self.table.remove(item).await {
                tracing::warn!(
                    item,
                    error = &error as &dyn std::error::Error,
                    "a piece of a log was not removed"
                );
                return;
            }
        }
    }
}

const SERVICE: &str = "the state of rules";

fn damaged() -> StoreError {
    StoreError::Rejected { service: SERVICE, source: "a log cannot be read".into() }
}

fn size((key, value): &RuleChange) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len)
}

/// Parts that each fit into a transaction.
fn transactions(changes: &[RuleChange]) -> Vec<&[RuleChange]> {
    let (mut parts, mut rest) = (Vec::new(), changes);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(CHANGES_MAX).take_while(|change| {
            bytes += size(change);
            bytes <= TRANSACTION_BYTES_MAX
        });
        let (part, behind) = rest.split_at(fits.count().max(1));
        parts.push(part);
        rest = behind;
    }
    parts
}

fn items(changes: &[RuleChange]) -> Vec<(String, Option<&[u8]>)> {
    changes.iter().map(|(key, value)| (format!("{STATE}{key}"), value.as_deref())).collect()
}

fn prefix(version: u64, writer: &str) -> String {
    format!("{LOG}{version:016x}#{writer}#")
}

fn piece_name(version: u64, writer: &str, number: usize) -> String {
    format!("{}{number:06}", prefix(version, writer))
}

/// Of which head a piece is.
fn version(piece: &str) -> Option<u64> {
    u64::from_str_radix(piece.strip_prefix(LOG)?.split('#').next()?, 16).ok()
}

/// A name that no other commit has.
fn drawn() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Unavailable { service: SERVICE, source: Box::new(error) })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

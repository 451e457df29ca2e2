//! The state and its records: checked, durable, applied.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use axum::http::StatusCode;
use fieldline_registry::{Change, Checked, Fresh, Kind, Record, Registry};
use fieldline_store::{Entries, Entry, EntryChange};
use tokio::sync::{Mutex, watch};

use crate::broker::now;
use crate::data_plane::Failure;

/// What is registered, as it is now. Cheap to clone; reading waits for no disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryHandle {
    registry: Arc<RwLock<Registry>>,
    generation: watch::Sender<u64>,
}

impl RegistryHandle {
    /// Looks at the registry. What `look` does must be quick: changes wait for it.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with each change.
    pub(crate) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn apply(&self, changes: Vec<Change>) {
        {
            let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
            changes.into_iter().for_each(|change| registry.apply(change));
        }
        self.generation.send_modify(|generation| *generation += 1);
    }
}

/// Who changes the registry. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper {
    handle: RegistryHandle,
    store: Arc<dyn Entries>,
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl Keeper {
    /// Reads the records.
    ///
    /// # Errors
    /// The store cannot be read, or a record in it.
    pub(crate) async fn open(store: Arc<dyn Entries>) -> anyhow::Result<Self> {
        let mut records = Vec::new();
        for kind in Kind::ALL {
            let entries = store.entries(kind.as_str()).await.context("the registry cannot be read")?;
            for entry in entries {
                records.push(Record::read(kind, &entry.key, &entry.value)?);
            }
        }
        let handle = RegistryHandle {
            registry: Arc::new(RwLock::new(Registry::load(records))),
            generation: watch::Sender::default(),
        };
        Ok(Self { handle, store, turn: Arc::default() })
    }

    pub(crate) fn handle(&self) -> &RegistryHandle {
        &self.handle
    }

    /// Checks a request against the state; what it changes is durable and applied when this returns.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        check: impl FnOnce(&Registry, Fresh) -> Checked<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let keeper = self.clone();
        // In a task of its own, for a client that hangs up must not leave a change written but not applied.
        let task = tokio::spawn(async move { keeper.change_in_turn(check).await });
        task.await.unwrap_or_else(|error| Err(failed(&error)))
    }

    async fn change_in_turn<T>(
        &self,
        check: impl FnOnce(&Registry, Fresh) -> Checked<T>,
    ) -> Result<T, Failure> {
        let _turn = self.turn.lock().await;
        let fresh = fresh()?;
        let (answer, changes) = self.handle.read(|registry| check(registry, fresh))?;
        if !changes.is_empty() {
            let entries = changes.iter().map(entry_change).collect::<Result<_, _>>();
            let entries = entries.map_err(|error| failed(&error))?;
            self.store.write_entries(entries).await.map_err(|error| failed(&error))?;
            self.handle.apply(changes);
        }
        Ok(answer)
    }
}

fn entry_change(change: &Change) -> Result<EntryChange, serde_json::Error> {
    Ok(match change {
        Change::Put(record) => {
            let (kind, key) = record.place();
            let value = record.to_json()?;
            EntryChange::Put(Entry { kind: kind.as_str().to_owned(), key: key.to_owned(), value })
        }
        Change::Gone { kind, key } => {
            EntryChange::Delete { kind: kind.as_str().to_owned(), key: key.clone() }
        }
    })
}

fn fresh() -> Result<Fresh, Failure> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| failed(&error))?;
    let now_ms = now().nanos().div_euclid(1_000_000);
    Ok(Fresh { now_ms, random: u128::from_be_bytes(random) })
}

/// The cause is for the log, not for the client.
fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::error!(error, "the registry could not be changed");
    let message = "the registry could not be changed; the server's log says why";
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailureException", message)
}

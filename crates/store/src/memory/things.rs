//! Shadows and small documents in memory.

use async_trait::async_trait;
use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Applied, Stored, Update};
use serde_json::Value;

use super::MemoryStore;
use crate::shadows::{deleted, updated};
use crate::{Entries, Entry, EntryChange, Outcome, Shadows, StoreError};

impl MemoryStore {
    fn change<T>(&self, shadow: &ShadowId, change: impl FnOnce(&Stored) -> (Option<Stored>, T)) -> T {
        let mut inner = self.lock();
        let key = (shadow.thing.clone(), shadow.name.clone());
        let (after, answer) = change(inner.shadows.get(&key).unwrap_or(&Stored::Absent));
        if let Some(after) = after {
            inner.shadows.insert(key, after);
        }
        answer
    }
}

#[async_trait]
impl Shadows for MemoryStore {
    async fn shadow(&self, shadow: &ShadowId) -> Result<Stored, StoreError> {
        Ok(self.change(shadow, |stored| (None, stored.clone())))
    }

    async fn update_shadow(
        &self,
        shadow: &ShadowId,
        update: Update,
        now_s: i64,
    ) -> Result<Outcome<Applied>, StoreError> {
        Ok(self.change(shadow, |stored| updated(stored, &update, now_s)))
    }

    async fn delete_shadow(
        &self,
        shadow: &ShadowId,
        client_token: Option<String>,
        now_s: i64,
    ) -> Result<Outcome<Value>, StoreError> {
        let name = shadow.to_string();
        Ok(self.change(shadow, |stored| deleted(stored, &name, client_token.as_deref(), now_s)))
    }

    async fn named_shadows(
        &self,
        thing: &ThingName,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<Vec<ShadowName>, StoreError> {
        let inner = self.lock();
        let names = inner.shadows.iter().filter_map(|((of, name), stored)| {
            let name = name.as_ref().filter(|name| after.is_none_or(|after| *name > after))?;
            (of == thing && matches!(stored, Stored::Present(_))).then(|| name.clone())
        });
        Ok(names.take(limit).collect())
    }
}

#[async_trait]
impl Entries for MemoryStore {
    async fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        let inner = self.lock();
        let of_kind = inner.entries.iter().filter(|((of, _), _)| of == kind);
        Ok(of_kind
            .map(|((kind, key), value)| Entry { kind: kind.clone(), key: key.clone(), value: value.clone() })
            .collect())
    }

    async fn write_entries(&self, changes: Vec<EntryChange>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        for change in changes {
            match change {
                EntryChange::Put(Entry { kind, key, value }) => {
                    inner.entries.insert((kind, key), value);
                }
                EntryChange::Delete { kind, key } => {
                    inner.entries.remove(&(kind, key));
                }
            }
        }
        Ok(())
    }
}

//! Shadows and small documents in memory.

use async_trait::async_trait;
use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Applied, Stored, Update};
use serde_json::Value;

use super::MemoryStore;
use crate::shadows::{deleted, updated};
use crate::{Entries, Entry, EntryChange, NAMED_SHADOWS_MAX, Outcome, Shadows, StoreError};

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
        let has_room = shadow.name.is_none() || {
            let inner = self.lock();
            let present = |((thing, name), stored): (&(ThingName, Option<ShadowName>), &Stored)| {
                *thing == shadow.thing && name.is_some() && matches!(stored, Stored::Present(_))
            };
            inner.shadows.iter().filter(|entry| present(*entry)).count() < NAMED_SHADOWS_MAX
        };
        Ok(self.change(shadow, |stored| updated(stored, has_room, &update, now_s)))
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

    async fn things_with(
        &self,
        name: &ShadowName,
        after: Option<&ThingName>,
        limit: usize,
    ) -> Result<Vec<ThingName>, StoreError> {
        let inner = self.lock();
        let things = inner.shadows.iter().filter_map(|((thing, of), stored)| {
            let present = of.as_ref() == Some(name) && matches!(stored, Stored::Present(_));
            (present && after.is_none_or(|after| thing > after)).then(|| thing.clone())
        });
        Ok(things.take(limit).collect())
    }

    async fn forget_deleted(&self, before_s: i64, limit: usize) -> Result<usize, StoreError> {
        let mut inner = self.lock();
        let is_over = |stored: &Stored| matches!(stored, Stored::Deleted(deleted) if deleted.at_s < before_s);
        let over = inner.shadows.iter().filter(|(_, stored)| is_over(stored));
        let over: Vec<_> = over.map(|(key, _)| key.clone()).take(limit).collect();
        for key in &over {
            inner.shadows.remove(key);
        }
        Ok(over.len())
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

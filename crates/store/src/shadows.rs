//! Where device shadows are kept.

use async_trait::async_trait;
use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::{Applied, Error as Refusal, Stored, Update};
use serde_json::Value;

use crate::StoreError;

/// So many named shadows a thing may have, where nothing else is said.
pub const NAMED_SHADOWS_MAX: usize = 1_000;

/// What became of a request, once it is known: done, or refused by the rules of shadows.
pub type Outcome<T> = Result<T, Refusal>;

/// Device shadows. Requests for one shadow are applied one after the other; what they come to is durable
/// when the call returns. Times are in seconds since the epoch.
#[async_trait]
pub trait Shadows: Send + Sync {
    /// What is stored, with all changes that were asked for before.
    async fn shadow(&self, shadow: &ShadowId) -> Result<Stored, StoreError>;

    /// Applies an update.
    async fn update_shadow(
        &self,
        shadow: &ShadowId,
        update: Update,
        now_s: i64,
    ) -> Result<Outcome<Applied>, StoreError>;

    /// Deletes a shadow; its version is remembered. Gives the reply.
    async fn delete_shadow(
        &self,
        shadow: &ShadowId,
        client_token: Option<String>,
        now_s: i64,
    ) -> Result<Outcome<Value>, StoreError>;

    /// The names of a thing's named shadows behind `after`, ascending, at most `limit`.
    async fn named_shadows(
        &self,
        thing: &ThingName,
        after: Option<&ShadowName>,
        limit: usize,
    ) -> Result<Vec<ShadowName>, StoreError>;

    /// The things behind `after`, ascending, at most `limit`, that have a shadow of this name.
    async fn things_with(
        &self,
        name: &ShadowName,
        after: Option<&ThingName>,
        limit: usize,
    ) -> Result<Vec<ThingName>, StoreError>;

    /// Forgets the versions of shadows that were deleted before `before_s`, at most `limit` of them; gives
    /// how many.
    async fn forget_deleted(&self, before_s: i64, limit: usize) -> Result<usize, StoreError>;
}

/// What is to be stored, if anything, and the answer to an update; `has_room` is whether the thing may have one
/// more shadow.
pub(crate) fn updated(
    stored: &Stored,
    has_room: bool,
    update: &Update,
    now_s: i64,
) -> (Option<Stored>, Outcome<Applied>) {
    match update.apply(stored, now_s) {
        Ok(_) if !has_room && !matches!(stored, Stored::Present(_)) => (None, Err(Refusal::Crowded)),
        Ok(applied) => (Some(Stored::Present(applied.shadow.clone())), Ok(applied)),
        Err(refusal) => (None, Err(refusal)),
    }
}

/// What is to be stored, if anything, and the answer to a deletion; `name` is for the refusal.
pub(crate) fn deleted(
    stored: &Stored,
    name: &str,
    client_token: Option<&str>,
    now_s: i64,
) -> (Option<Stored>, Outcome<Value>) {
    match stored.delete(name, now_s, client_token) {
        Ok((deleted, reply)) => (Some(Stored::Deleted(deleted)), Ok(reply)),
        Err(refusal) => (None, Err(refusal)),
    }
}

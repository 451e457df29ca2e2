//! Where a test can stop the store dead.

use std::fmt;
use std::sync::Arc;

use crate::StoreError;

/// A step of the writer; a crash at it leaves the disk as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultPoint {
    BatchBegun,
    LogInserted,
    LedgerUpdated,
    BatchCommitted,
    Frozen,
    Encoded,
    ChunksInserted,
    LogDeleted,
    FlushCommitted,
}

#[cfg(test)]
impl FaultPoint {
    pub(super) const ALL: [Self; 9] = [
        Self::BatchBegun,
        Self::LogInserted,
        Self::LedgerUpdated,
        Self::BatchCommitted,
        Self::Frozen,
        Self::Encoded,
        Self::ChunksInserted,
        Self::LogDeleted,
        Self::FlushCommitted,
    ];
}

type Hook = dyn Fn(FaultPoint) -> bool + Send + Sync;

/// Says at each step whether the process dies there. Never, outside tests.
#[derive(Clone, Default)]
pub(super) struct Faults(Option<Arc<Hook>>);

impl Faults {
    #[cfg(test)]
    pub(super) fn new(hook: impl Fn(FaultPoint) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(super) fn reach(&self, point: FaultPoint) -> Result<(), StoreError> {
        match &self.0 {
            Some(hook) if hook(point) => Err(StoreError::Failed),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}

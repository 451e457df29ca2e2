use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fieldline_model::RangeSet;
use fieldline_store::Ledger;

use crate::{PortError, Quarantine, Refused};

/// The ledger's quarantine: a message is waited for, and its gateway told of what is settled by it.
#[derive(Clone)]
pub struct LedgerQuarantine {
    /// Keeps the messages.
    pub ledger: Arc<dyn Ledger>,
    /// How gateways are told.
    pub acks: Arc<dyn storage::Acks>,
}

impl fmt::Debug for LedgerQuarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerQuarantine").field("acks", &self.acks).finish_non_exhaustive()
    }
}

#[async_trait]
impl Quarantine for LedgerQuarantine {
    async fn set_aside(&self, refused: Refused<'_>) -> Result<(), PortError> {
        let kept = fieldline_store::Refused {
            gateway: refused.gateway.clone(),
            readings: refused.settled.cloned(),
            reason: refused.reason.as_str().to_owned(),
            bytes: refused.payload.clone(),
            received: refused.received,
        };
        self.ledger.quarantine(kept).await?;
        if let Some((stream, _, seqs)) = refused.settled {
            storage::acknowledge(stream, RangeSet::from(vec![*seqs]), self.acks.as_ref()).await;
        }
        Ok(())
    }
}

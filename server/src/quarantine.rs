//! What could not be read, on its way into the ledger's quarantine.
//!
//! It is for people who look for a fault, so it never holds up what can be read: when more comes
//! than the disk takes, the count stays exact and the copy is let go of.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{GatewayId, Reason, Timestamp};
use fieldline_store::{Ledger, Refused};
use tokio::sync::mpsc;

/// Messages that may wait; at most as many copies are in memory.
const WAITING_MAX: usize = 64;

/// Where refused messages are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct QuarantineDesk {
    refused: mpsc::Sender<Refused>,
}

impl QuarantineDesk {
    /// Starts the task behind the desk; it ends when all clones of the desk are gone.
    pub(crate) fn start(ledger: Arc<dyn Ledger>) -> Self {
        let (refused, mut line) = mpsc::channel::<Refused>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(message) = line.recv().await {
                if let Err(error) = ledger.quarantine(message).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the quarantine failed");
                }
            }
        });
        Self { refused }
    }

    /// Hands in a message that holds no readings of a gateway's stream.
    pub(crate) fn offer(&self, gateway: &GatewayId, reason: Reason, payload: &Bytes, received: Timestamp) {
        let message = Refused {
            gateway: gateway.clone(),
            readings: None,
            reason: reason.as_str().to_owned(),
            bytes: payload.clone(),
            received,
        };
        if self.refused.try_send(message).is_err() {
            tracing::warn!(%reason, "the quarantine is full; the copy of a message was let go of");
        }
    }
}

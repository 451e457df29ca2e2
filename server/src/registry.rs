//! The registry of AWS IoT's control plane: one state in memory, and its records in the store.
//!
//! A change is checked against the state, durable, applied, and only then answered. Changes take turns;
//! readers see what is applied and wait for no disk.

mod api;
mod http;
mod keeper;
mod sightings;
#[cfg(test)]
mod tests;
mod x509;

use std::fmt;
use std::sync::Arc;

pub(crate) use api::router as api_router;
pub(crate) use http::router;
pub(crate) use keeper::{Keeper, RegistryHandle};
pub(crate) use sightings::{Sightings, run as run_sightings};

/// Signs certificates for CreateKeysAndCertificate and CreateCertificateFromCsr. Waits for no one: a key is
/// made and used in memory.
pub(crate) trait Signer: Send + Sync {
    /// A new key and a certificate for it: certificate and key, PEM.
    fn issue(&self, common_name: &str) -> Result<(String, String), SignError>;

    /// A certificate for the key of a certificate signing request, PEM.
    fn sign(&self, request_pem: &str) -> Result<String, SignError>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SignError(pub(crate) String);

/// What the control plane needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    pub(crate) keeper: Keeper,
    /// None where no certificate authority has been made.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    /// The host that DescribeEndpoint names.
    pub(crate) endpoint: Option<String>,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlPlane")
    }
}

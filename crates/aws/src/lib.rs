//! Everything of AWS that Fieldline's functions stand on, behind the ports of the other crates.
//!
//! What it is: the only crate that names `aws-sdk-*`. Each service is a feature and a module.
//!
//! What it is not: it decides nothing about readings, and it reads no environment variable of
//! Fieldline's; a function's `main` does, and hands over the values.
//!
//! Invariants: a throttled or failed call is tried again within bounds and then reported as
//! [`fieldline_store::StoreError::Unavailable`], never swallowed; every write may be made twice; with
//! a custom endpoint nothing is sent anywhere else.

#[cfg(feature = "acks")]
mod acks;
mod client;
#[cfg(feature = "enroll")]
pub mod enroll;
mod failure;
#[cfg(feature = "ledger")]
mod ledger;
#[cfg(feature = "queue")]
mod queue;
#[cfg(feature = "rules")]
mod rules;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "secrets")]
mod secrets;
#[cfg(feature = "shadows")]
mod shadows;
#[cfg(feature = "timestream")]
mod timestream;

#[cfg(feature = "acks")]
pub use acks::IotAcks;
pub use client::{Aws, Choice};
pub use failure::failure;
#[cfg(feature = "ledger")]
pub use ledger::{DynamoLedger, LedgerConfig};
#[cfg(feature = "queue")]
pub use queue::BlockTopic;
#[cfg(feature = "rules")]
pub use rules::{
    AlarmHistory, AlarmMessage, AlarmSender, Claim, Deliveries, IotMessages, RuleChange, RuleCommit,
    RuleFiles, RuleState, RuleTable,
};
#[cfg(feature = "s3")]
pub use s3::{CompactConfig, Compacted, ParquetStore, S3Config};
#[cfg(feature = "secrets")]
pub use secrets::secret;
#[cfg(feature = "shadows")]
pub use shadows::{IotShadows, ShadowUpdate};
#[cfg(feature = "timestream")]
pub use timestream::{Timestream, TimestreamConfig};

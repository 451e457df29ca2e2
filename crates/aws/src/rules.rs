//! What rules stand on: their files in S3, their state and what was delivered in DynamoDB, alarms to SNS,
//! commands to AWS IoT.
//!
//! `docs/formats/rules-table.md` describes the items of the table.

mod deliveries;
mod files;
mod sender;
mod state;
mod table;

pub use deliveries::{AlarmHistory, Claim, Deliveries};
pub use files::RuleFiles;
pub use sender::{AlarmMessage, AlarmSender, IotMessages};
pub use state::{RuleChange, RuleCommit, RuleState};
pub use table::RuleTable;

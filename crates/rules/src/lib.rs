//! Rules: conditions over what devices report, windows, detectors, and the alarms that come of them.
//!
//! [`Engine`] takes readings and the time in and gives [`Effect`]s out. The same engine runs on the gateway,
//! in the server on site and in AWS Lambda.
//!
//! What it is not: it knows no clock, no disk and no network. A host commits [`Engine::take_changes`]
//! together with the effects, and delivers these afterwards.
//!
//! Invariants
//! - The same readings in the same order give the same alarms, byte for byte, whenever the host was
//!   restarted in between and whatever its clock says.
//! - What has been observed once changes nothing when it comes again.
//! - Everything is bounded: rules, instances, samples of a window, the cost of a condition.
//! - A rule that fails takes no other with it.

mod alarm;
mod check;
mod condition;
mod detector;
mod document;
mod effect;
mod engine;
mod feature;
mod nearest;
mod schedule;
mod schema;
mod spec;
mod template;
mod window;

pub use alarm::{Alarm, AlarmEvent, AlarmState, Aside, Operation, Shelved, Suppressed, Transition};
pub use check::{Finding, FindingSeverity, check};
pub use condition::{Condition, ConditionError, EvaluationError, Kind, Outcome, Position, Resolve};
pub use document::{
    Action, DOCUMENT_BYTES_MAX, DocumentError, Documents, Host, Rule, RuleName, Schedule, Severity,
};
pub use effect::{Effect, EffectId, EffectKind, Mark, Notification};
pub use engine::{Change, Crowding, Engine, Limits, Loaded, OperateError, RestoreError, RuleState};
pub use feature::{FeatureError, Series};
pub use schedule::{Calendar, ScheduleError};
pub use schema::schema;
pub use spec::{
    Argument, COUNT_MAX, COUNT_MIN, EXTENT_MAX, EXTENT_MIN, Extent, FeatureSpec, Function, Input,
};
pub use template::{RENDERED_BYTES_MAX, Template, TemplateWords};
pub use window::{ChunkError, Observed, Retention, Samples};

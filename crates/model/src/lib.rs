//! The words of Fieldline as types: ids, readings, topics, sequence ranges and the books.
//!
//! Layer 0: nothing here touches a clock, a disk or a socket, and every name that is seen from
//! outside (a topic, an id, a JSON field) is spelled in this crate and nowhere else.
//!
//! ```
//! use fieldline_model::{DeviceTopic, RangeSet, SeqRange};
//!
//! let topic: DeviceTopic = "telemetry/press-4".parse()?;
//! assert_eq!(topic.device().as_str(), "press-4");
//!
//! let stored: RangeSet = [SeqRange::new(1, 100), SeqRange::new(151, 200)].into_iter().collect();
//! assert_eq!(stored.gaps_within(SeqRange::new(1, 200)), vec![SeqRange::new(101, 150)]);
//! # Ok::<(), fieldline_model::TopicError>(())
//! ```

mod books;
mod command;
mod id;
mod pattern;
mod range;
mod reading;
mod reason;
mod shadow;
mod stream;
mod timestamp;
mod topic;

pub use books::{Books, LaneBooks};
pub use command::{CommandPart, CommandStatus, CommandTopic, UnknownStatus};
pub use id::{
    COMMAND_NAME_BYTES_MAX, CommandName, DeviceId, EXECUTION_ID_BYTES_MAX, ExecutionId, GatewayId, IdError,
    METRIC_BYTES_MAX, Metric, SHADOW_NAME_BYTES_MAX, ShadowName, THING_NAME_BYTES_MAX, ThingName,
};
pub use pattern::Pattern;
pub use range::{RangeSet, SeqRange};
pub use reading::{Quality, Reading, ReadingRef, TEXT_BYTES_MAX, Value, ValueRef};
pub use reason::Reason;
pub use shadow::{ShadowFilter, ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
pub use stream::{Class, StreamId, UnknownClass};
pub use timestamp::{TimeError, Timestamp};
pub use topic::{
    AckMessage, AlarmTopic, BOOKS_RULE, DeviceTopic, GatewayTopic, INGEST_RULE, RuleTopic, TopicError,
    topic_matches, valid_filter,
};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::GatewayId;

/// The life of one journal lane: which gateway wrote it and which lane of that gateway it is.
///
/// `epoch` is drawn at random, below 2⁵³ so that every JSON reader holds it, when the lane comes
/// into being. Sequence numbers of a stream start at 1 and have no holes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId {
    /// Who wrote the stream.
    pub gateway: GatewayId,
    /// Which life of which lane.
    pub epoch: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:014x}", self.gateway, self.epoch)
    }
}

/// How dear a reading is when space or bandwidth runs short; the greater, the dearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Backfilled data; first to be dropped, last to be sent.
    History,
    /// What devices send in the ordinary course.
    #[default]
    Live,
    /// Something happened.
    Event,
    /// Somebody has to act; last to be dropped, first to be sent.
    Alarm,
}

impl Class {
    /// All classes, cheapest first.
    pub const ALL: [Self; 4] = [Self::History, Self::Live, Self::Event, Self::Alarm];

    /// The word in configurations and folder names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Live => "live",
            Self::Event => "event",
            Self::Alarm => "alarm",
        }
    }

    /// The code in the durable formats.
    pub fn code(self) -> u8 {
        match self {
            Self::History => 0,
            Self::Live => 1,
            Self::Event => 2,
            Self::Alarm => 3,
        }
    }

    /// Reads a code of a durable format.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a class; the classes are alarm, event, live, history")]
pub struct UnknownClass(String);

impl FromStr for Class {
    type Err = UnknownClass;
    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

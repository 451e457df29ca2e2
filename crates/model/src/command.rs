use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ExecutionId, ThingName, TopicError};

/// How far an execution of a command has come, in AWS IoT's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CommandStatus {
    /// Accepted; the device has not answered yet.
    Created,
    /// The device works on it.
    InProgress,
    /// The device has done it.
    Succeeded,
    /// The device could not do it.
    Failed,
    /// The device will not do it.
    Rejected,
    /// Nobody has reported an end in time.
    TimedOut,
    /// Taken back by whoever sent it; a status of ours, AWS IoT has none.
    Canceled,
}

/// A word that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no status {0:?}; there are CREATED, IN_PROGRESS, SUCCEEDED, FAILED, REJECTED, TIMED_OUT and \
     CANCELED"
)]
pub struct UnknownStatus(String);

impl CommandStatus {
    const ALL: [Self; 7] = [
        Self::Created,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::TimedOut,
        Self::Canceled,
    ];

    /// The word in messages and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
            Self::TimedOut => "TIMED_OUT",
            Self::Canceled => "CANCELED",
        }
    }

    /// The word for people.
    pub fn said(self) -> &'static str {
        match self {
            Self::Created => "accepted",
            Self::InProgress => "running",
            Self::Succeeded => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed out",
            Self::Canceled => "canceled",
        }
    }

    /// Whether nobody waits for the device any more.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Created | Self::InProgress)
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CommandStatus {
    type Err = UnknownStatus;
    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// Which message of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandPart {
    /// What the device is to do.
    Request,
    /// How far it has come, in its own words.
    Response,
    /// To the device: its response is stored.
    Accepted,
    /// To the device: its response is refused.
    Rejected,
}

/// `$aws/commands/things/<thing>/executions/<execution>/<part>/json`, as AWS IoT has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandTopic {
    /// Whose command.
    pub thing: ThingName,
    /// Which execution of it.
    pub execution: ExecutionId,
    /// Which message.
    pub part: CommandPart,
}

impl CommandTopic {
    /// What a thing subscribes to so that it hears its commands.
    pub fn requests_of(thing: &ThingName) -> String {
        format!("$aws/commands/things/{thing}/executions/+/request/json")
    }

    /// Another message of the same execution.
    #[must_use]
    pub fn with(&self, part: CommandPart) -> Self {
        Self { part, ..self.clone() }
    }
}

impl FromStr for CommandTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let levels: Vec<&str> = topic.split('/').collect();
        let ["$aws", "commands", "things", thing, "executions", execution, rest @ ..] = levels.as_slice()
        else {
            return Err(shape());
        };
        let part = match rest {
            ["request", "json"] => CommandPart::Request,
            ["response", "json"] => CommandPart::Response,
            ["response", "accepted", "json"] => CommandPart::Accepted,
            ["response", "rejected", "json"] => CommandPart::Rejected,
            _ => return Err(shape()),
        };
        Ok(Self { thing: ThingName::new(thing)?, execution: ExecutionId::new(execution)?, part })
    }
}

fn shape() -> TopicError {
    TopicError::Shape {
        expected: "$aws/commands/things/<thing>/executions/<execution>/request/json, …/response/json and its \
                   replies",
    }
}

impl fmt::Display for CommandTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            CommandPart::Request => "request",
            CommandPart::Response => "response",
            CommandPart::Accepted => "response/accepted",
            CommandPart::Rejected => "response/rejected",
        };
        write!(f, "$aws/commands/things/{}/executions/{}/{part}/json", self.thing, self.execution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_as_they_were() {
        let id = "0190163e-5a4c-7000-8000-0123456789ab";
        for topic in [
            format!("$aws/commands/things/press-4/executions/{id}/request/json"),
            format!("$aws/commands/things/press-4/executions/{id}/response/json"),
            "$aws/commands/things/a:b/executions/x/response/accepted/json".to_owned(),
            "$aws/commands/things/executions/executions/x/response/rejected/json".to_owned(),
        ] {
            assert_eq!(topic.parse::<CommandTopic>().unwrap().to_string(), topic);
        }
    }

    #[test]
    fn other_topics_are_none() {
        let long = format!("$aws/commands/things/a/executions/{}/request/json", "x".repeat(65));
        for topic in [
            "$aws/commands/things/a/executions/x/request",
            "$aws/commands/things/a/executions/x/request/cbor",
            "$aws/commands/things/a/executions/x/request/accepted/json",
            "$aws/commands/things/a/executions/x/response/json/y",
            "$aws/commands/things/a/executions//request/json",
            "$aws/commands/things/a b/executions/x/request/json",
            "$aws/commands/clients/a/executions/x/request/json",
            "$aws/things/a/executions/x/request/json",
            "aws/commands/things/a/executions/x/request/json",
            &long,
        ] {
            assert!(topic.parse::<CommandTopic>().is_err(), "{topic}");
        }
    }

    #[test]
    fn a_things_filter_takes_its_requests_only() {
        let thing = ThingName::new("a").unwrap();
        let topic = CommandTopic {
            thing: thing.clone(),
            execution: ExecutionId::new("x").unwrap(),
            part: CommandPart::Request,
        };
        let filter = CommandTopic::requests_of(&thing);
        assert!(crate::valid_filter(&filter));
        assert!(crate::topic_matches(&filter, &topic.to_string()));
        assert!(!crate::topic_matches(&filter, &topic.with(CommandPart::Response).to_string()));
    }

    #[test]
    fn statuses_read_back_in_both_ways() {
        for status in CommandStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!("created".parse::<CommandStatus>().unwrap_err().to_string().contains("IN_PROGRESS"));
    }
}

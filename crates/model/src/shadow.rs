use std::fmt;
use std::str::FromStr;

use crate::{ShadowName, ThingName, TopicError};

/// A shadow: the classic one of a thing, or one of its named ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShadowId {
    /// Whose.
    pub thing: ThingName,
    /// None for the classic shadow.
    pub name: Option<ShadowName>,
}

/// As AWS's messages name it: `thing`, or `thing~name`.
impl fmt::Display for ShadowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(f, "{}", self.thing),
            Some(name) => write!(f, "{}~{name}", self.thing),
        }
    }
}

/// What is done with a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShadowOperation {
    /// Asks for the document.
    Get,
    /// Changes it.
    Update,
    /// Deletes it.
    Delete,
}

/// Which message of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShadowPart {
    /// What the client sends.
    Request,
    /// The answer to one that was done.
    Accepted,
    /// The answer to one that was refused.
    Rejected,
    /// Of an update: what is desired and not reported.
    Delta,
    /// Of an update: the shadow before and after.
    Documents,
}

/// `$aws/things/<thing>/shadow[/name/<name>]/<operation>[/<part>]`, as AWS IoT has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShadowTopic {
    /// Which shadow.
    pub shadow: ShadowId,
    /// What is done with it.
    pub operation: ShadowOperation,
    /// Which message of it.
    pub part: ShadowPart,
}

impl ShadowTopic {
    /// Another message of the same operation.
    #[must_use]
    pub fn with(&self, part: ShadowPart) -> Self {
        Self { part, ..self.clone() }
    }
}

/// What hears every reply and message of shadows with one subscription: of the classic shadow, or of all
/// named ones. Requests are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShadowFilter {
    /// Whose shadows; none for every thing's.
    pub thing: Option<ThingName>,
    /// The named ones, or the classic one.
    pub named: bool,
}

impl fmt::Display for ShadowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thing = self.thing.as_ref().map_or("+", ThingName::as_str);
        let rest = if self.named { "name/+/+/+" } else { "+/+" };
        write!(f, "$aws/things/{thing}/shadow/{rest}")
    }
}

impl FromStr for ShadowFilter {
    type Err = TopicError;
    fn from_str(filter: &str) -> Result<Self, TopicError> {
        let expected = "$aws/things/<thing or +>/shadow/+/+, or …/shadow/name/+/+/+";
        let levels: Vec<&str> = filter.split('/').collect();
        let (thing, named) = match levels.as_slice() {
            ["$aws", "things", thing, "shadow", "+", "+"] => (*thing, false),
            ["$aws", "things", thing, "shadow", "name", "+", "+", "+"] => (*thing, true),
            _ => return Err(TopicError::Shape { expected }),
        };
        let thing = if thing == "+" { None } else { Some(ThingName::new(thing)?) };
        Ok(Self { thing, named })
    }
}

impl FromStr for ShadowTopic {
    type Err = TopicError;
    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let shape = || TopicError::Shape {
            expected: "$aws/things/<thing>/shadow[/name/<name>]/get, …/update, …/delete and their replies",
        };
        let levels: Vec<&str> = topic.split('/').collect();
        let (thing, name, rest) = match levels.as_slice() {
            ["$aws", "things", thing, "shadow", "name", name, rest @ ..] => (thing, Some(name), rest),
            ["$aws", "things", thing, "shadow", rest @ ..] => (thing, None, rest),
            _ => return Err(shape()),
        };
        let (operation, part) = match rest {
            [operation] => (*operation, None),
            [operation, part] => (*operation, Some(*part)),
            _ => return Err(shape()),
        };
        let operation = match operation {
            "get" => ShadowOperation::Get,
            "update" => ShadowOperation::Update,
            "delete" => ShadowOperation::Delete,
            _ => return Err(shape()),
        };
        let part = match (part, operation) {
            (None, _) => ShadowPart::Request,
            (Some("accepted"), _) => ShadowPart::Accepted,
            (Some("rejected"), _) => ShadowPart::Rejected,
            (Some("delta"), ShadowOperation::Update) => ShadowPart::Delta,
            (Some("documents"), ShadowOperation::Update) => ShadowPart::Documents,
            _ => return Err(shape()),
        };
        let name = name.map(|name| ShadowName::new(name)).transpose()?;
        Ok(Self { shadow: ShadowId { thing: ThingName::new(thing)?, name }, operation, part })
    }
}

impl fmt::Display for ShadowTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$aws/things/{}/shadow", self.shadow.thing)?;
        if let Some(name) = &self.shadow.name {
            write!(f, "/name/{name}")?;
        }
        f.write_str(match self.operation {
            ShadowOperation::Get => "/get",
            ShadowOperation::Update => "/update",
            ShadowOperation::Delete => "/delete",
        })?;
        f.write_str(match self.part {
            ShadowPart::Request => "",
            ShadowPart::Accepted => "/accepted",
            ShadowPart::Rejected => "/rejected",
            ShadowPart::Delta => "/delta",
            ShadowPart::Documents => "/documents",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_as_they_were() {
        for topic in [
            "$aws/things/press-4/shadow/get",
            "$aws/things/press-4/shadow/get/accepted",
            "$aws/things/press-4/shadow/update/delta",
            "$aws/things/press-4/shadow/update/documents",
            "$aws/things/press-4/shadow/delete/rejected",
            "$aws/things/a:b/shadow/name/config/update",
            "$aws/things/a/shadow/name/$x/get/rejected",
            "$aws/things/name/shadow/name/name/get",
        ] {
            assert_eq!(topic.parse::<ShadowTopic>().unwrap().to_string(), topic);
        }
    }

    #[test]
    fn a_filter_hears_what_is_said_and_no_request() {
        let thing = Some(ThingName::new("a").unwrap());
        for (named, prefix) in [(false, "$aws/things/a/shadow"), (true, "$aws/things/a/shadow/name/x")] {
            for filter in [ShadowFilter { thing: thing.clone(), named }, ShadowFilter { thing: None, named }]
            {
                assert_eq!(filter.to_string().parse::<ShadowFilter>().unwrap(), filter);
                let filter = filter.to_string();
                let hears = |rest: &str| crate::topic_matches(&filter, &format!("{prefix}/{rest}"));
                for said in ["get/accepted", "update/rejected", "update/documents", "delete/accepted"] {
                    assert!(hears(said), "{filter} {said}");
                }
                for asked in ["get", "update", "delete"] {
                    assert!(!hears(asked), "{filter} {asked}");
                }
            }
        }
    }

    #[test]
    fn other_topics_are_none() {
        for topic in [
            "$aws/things/a/shadow",
            "$aws/things/a/shadow/",
            "$aws/things/a/shadow/name/get",
            "$aws/things/a/shadow/get/delta",
            "$aws/things/a/shadow/update/delta/x",
            "$aws/things/a.b/shadow/get",
            "$aws/things//shadow/get",
            "$aws/things/a/shadow/name/x y/get",
            "$aws/things/a/jobs/get",
            "aws/things/a/shadow/get",
        ] {
            assert!(topic.parse::<ShadowTopic>().is_err(), "{topic}");
        }
        let long = format!("$aws/things/a/shadow/name/{}/get", "x".repeat(65));
        assert!(long.parse::<ShadowTopic>().is_err());
    }

    #[test]
    fn a_shadow_is_called_as_aws_calls_it() {
        let topic: ShadowTopic = "$aws/things/a/shadow/name/b/get".parse().unwrap();
        assert_eq!(topic.shadow.to_string(), "a~b");
        assert_eq!(topic.with(ShadowPart::Accepted).to_string(), "$aws/things/a/shadow/name/b/get/accepted");
    }
}

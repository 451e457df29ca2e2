use crate::{Action, Variables};

/// The region in ARNs of a site's own making.
pub const REGION: &str = "local";
/// The account in ARNs of a site's own making.
pub const ACCOUNT: &str = "000000000000";

/// One question: may this be done?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is to be done.
    pub action: Action,
    /// On what.
    pub resource: Resource<'a>,
    /// By whom.
    pub variables: &'a Variables,
}

/// What something is to be done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// The client with this identifier.
    Client(&'a str),
    /// A topic.
    Topic(&'a str),
    /// A topic filter as a client sends it.
    TopicFilter(&'a str),
    /// A thing or one of its shadows.
    Thing {
        /// The thing's name.
        thing: &'a str,
        /// The name of the shadow; none for the classic one and for the thing itself.
        shadow: Option<&'a str>,
    },
    /// All retained messages. At AWS `iot:ListRetainedMessages` has no resource but `*`.
    RetainedMessages,
}

impl Resource<'_> {
    /// The last part of its ARN.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Client(id) => format!("client/{id}"),
            Self::Topic(topic) => format!("topic/{topic}"),
            Self::TopicFilter(filter) => format!("topicfilter/{filter}"),
            Self::Thing { thing, shadow: None } => format!("thing/{thing}"),
            Self::Thing { thing, shadow: Some(shadow) } => format!("thing/{thing}/{shadow}"),
            Self::RetainedMessages => "retainedmessage".to_owned(),
        }
    }

    /// Its ARN on site, for logs and errors.
    pub fn arn(&self) -> String {
        format!("arn:aws:iot:{REGION}:{ACCOUNT}:{}", self.name())
    }
}

/// What the documents say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitlyDenied,
    /// No statement says anything.
    NotAllowed,
}

impl Decision {
    /// Whether it may be done.
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

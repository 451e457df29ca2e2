/// Why a policy document is refused. The texts name what is wrong and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is longer than [`crate::PARSED_BYTES_MAX`], white space included.
    #[error("the policy document is longer than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// No JSON, a key that is not known or stands twice, or a value of another kind.
    #[error("the text is no policy document")]
    Json(#[from] serde_json::Error),
    /// Another language version.
    #[error("Version is {found:?}; it must be \"2012-10-17\"")]
    Version {
        /// What stands there.
        found: String,
    },
    /// A list that must say something is empty.
    #[error("{what} is empty")]
    Empty {
        /// `Statement`, `Action`, `Resource` or a part of `Condition`.
        what: &'static str,
    },
    /// Neither `*` nor `<service>:<action>`.
    #[error("{action:?} is no action; it must be * or like iot:Publish")]
    Action {
        /// The text.
        action: String,
    },
    /// An action of AWS IoT's data plane that does not exist: probably misspelt.
    #[error(
        "no action matches {action:?}; known are iot:Connect, iot:Publish, iot:Subscribe, iot:Receive and so on"
    )]
    UnknownAction {
        /// The text.
        action: String,
    },
    /// Not an ARN of AWS IoT.
    #[error(
        "{resource:?} is no resource; it must be * or like arn:aws:iot:<region>:<account>:topic/<topic> \
         (topic, topicfilter, client, thing)"
    )]
    Resource {
        /// The text.
        resource: String,
    },
    /// `${` without an end, or a variable that this engine gives no value.
    #[error("{text:?} holds a variable that is not known here")]
    Variable {
        /// The text around it.
        text: String,
    },
    /// A condition whose key has no value here.
    #[error("Condition on {key:?} is not supported")]
    ConditionKey {
        /// The key.
        key: String,
    },
    /// A value that the operator cannot compare with.
    #[error("{value:?} is no value for the condition {operator}")]
    ConditionValue {
        /// The operator, such as `IpAddress`.
        operator: &'static str,
        /// The value.
        value: String,
    },
}

//! One execution of a command, what is asked for, and what a device answers.

use fieldline_model::{CommandName, CommandStatus, ExecutionId, ThingName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest reason code, in bytes, as AWS IoT has it.
const REASON_CODE_BYTES_MAX: usize = 64;
/// The longest reason in words, in bytes, as AWS IoT has it.
const REASON_DESCRIPTION_BYTES_MAX: usize = 1024;

/// The largest response, in bytes; as large as the parameters may be.
const RESPONSE_BYTES_MAX: usize = 32 * 1024;

/// A command on its way to one thing, and how far it has come. As JSON it is both what the API says
/// and what is stored; times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) id: ExecutionId,
    pub(crate) thing: ThingName,
    pub(crate) command: CommandName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<Value>,
    pub(crate) status: CommandStatus,
    /// Nothing changes it any more. Not so for one that the server has timed out: as at AWS IoT the
    /// device may still say how it ended.
    pub(crate) settled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<StatusReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    pub(crate) created: i64,
    /// Until then it is delivered, and an end is waited for.
    pub(crate) expires: i64,
    /// When the status was last set.
    pub(crate) updated: i64,
}

/// Why a status is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusReason {
    pub(crate) reason_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason_description: Option<String>,
}

/// A command to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) thing: ThingName,
    pub(crate) command: CommandName,
    pub(crate) parameters: Option<Value>,
    pub(crate) timeout_ms: i64,
    /// The same order has the same id however often it is given; none: each time it is another.
    pub(crate) id: Option<ExecutionId>,
}

/// What a device answers. Unknown keys are left alone: AWS's clients send the execution's id and
/// their own once more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response {
    pub(crate) status: CommandStatus,
    #[serde(default)]
    pub(crate) status_reason: Option<StatusReason>,
    #[serde(default)]
    pub(crate) result: Option<Value>,
}

impl Response {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, ResponseError> {
        if payload.len() > RESPONSE_BYTES_MAX {
            let detail = format!("it has {} bytes; {RESPONSE_BYTES_MAX} are taken at most", payload.len());
            return Err(ResponseError::Request(detail));
        }
        let value: Value =
            serde_json::from_slice(payload).map_err(|error| ResponseError::Json(error.to_string()))?;
        let response: Self =
            serde_json::from_value(value).map_err(|error| ResponseError::Request(error.to_string()))?;
        if matches!(response.status, CommandStatus::Created | CommandStatus::Canceled) {
            return Err(ResponseError::Request(format!("a device does not set {}", response.status)));
        }
        if let Some(reason) = &response.status_reason {
            let bytes = reason.reason_code.len();
            if !(1..=REASON_CODE_BYTES_MAX).contains(&bytes) {
                let detail = format!("reasonCode has {bytes} bytes; 1 to {REASON_CODE_BYTES_MAX} are taken");
                return Err(ResponseError::Request(detail));
            }
            let bytes = reason.reason_description.as_ref().map_or(0, String::len);
            if bytes > REASON_DESCRIPTION_BYTES_MAX {
                let detail = format!(
                    "reasonDescription has {bytes} bytes; {REASON_DESCRIPTION_BYTES_MAX} are taken at most"
                );
                return Err(ResponseError::Request(detail));
            }
        }
        Ok(response)
    }
}

/// Why a response is refused; the codes are those of AWS IoT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("the payload is not JSON: {0}")]
    Json(String),
    #[error("the payload is no response: {0}")]
    Request(String),
    #[error("this thing has no execution {0}")]
    NoSuch(ExecutionId),
    #[error("an execution that is {from} does not become {to}")]
    Transition { from: CommandStatus, to: CommandStatus },
    #[error("the execution is {0} for good")]
    Terminal(CommandStatus),
    #[error("the response could not be stored; send it again")]
    Internal,
}

impl ResponseError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "InvalidJson",
            Self::Request(_) => "InvalidRequest",
            Self::NoSuch(_) => "ResourceNotFound",
            Self::Transition { .. } => "InvalidStateTransition",
            Self::Terminal(_) => "TerminalStateReached",
            Self::Internal => "InternalError",
        }
    }
}

impl Execution {
    /// What the device is sent.
    pub(crate) fn request(&self) -> Value {
        let mut request = serde_json::json!({ "command": self.command, "expires": self.expires });
        if let Some(parameters) = &self.parameters {
            request["parameters"] = parameters.clone();
        }
        request
    }

    /// Roughly what it costs in memory and in the store.
    pub(crate) fn size_bytes(&self) -> usize {
        /// The fields of fixed size, their names, and the places in the indexes.
        const FIXED: usize = 512;
        let json = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.to_string().len());
        json(&self.parameters) + json(&self.result) + self.command.as_str().len() + FIXED
    }

    /// Nobody has answered in time.
    pub(super) fn time_out(&self, now: i64) -> Self {
        let reason = StatusReason {
            reason_code: "$NO_RESPONSE_FROM_DEVICE".to_owned(),
            reason_description: Some(match self.status {
                CommandStatus::InProgress => "the device began, and has not reported an end".to_owned(),
                _ => "the device has not answered".to_owned(),
            }),
        };
        let status = CommandStatus::TimedOut;
        Self { status, settled: false, reason: Some(reason), updated: now, ..self.clone() }
    }

    /// What becomes of it when the device says `response`; none where nothing changes, since it said so
    /// before.
    pub(super) fn answered(&self, response: Response, now: i64) -> Result<Option<Self>, ResponseError> {
        let (from, to) = (self.status, response.status);
        if self.settled {
            return match to {
                _ if to == from => Ok(None),
                CommandStatus::InProgress => Err(ResponseError::Transition { from, to }),
                _ => Err(ResponseError::Terminal(from)),
            };
        }
        if from == CommandStatus::TimedOut && !to.is_end() {
            return Err(ResponseError::Transition { from, to });
        }
        Ok(Some(Self {
            status: to,
            settled: to.is_end(),
            reason: response.status_reason,
            result: response.result,
            updated: now,
            ..self.clone()
        }))
    }

    /// Taken back; none when it has ended.
    pub(super) fn canceled(&self, now: i64) -> Option<Self> {
        let status = CommandStatus::Canceled;
        (!self.status.is_end()).then(|| Self {
            status,
            settled: true,
            reason: None,
            result: None,
            updated: now,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn responses_are_read_as_aws_has_them() {
        let good = json!({
            "executionId": "x", "deviceType": "things", "deviceId": "press-4", "status": "FAILED",
            "statusReason": { "reasonCode": "JAMMED", "reasonDescription": "a sheet is stuck" },
            "result": { "sheets": { "s": "1" } },
        });
        let response = Response::parse(good.to_string().as_bytes()).unwrap();
        assert_eq!(response.status, CommandStatus::Failed);
        assert_eq!(response.status_reason.unwrap().reason_code, "JAMMED");
        let reason = |code: usize, words: usize| {
            json!({ "status": "FAILED", "statusReason": {
                "reasonCode": "x".repeat(code), "reasonDescription": "x".repeat(words) } })
            .to_string()
        };
        assert!(Response::parse(reason(64, 1024).as_bytes()).is_ok());
        let bytes = |count: usize| format!("{:count$}", r#"{"status": "FAILED"}"#);
        assert!(Response::parse(bytes(32 * 1024).as_bytes()).is_ok());
        let table = [
            (&*bytes(32 * 1024 + 1), "InvalidRequest"),
            ("{", "InvalidJson"),
            ("\u{fffd}", "InvalidJson"),
            ("[]", "InvalidRequest"),
            ("{}", "InvalidRequest"),
            (r#"{"status": "CREATED"}"#, "InvalidRequest"),
            (r#"{"status": "CANCELED"}"#, "InvalidRequest"),
            (r#"{"status": "done"}"#, "InvalidRequest"),
            (r#"{"status": "FAILED", "statusReason": "words"}"#, "InvalidRequest"),
            (&reason(0, 0), "InvalidRequest"),
            (&reason(65, 0), "InvalidRequest"),
            (&reason(1, 1025), "InvalidRequest"),
        ];
        for (payload, code) in table {
            assert_eq!(Response::parse(payload.as_bytes()).unwrap_err().code(), code, "{payload}");
        }
    }
}

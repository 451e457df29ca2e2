//! Errors as Timestream words them.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    rejected: Option<Vec<Value>>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: String) -> Self {
        Self { status, code, message, rejected: None }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message.into())
    }

    pub(super) fn missing(what: &str) -> Self {
        Self::new(404, "ResourceNotFoundException", format!("The {what} does not exist."))
    }

    pub(super) fn conflict(what: &str) -> Self {
        Self::new(409, "ConflictException", format!("The {what} already exists."))
    }

    pub(super) fn throttled() -> Self {
        Self::new(429, "ThrottlingException", "Your request was throttled.".to_owned())
    }

    pub(super) fn serialization(message: &str) -> Self {
        Self::new(400, "SerializationException", message.to_owned())
    }

    /// Status 419 is what the service really uses.
    pub(super) fn rejected(records: Vec<Value>) -> Self {
        let message = "One or more records have been rejected. See RejectedRecords for details.".to_owned();
        Self { status: 419, code: "RejectedRecordsException", message, rejected: Some(records) }
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    pub(super) fn body(&self) -> Value {
        let kind = format!("com.amazonaws.timestream.v20181101#{}", self.code);
        let mut body = json!({ "__type": kind, "Message": self.message, "message": self.message });
        if let (Some(rejected), Some(fields)) = (&self.rejected, body.as_object_mut()) {
            fields.insert("RejectedRecords".to_owned(), json!(rejected));
        }
        body
    }
}

//! Why a request is refused, in AWS's words.

use serde_json::{Value, json};

/// A refusal. Its text is the `message` of AWS IoT's error document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The payload is no JSON object.
    #[error("Invalid JSON")]
    Json,
    /// The payload is no UTF-8.
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    Encoding,
    /// An update without `state`.
    #[error("Missing required node: state")]
    NoState,
    /// `state` is neither an object nor null.
    #[error("State node must be an object")]
    State,
    /// `desired` is neither an object nor null.
    #[error("Desired node must be an object")]
    Desired,
    /// `reported` is neither an object nor null.
    #[error("Reported node must be an object")]
    Reported,
    /// `state` has other keys, or an array holds a null.
    #[error("State contains an invalid node")]
    Node,
    /// `version` is no whole number of at least 0.
    #[error("Invalid version")]
    Version,
    /// `clientToken` is no text, or longer than 64 bytes.
    #[error("Invalid clientToken")]
    ClientToken,
    /// Nested too deeply.
    #[error("JSON contains too many levels of nesting; maximum is 8")]
    Depth,
    /// There is no such shadow.
    #[error("No shadow exists with name: '{name}'")]
    NotFound {
        /// The thing's name for its classic shadow, or both.
        name: String,
    },
    /// The request's version is not the stored one.
    #[error("Version conflict")]
    Conflict,
    /// The document would be larger than a shadow may be.
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge,
    /// The thing has as many named shadows as it may have. AWS IoT has no such limit that we know of.
    #[error("The thing has too many named shadows")]
    Crowded,
    /// Too many requests are under way.
    #[error("The Device Shadow service has detected too many in-flight requests")]
    Throttled,
    /// Something failed on our side.
    #[error("Internal service failure")]
    Internal,
}

impl Error {
    /// The code of the error document, and the status of the HTTP answer.
    pub fn code(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Encoding => 415,
            Self::Throttled => 429,
            Self::Internal => 500,
            _ => 400,
        }
    }

    /// The exception that AWS's SDKs make of it.
    pub fn exception(&self) -> &'static str {
        match self.code() {
            404 => "ResourceNotFoundException",
            409 => "ConflictException",
            413 => "RequestEntityTooLargeException",
            415 => "UnsupportedDocumentEncodingException",
            429 => "ThrottlingException",
            500 => "InternalFailureException",
            _ => "InvalidRequestException",
        }
    }

    /// The error document of a `…/rejected` message: `{code, message, timestamp, clientToken?}`; `now_s` in
    /// seconds since the epoch.
    pub fn document(&self, now_s: i64, client_token: Option<&str>) -> Value {
        let mut document = json!({ "code": self.code(), "message": self.to_string(), "timestamp": now_s });
        if let Some(token) = client_token {
            document["clientToken"] = json!(token);
        }
        document
    }
}

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An error as RFC 9457 has it: a problem document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What kind of problem; the same for every one of its kind.
    pub title: &'static str,
    /// What is wrong this time, and what would be right.
    pub detail: String,
}

impl Problem {
    /// A problem with its status, kind and explanation.
    pub fn new(status: StatusCode, title: &'static str, detail: String) -> Self {
        Self { status, title, detail }
    }

    pub(crate) fn bad_request(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the request cannot be answered", detail)
    }

    pub(crate) fn not_found(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// The store failed: the cause is for the log, not for the client.
    pub(crate) fn store(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a query failed");
        let detail = "the store cannot be read at the moment; the server's log says why".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the store failed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "title": self.title, "status": self.status.as_u16(), "detail": self.detail,
        });
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

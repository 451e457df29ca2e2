//! The HTTP client of the commands: one request, one JSON answer.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// An answer larger than this is refused, so that a wrong address cannot fill the memory.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// From the request to the whole answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why the server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not an HTTP address.
    #[error("{0:?} is not an address such as http://127.0.0.1:8080")]
    Address(String),
    /// Nobody listens there.
    #[error("no server answers at {0}; start one with `fieldline up`, or name another with --server")]
    Unreachable(String),
    /// The server took too long or broke off.
    #[error("the server at {0} broke off or took longer than a minute")]
    Interrupted(String),
    /// The server says no, with its reason.
    #[error("{detail}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// What it says.
        detail: String,
    },
    /// The answer is not JSON: something else listens there.
    #[error("what listens at {0} is not a Fieldline server")]
    Stranger(String),
}

/// A server's HTTP API.
#[derive(Debug)]
pub struct Api {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    /// The API at `base`, for instance `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") || base.parse::<axum::http::Uri>().is_err() {
            return Err(ClientError::Address(base));
        }
        Ok(Self { base, client: Client::builder(TokioExecutor::new()).build_http() })
    }

    /// Asks for `path` (with its query) and returns the JSON answer as text.
    ///
    /// # Errors
    /// [`ClientError`], in words for the user.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.exchange(Method::GET, path, &[], Bytes::new()).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<String, ClientError> {
        let uri = format!("{}{path}", self.base);
        let request =
            Request::builder().method(method).uri(&uri).header(header::CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::new(body)).map_err(|_invalid| ClientError::Address(uri))?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|_| ClientError::Unreachable(self.base.clone()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|_| ClientError::Interrupted(self.base.clone()))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| ClientError::Interrupted(self.base.clone()))??;
        let text = String::from_utf8(body.to_vec()).map_err(|_| ClientError::Stranger(self.base.clone()))?;
        if status.is_success() { Ok(text) } else { Err(self.refusal(status, &text)) }
    }

    /// Sends a JSON body, none where it is null, and returns the JSON answer; null for an empty one.
    ///
    /// # Errors
    /// [`ClientError`], in words for the user.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send_with(method, path, &[], body).await
    }

    /// As [`Api::send`], with headers.
    ///
    /// # Errors
    /// [`ClientError`], in words for the user.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, ClientError> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let text = self.exchange(method, path, headers, body).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|_| ClientError::Stranger(self.base.clone()))
    }

    /// As [`Api::get`], with headers.
    ///
    /// # Errors
    /// [`ClientError`], in words for the user.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.send_with(Method::GET, path, headers, &Value::Null).await
    }

    /// As [`Api::get_text`], read as JSON.
    ///
    /// # Errors
    /// [`ClientError`], in words for the user.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        let text = self.get_text(path).await?;
        serde_json::from_str(&text).map_err(|_| ClientError::Stranger(self.base.clone()))
    }

    /// The detail of a problem document, or the message of an error as AWS writes it.
    fn refusal(&self, status: StatusCode, text: &str) -> ClientError {
        let problem: Option<Value> = serde_json::from_str(text).ok();
        let word =
            |key: &str| problem.as_ref().and_then(|problem| problem.get(key)?.as_str().map(str::to_owned));
        match word("detail").or_else(|| word("title")).or_else(|| word("message")) {
            Some(detail) => ClientError::Refused { status, detail },
            None => ClientError::Stranger(self.base.clone()),
        }
    }
}

/// Percent-encodes a value for a query string (RFC 3986, section 2.3: all but unreserved).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_server_is_told_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Api::new(&base).unwrap().get("/api/v1/devices").await.unwrap_err().to_string();
        assert!(error.contains(&base) && error.contains("fieldline up"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["", "127.0.0.1:8080", "ftp://x", "http://a b"] {
            assert!(Api::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn query_values_are_percent_encoded() {
        assert_eq!(encoded("cpu.usage{cpu=0} é"), "cpu.usage%7Bcpu%3D0%7D%20%C3%A9");
    }
}

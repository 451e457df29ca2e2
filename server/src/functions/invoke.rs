//! Lambda's Invoke API, as a client.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;

/// Lambda answers a synchronous call with 6 MB at most; some room for JSON's escapes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// A connection that has idled so long is not used again: the other end may have closed it.
const IDLE: Duration = Duration::from_secs(15);
/// Names the service and an account that exists nowhere: emulators of many services on one port
/// choose by the credential's scope. Nothing checks the signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// Where functions are called: `http://host:port`, possibly with a path before Lambda's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(String);

/// The text is no address of functions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// TLS is not spoken here.
    #[error(
        "\"{0}\" is https, but functions are called by plain http only: name an address on this machine \
         such as http://127.0.0.1:9000, with a proxy behind it that speaks https"
    )]
    Https(String),
    /// Not an address at all.
    #[error("\"{0}\" is not an address such as http://127.0.0.1:9000")]
    Address(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Address(text.to_owned());
        let base = text.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_invalid| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Https(text.to_owned())),
            _ => return Err(wrong()),
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || uri.query().is_some() || base.contains('@') {
            return Err(wrong());
        }
        Ok(Self(base.to_owned()))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;
    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a call came to nothing, as far as this side can know: it may have been worked all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// Nobody answers there, or the connection broke.
    #[error("no answer from {endpoint}; do the functions run there?")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What the client said.
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off.
    #[error("the answer of function {function} broke off")]
    Broken {
        /// Which function.
        function: &'static str,
        /// What was said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("no answer from function {function} within {within:?}")]
    Slow {
        /// Which function.
        function: &'static str,
        /// How long it was given.
        within: Duration,
    },
    /// The answer is larger than Lambda's may be.
    #[error("the answer of function {function} is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge {
        /// Which function.
        function: &'static str,
    },
    /// The Invoke API says no.
    #[error("function {function} was not invoked: status {status}: {said}")]
    Refused {
        /// Which function.
        function: &'static str,
        /// The status.
        status: StatusCode,
        /// The beginning of what was said.
        said: String,
    },
    /// The function itself failed (`X-Amz-Function-Error`).
    #[error("function {function} failed ({kind}): {said}")]
    Function {
        /// Which function.
        function: &'static str,
        /// `Handled` or `Unhandled`.
        kind: String,
        /// The beginning of what was said.
        said: String,
    },
}

impl InvokeError {
    /// Whether the same call may succeed a moment later. A function that does not exist, a request
    /// that is too large or not allowed: these need a person.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Slow { .. } | Self::Function { .. } => {
                true
            }
            Self::TooLarge { .. } => false,
        }
    }
}

/// Whether the caller waits for the function's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Lambda has the event, and works it in its own time.
    Event,
    /// The answer is the function's.
    RequestResponse,
}

/// Calls functions. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Invoker {
    endpoint: Endpoint,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Invoker {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { endpoint, client }
    }

    /// Hands an event over; returns when it has been taken (202, or 200 where an emulator works it
    /// at once).
    pub(crate) async fn event(
        &self,
        function: &'static str,
        body: Bytes,
        within: Duration,
    ) -> Result<(), InvokeError> {
        self.call(function, body, Mode::Event, within).await.map(drop)
    }

    /// Calls a function and gives what it returns.
    pub(crate) async fn request(
        &self,
        function: &'static str,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, InvokeError> {
        self.call(function, body, Mode::RequestResponse, within).await
    }

    async fn call(
        &self,
        function: &'static str,
        body: Bytes,
        mode: Mode,
        within: Duration,
    ) -> Result<Bytes, InvokeError> {
        let exchange = self.exchange(function, body, mode);
        let (status, headers, body) = tokio::time::timeout(within, exchange)
            .await
            .map_err(|_elapsed| InvokeError::Slow { function, within })??;
        if !matches!(status, StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(InvokeError::Refused { function, status, said: beginning(&body) });
        }
        if let Some(kind) = headers.get("x-amz-function-error") {
            let kind = String::from_utf8_lossy(kind.as_bytes()).into_owned();
            return Err(InvokeError::Function { function, kind, said: beginning(&body) });
        }
        Ok(body)
    }

    async fn exchange(
        &self,
        function: &'static str,
        body: Bytes,
        mode: Mode,
    ) -> Result<(StatusCode, HeaderMap, Bytes), InvokeError> {
        let mode = match mode {
            Mode::Event => "Event",
            Mode::RequestResponse => "RequestResponse",
        };
        let request = Request::post(format!("{}/2015-03-31/functions/{function}/invocations", self.endpoint))
            .header("x-amz-invocation-type", mode)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, AUTHORIZATION)
            .body(Full::new(body))
            .expect("the endpoint and the names of our functions make a URL");
        let unreachable = |source| InvokeError::Unreachable { endpoint: self.endpoint.clone(), source };
        let (head, body) = self.client.request(request).await.map_err(unreachable)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|source| {
            if source.is::<LengthLimitError>() {
                InvokeError::TooLarge { function }
            } else {
                InvokeError::Broken { function, source }
            }
        })?;
        Ok((head.status, head.headers, body.to_bytes()))
    }
}

/// Enough of an answer to know it by.
fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 300;
    String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_plain_http() {
        for (text, kept) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://localhost:4566/", "http://localhost:4566"),
            ("http://[::1]:9000/prefix/", "http://[::1]:9000/prefix"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), kept);
        }
        for wrong in ["", "127.0.0.1:9000", "ftp://x", "http://", "http://x?y", "http://a b", "http://u@x"] {
            assert!(matches!(wrong.parse::<Endpoint>(), Err(EndpointError::Address(_))), "{wrong}");
        }
        let error = "https://lambda.eu-west-1.amazonaws.com".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("plain http only"), "{error}");
    }

    #[test]
    fn what_needs_a_person_is_not_tried_again() {
        let refused = |status: u16| InvokeError::Refused {
            function: "ingest",
            status: StatusCode::from_u16(status).unwrap(),
            said: String::new(),
        };
        for (status, passes) in
            [(500, true), (503, true), (429, true), (408, true), (404, false), (413, false), (403, false)]
        {
            assert_eq!(refused(status).passes(), passes, "{status}");
        }
    }
}

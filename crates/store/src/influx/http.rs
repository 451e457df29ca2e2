//! Requests to the database, tried again within bounds.

use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::config::{InfluxConfig, InfluxConfigError, InfluxDialect};
use crate::StoreError;

/// Connections that nobody uses are closed after this.
const IDLE: Duration = Duration::from_secs(30);
/// What is kept of an error's text.
const MESSAGE_CHARS_MAX: usize = 400;

type Connector = HttpsConnector<HttpConnector>;

/// A client for one database.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    config: InfluxConfig,
    authorization: Option<HeaderValue>,
}

/// A request that may be sent again.
#[derive(Debug)]
pub(super) struct Call {
    /// Behind the URL, with the query.
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) gzip: bool,
    pub(super) body: Bytes,
}

/// An answer that is neither a passing failure nor a refusal of the caller as a whole.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("no connection, or it broke")]
    Connection(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    #[error("it answers {status}: {message}{}", if hint.is_empty() { String::new() } else { format!("; {hint}") })]
    Status { status: StatusCode, message: String, hint: String },
    #[error("cannot make the request")]
    Request(#[from] hyper::http::Error),
    #[error("it says: {message}{}", if hint.is_empty() { String::new() } else { format!("; {hint}") })]
    Said { message: String, hint: String },
    #[error("the answer makes no sense: {0}")]
    Senseless(String),
}

impl Http {
    pub(super) fn new(config: InfluxConfig) -> Result<Self, InfluxConfigError> {
        config.check()?;
        let authorization = authorization(&config)?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(InfluxConfigError::Certificates)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, config, authorization })
    }

    pub(super) fn config(&self) -> &InfluxConfig {
        &self.config
    }

    /// Sends a request until it is answered, or the attempts are used up. Answers 2xx, and those that
    /// speak of the request's contents (400, 413, 422), come back as they are.
    pub(super) async fn call(&self, call: &Call) -> Result<Reply, StoreError> {
        let mut pause = self.config.backoff_first;
        let mut attempt = 1;
        loop {
            let (failure, wanted) = match self.attempt(call).await {
                Ok(answer) => match self.judge(answer) {
                    Verdict::Answer(reply) => return Ok(reply),
                    Verdict::Refusal(failure) => return Err(self.rejected(failure)),
                    Verdict::Passing(failure, wanted) => (failure, wanted),
                },
                Err(failure @ (Failure::TooLong(_) | Failure::Request(_))) => {
                    return Err(self.rejected(failure));
                }
                Err(failure) => (failure, None),
            };
            if attempt >= self.config.attempts_max {
                return Err(self.unavailable(failure));
            }
            tracing::debug!(attempt, error = %failure, "the database does not do it now; once more");
            let wait = wanted.map_or_else(|| jittered(pause), |wanted| wanted.max(jittered(pause)));
            tokio::time::sleep(wait.min(self.config.backoff_max)).await;
            pause = pause.saturating_mul(2).min(self.config.backoff_max);
            attempt += 1;
        }
    }

    pub(super) fn rejected(&self, failure: Failure) -> StoreError {
        StoreError::Rejected { service: self.config.dialect.service(), source: Box::new(failure) }
    }

    pub(super) fn unavailable(&self, failure: Failure) -> StoreError {
        StoreError::Unavailable { service: self.config.dialect.service(), source: Box::new(failure) }
    }

    /// The text of an error, short and without the token.
    pub(super) fn message(&self, body: &[u8]) -> String {
        let json = serde_json::from_slice::<serde_json::Value>(body).ok();
        let named = json.as_ref().and_then(|json| {
            ["error", "message"].iter().find_map(|name| json.get(name)?.as_str().map(str::to_owned))
        });
        let message = named.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        let secret = self.config.token.secret();
        let message = if secret.is_empty() { message } else { message.replace(secret, "…") };
        message.chars().take(MESSAGE_CHARS_MAX).collect()
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Failure> {
        let patience = self.config.request_timeout;
        let sent = tokio::time::timeout(patience, self.exchange(call)).await;
        sent.unwrap_or(Err(Failure::Silent(patience)))
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Failure> {
        let response = self.client.request(self.request(call)?).await.map_err(Failure::Connection)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let bytes_max = self.config.answer_bytes_max;
        let body = Limited::new(response.into_body(), bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Failure::TooLong(bytes_max) } else { Failure::Body(error) }
        })?;
        Ok(Answer { reply: Reply { status, body: body.to_bytes() }, retry_after })
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Failure> {
        let uri = format!("{}{}", self.config.url.trim_end_matches('/'), call.path);
        let mut request =
            Request::builder().method(Method::POST).uri(uri).header(CONTENT_TYPE, call.content_type);
        if call.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.body(Full::new(call.body.clone()))?)
    }

    fn judge(&self, answer: Answer) -> Verdict {
        let Answer { reply, retry_after } = answer;
        let status = reply.status;
        if status.is_success() || matches!(status.as_u16(), 400 | 413 | 422) {
            return Verdict::Answer(reply);
        }
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let hint = if passing { String::new() } else { self.hint(status) };
        let failure = Failure::Status { status, message: self.message(&reply.body), hint };
        if passing { Verdict::Passing(failure, retry_after) } else { Verdict::Refusal(failure) }
    }

    /// What a person can do about a refusal.
    pub(super) fn hint(&self, status: StatusCode) -> String {
        let name = &self.config.database;
        match (status.as_u16(), self.config.dialect) {
            (401, _) => "give a token (or user:password) that the database knows".to_owned(),
            (403, _) => format!("let the token read and write {name:?}"),
            (404, InfluxDialect::V1) => format!("create it with CREATE DATABASE {name:?}, or check the URL"),
            (404, InfluxDialect::V2) => {
                format!("create the bucket {name:?} (and its mapping for queries), or check the URL")
            }
            (404, InfluxDialect::V3) => format!("create the database {name:?}, or check the URL"),
            _ => "check the URL and the dialect".to_owned(),
        }
    }
}

struct Answer {
    reply: Reply,
    retry_after: Option<Duration>,
}

enum Verdict {
    Answer(Reply),
    /// Not now; perhaps the server says when.
    Passing(Failure, Option<Duration>),
    Refusal(Failure),
}

fn authorization(config: &InfluxConfig) -> Result<Option<HeaderValue>, InfluxConfigError> {
    let secret = config.token.secret();
    if secret.is_empty() {
        return Ok(None);
    }
    let text = match config.dialect {
        InfluxDialect::V2 | InfluxDialect::V3 => format!("Token {secret}"),
        InfluxDialect::V1 | InfluxDialect::VictoriaMetrics if secret.contains(':') => {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(secret))
        }
        InfluxDialect::V1 | InfluxDialect::VictoriaMetrics => format!("Bearer {secret}"),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| InfluxConfigError::Token)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Between a half and the whole of a pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    if getrandom::fill(&mut byte).is_err() {
        return pause;
    }
    pause.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}

/// Percent-encodes a value of a query or a form.
pub(super) fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => {
                out.push('%');
                out.push(char::from(HEX[usize::from(other >> 4)]));
                out.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
}

//! A URL that is told.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::connect::{Guarded, Refused};
use crate::rate::Limit;
use crate::{ConfigError, Outside, Rate, Secret, Undelivered, signature};

/// The header with the notification's id.
const ID: &str = "idempotency-key";
/// The header with the signature.
const SIGNATURE: &str = "fieldline-signature";

/// Where and how a webhook is told.
#[derive(Clone)]
pub struct WebhookConfig {
    /// `https://…` or `http://…`. It may be a secret itself: no log names more than its host.
    pub url: String,
    /// Signs what is sent.
    pub secret: Option<Secret>,
    /// Addresses that are not public are allowed too.
    pub allow_private: bool,
    /// How much.
    pub rate: Option<Rate>,
    /// How often one notification is tried in one go, 1 at least.
    pub tries: u32,
    /// For the whole of one exchange: name, connection, TLS, request and the answer's head.
    pub timeout: Duration,
    /// The longest wait after the first failure; it doubles with each.
    pub backoff_first: Duration,
    /// The longest wait, also when the receiver wants a longer one (`Retry-After`).
    pub backoff_max: Duration,
}

impl WebhookConfig {
    /// Three tries of 10 s, up to 1 s and then 2 s apart (60 s where the receiver wants it); no secret, no rate.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secret: None,
            allow_private: false,
            rate: None,
            tries: 3,
            timeout: Duration::from_secs(10),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }

    /// Looks for what is wrong with it, without network.
    ///
    /// # Errors
    /// The URL or the rate is none.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.uri()?;
        self.rate.map_or(Ok(()), Rate::check)
    }

    fn uri(&self) -> Result<Uri, ConfigError> {
        let uri: Uri = self.url.parse().map_err(|_| ConfigError::Url)?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = !self.url.contains('#') && uri.authority().is_some_and(|it| !it.as_str().contains('@'));
        let named = uri.host().is_some_and(|host| !host.is_empty());
        if known && plain && named { Ok(uri) } else { Err(ConfigError::Url) }
    }
}

/// Without the URL's path, which is a secret with some receivers.
impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.uri().ok().and_then(|uri| Some(uri.authority()?.to_string()));
        f.debug_struct("WebhookConfig")
            .field("host", &host)
            .field("signed", &self.secret.is_some())
            .field("allow_private", &self.allow_private)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// A URL that is told. One client, no connection that is kept.
pub struct Webhook {
    client: Client<HttpsConnector<Guarded>, Full<Bytes>>,
    uri: Uri,
    config: WebhookConfig,
    outside: Outside,
    limit: Limit,
}

impl Webhook {
    /// Makes one ready; nothing is connected yet.
    ///
    /// # Errors
    /// The URL or the rate is none, or the machine has no certificate authorities.
    pub fn new(config: WebhookConfig, outside: Outside) -> Result<Self, ConfigError> {
        let uri = config.uri()?;
        let limit = Limit::new(config.rate)?;
        let guarded = Guarded::new(outside.clone(), config.allow_private, config.timeout / 3);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&uri)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(guarded);
        // No connection outlives its exchange: each one is checked anew, and an answer need not be read.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, uri, config, outside, limit })
    }

    /// Posts a CloudEvent in JSON under an id that stays the same however often it is sent, and tries again within
    /// bounds. Done is what a status 2xx answers; the answer's body is not read.
    ///
    /// # Errors
    /// [`Undelivered::Later`]: no connection, no answer in time, 408, 425, 429, 5xx, or more than the rate allows.
    /// [`Undelivered::Never`]: any other status, also redirects, which are not followed; an address that is not
    /// public.
    pub async fn send(&self, id: &str, body: Bytes) -> Result<(), Undelivered> {
        self.limit.take((self.outside.now)())?;
        let sent = self.tries(id, &body).await;
        self.limit.settle(&sent);
        sent
    }

    async fn tries(&self, id: &str, body: &Bytes) -> Result<(), Undelivered> {
        let mut longest = self.config.backoff_first;
        let mut tries = 1;
        loop {
            let (failure, wanted) = match self.attempt(id, body).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(undelivered)) => return Err(undelivered),
                Err(Failure::Passing(undelivered, wanted)) => (undelivered, wanted),
            };
            if tries >= self.config.tries {
                return Err(failure);
            }
            tokio::time::sleep(self.pause(wanted, longest)).await;
            longest = longest.saturating_mul(2).min(self.config.backoff_max);
            tries += 1;
        }
    }

    /// Anything up to `longest`, so that many senders do not come back at once; what the receiver wants, if that is
    /// longer; and never beyond the bound.
    fn pause(&self, wanted: Option<Duration>, longest: Duration) -> Duration {
        let jittered = longest.mul_f64((self.outside.chance)().clamp(0.0, 1.0));
        wanted.map_or(jittered, |wanted| wanted.max(jittered)).min(self.config.backoff_max)
    }

    async fn attempt(&self, id: &str, body: &Bytes) -> Result<(), Failure> {
        let request = self.request(id, body).map_err(|error| Failure::Final(Undelivered::never(error)))?;
        let patience = self.config.timeout;
        let answer = match tokio::time::timeout(patience, self.client.request(request)).await {
            Err(_) => return Err(Failure::later(format!("no answer within {patience:?}"))),
            Ok(Err(error)) if is_refused(&error) => return Err(Failure::Final(Undelivered::never(error))),
            Ok(Err(error)) => return Err(Failure::Passing(Undelivered::later(error), None)),
            Ok(Ok(answer)) => answer,
        };
        judge(&answer, (self.outside.unix_seconds)())
    }

    fn request(&self, id: &str, body: &Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header(USER_AGENT, concat!("fieldline/", env!("CARGO_PKG_VERSION")))
            .header(ID, HeaderValue::from_bytes(id.as_bytes())?);
        if let Some(secret) = &self.config.secret {
            request = request.header(SIGNATURE, signature(secret, (self.outside.unix_seconds)(), body));
        }
        request.body(Full::new(body.clone()))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "webhook {authority}")
    }
}

/// TLS with the machine's authorities, which a machine that posts to `http://` alone need not have.
fn tls(uri: &Uri) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the suites of the default versions");
    let builder = if uri.scheme_str() == Some("https") {
        builder.with_native_roots().map_err(ConfigError::Certificates)?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// How a try failed.
enum Failure {
    Final(Undelivered),
    /// Perhaps with the wait that the receiver wants.
    Passing(Undelivered, Option<Duration>),
}

impl Failure {
    fn later(reason: String) -> Self {
        Self::Passing(Undelivered::later(reason), None)
    }
}

fn judge<B>(answer: &Response<B>, unix_seconds: u64) -> Result<(), Failure> {
    let status = answer.status();
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if status.is_success() {
        Ok(())
    } else if passing {
        let reason = Undelivered::later(format!("it answers {status}"));
        Err(Failure::Passing(reason, retry_after(answer, unix_seconds)))
    } else if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let reason = format!("it answers {status}, and redirects are not followed: configure where it leads");
        Err(Failure::Final(Undelivered::never(reason)))
    } else {
        Err(Failure::Final(Undelivered::never(format!("it answers {status}"))))
    }
}

/// The wait that a receiver wants: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after<B>(answer: &Response<B>, unix_seconds: u64) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?.unix_timestamp();
    let wait = u64::try_from(at).ok()?.saturating_sub(unix_seconds);
    Some(Duration::from_secs(wait))
}

fn is_refused(error: &hyper_util::client::legacy::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return true;
        }
        cause = error.source();
    }
    false
}

//! How it can fail.

/// Any cause.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A notification was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// It is worth trying again.
    #[error("it was not delivered yet")]
    Later(#[source] Cause),
    /// It will never be delivered so.
    #[error("it can never be delivered")]
    Never(#[source] Cause),
}

impl Undelivered {
    pub(crate) fn later(cause: impl Into<Cause>) -> Self {
        Self::Later(cause.into())
    }

    pub(crate) fn never(cause: impl Into<Cause>) -> Self {
        Self::Never(cause.into())
    }
}

/// A target cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is none of a webhook.
    #[error("url must be http:// or https:// with a host, and without user, password or fragment")]
    Url,
    /// The rate is none.
    #[error("per_hour and burst must be 1 to 100000")]
    Rate,
    /// The machine's certificate authorities cannot be read.
    #[error("the machine's certificate authorities cannot be read")]
    Certificates(#[source] std::io::Error),
    /// An address of e-mail is none.
    #[error("{0:?} is no address of e-mail")]
    Address(String),
    /// Nobody is to get the mail.
    #[error("to must name at least one address")]
    Nobody,
    /// Mail would go unencrypted through a network.
    #[error("mail goes unencrypted to loopback only: use starttls or tls, or allow_plain = true")]
    Plain,
    /// TLS cannot be set up for the mail server's name.
    #[error("TLS with the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}

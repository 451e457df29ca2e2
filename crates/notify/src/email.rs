//! People who are told by e-mail.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use ring::digest;

use crate::rate::Limit;
use crate::signature::hex;
use crate::{ConfigError, Outside, Rate, Secret, Undelivered};

/// Characters of a subject at most.
const SUBJECT_CHARS_MAX: usize = 200;
/// Bytes of a hash that make a message's id: two of them are never the same by accident.
const ID_BYTES: usize = 16;

/// Messages that some have had and others not, and who; the oldest are forgotten.
const HAD_MAX: usize = 1_000;
/// How long the mail server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// How mail goes to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain at first, encrypted before anything is said: port 587. Without encryption nothing is sent.
    Starttls,
    /// Encrypted from the start: port 465.
    Tls,
    /// Not encrypted: port 25.
    None,
}

impl Security {
    /// The usual port.
    pub fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Whom and through which server. The server may have any address: mail servers stand on site.
#[derive(Debug, Clone)]
pub struct EmailConfig {
    /// The mail server's name or address.
    pub host: String,
    /// Its port; without one, the usual one of `security`.
    pub port: Option<u16>,
    /// How.
    pub security: Security,
    /// Unencrypted mail may leave this machine.
    pub allow_plain: bool,
    /// As whom to log in: user and password.
    pub login: Option<(String, Secret)>,
    /// Who writes: `ops@example.com` or `Fieldline <ops@example.com>`.
    pub from: String,
    /// Who reads, in the same form.
    pub to: Vec<String>,
    /// How much.
    pub rate: Option<Rate>,
    /// For one message, from the connection to the server's last word.
    pub timeout: Duration,
}

impl EmailConfig {
    /// Looks for what is wrong with it, without files and network.
    ///
    /// # Errors
    /// Addresses or a rate that are none, nobody to read, or plain mail through a network.
    pub fn check(&self) -> Result<(), ConfigError> {
        mailbox(&self.from)?;
        self.to.iter().try_for_each(|to| mailbox(to).map(drop))?;
        if self.to.is_empty() {
            return Err(ConfigError::Nobody);
        }
        if self.security == Security::None && !self.allow_plain && !is_loopback(&self.host) {
            return Err(ConfigError::Plain);
        }
        self.rate.map_or(Ok(()), Rate::check)
    }
}

/// Whether a mail server is this machine, by its name or address alone.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// People who are told by e-mail. Each message has a connection of its own for each of them.
pub struct Email {
    host: String,
    port: u16,
    security: Security,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
    outside: Outside,
    limit: Limit,
    /// Who has had which message that others are yet to have.
    had: Mutex<VecDeque<(String, String)>>,
}

impl Email {
    /// Makes it ready; nothing is connected yet.
    ///
    /// # Errors
    /// See [`EmailConfig::check`]; or TLS cannot be set up.
    pub fn new(config: EmailConfig, outside: Outside) -> Result<Self, ConfigError> {
        config.check()?;
        let tls = match config.security {
            Security::Starttls | Security::Tls => {
                Some(TlsParameters::new_rustls(config.host.clone()).map_err(ConfigError::Tls)?)
            }
            Security::None => None,
        };
        let credentials = |(user, secret): (String, Secret)| {
            Credentials::new(user, String::from_utf8_lossy(secret.bytes()).into_owned())
        };
        Ok(Self {
            port: config.port.unwrap_or_else(|| config.security.port()),
            host: config.host,
            security: config.security,
            tls,
            credentials: config.login.map(credentials),
            from: mailbox(&config.from)?,
            to: config.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            timeout: config.timeout,
            outside,
            limit: Limit::new(config.rate)?,
            had: Mutex::default(),
        })
    }

    /// Sends a message to everybody in `to`, each by themselves: an address that is gone costs the others nothing. The
    /// same `id` gives the same `Message-ID`, so that a mailbox can tell a repetition; who has had it is passed over
    /// while others wait for it.
    ///
    /// # Errors
    /// [`Undelivered::Later`]: for somebody there was no connection, no TLS, no login, no answer in time, a reply 4xx,
    /// or more than the rate allows. [`Undelivered::Never`]: the server takes it for nobody (a reply 5xx).
    pub async fn send(&self, id: &str, subject: &str, text: &str) -> Result<(), Undelivered> {
        let message = self.message(id, subject, text).map_err(Undelivered::never)?;
        self.limit.take((self.outside.now)())?;
        let sent = self.send_to_each(id, &message).await;
        self.limit.settle(&sent);
        sent
    }

    async fn send_to_each(&self, id: &str, message: &Message) -> Result<(), Undelivered> {
        let (mut is_taken, mut refused, mut waits) = (false, None, None);
        for to in &self.to {
            let has_it = (id.to_owned(), to.email.to_string());
            if self.had().contains(&has_it) {
                is_taken = true;
                continue;
            }
            let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]);
            match self.send_one(&envelope.map_err(Undelivered::never)?, message).await {
                Ok(()) => {
                    is_taken = true;
                    let mut had = self.had();
                    had.push_back(has_it);
                    if had.len() > HAD_MAX {
                        had.pop_front();
                    }
                }
                Err(Undelivered::Later(error)) => waits = Some(error),
                Err(Undelivered::Never(error)) => {
                    tracing::error!(email = ?self, error = &*error, "the mail server refuses one of the readers");
                    refused = Some(error);
                }
            }
        }
        match (waits, refused) {
            (Some(waits), _) => return Err(Undelivered::Later(waits)),
            (None, Some(refused)) if !is_taken => return Err(Undelivered::Never(refused)),
            _ => {}
        }
        self.had().retain(|(known, _)| known != id);
        Ok(())
    }

    async fn send_one(&self, envelope: &Envelope, message: &Message) -> Result<(), Undelivered> {
        let patience = self.timeout;
        match tokio::time::timeout(patience, self.converse(envelope, message)).await {
            Ok(Ok(connection)) => {
                part(connection).await;
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Undelivered::later(format!("the mail server was not done within {patience:?}"))),
        }
    }

    /// Until the server has taken the message over; what comes then changes nothing. Until it hears whom the message
    /// is for, what it refuses is about us, and is put right by people.
    async fn converse(
        &self,
        envelope: &Envelope,
        message: &Message,
    ) -> Result<AsyncSmtpConnection, Undelivered> {
        let mut connection = self.connect().await.map_err(Undelivered::later)?;
        connection.send(envelope, &message.formatted()).await.map_err(|error| {
            if error.is_permanent() { Undelivered::never(error) } else { Undelivered::later(error) }
        })?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let own = ClientId::default();
        let wrapper = self.tls.clone().filter(|_| self.security == Security::Tls);
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &own, wrapper, None).await?;
        if let Some(tls) = self.tls.clone().filter(|_| self.security == Security::Starttls) {
            connection.starttls(tls, &own).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await?;
        }
        Ok(connection)
    }

    fn had(&self) -> MutexGuard<'_, VecDeque<(String, String)>> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, id: &str, subject: &str, text: &str) -> Result<Message, lettre::error::Error> {
        let hash = digest::digest(&digest::SHA256, id.as_bytes());
        let hash = hex(hash.as_ref().get(..ID_BYTES).unwrap_or_default());
        let mut message = Message::builder()
            .from(self.from.clone())
            .date(UNIX_EPOCH + Duration::from_secs((self.outside.unix_seconds)()))
            .message_id(Some(format!("<{hash}@{}>", self.from.email.domain())))
            .subject(one_line(subject));
        for to in &self.to {
            message = message.to(to.clone());
        }
        automatic(message).header(ContentType::TEXT_PLAIN).body(text.to_owned())
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "email through {}:{}", self.host, self.port)
    }
}

/// A farewell for a server that waits for one. Whether it answers says nothing about the message.
async fn part(mut connection: AsyncSmtpConnection) {
    if !matches!(tokio::time::timeout(FAREWELL, connection.quit()).await, Ok(Ok(_))) {
        tracing::debug!("the mail server took the message and did not say goodbye");
    }
}

fn mailbox(text: &str) -> Result<Mailbox, ConfigError> {
    text.parse().map_err(|_| ConfigError::Address(text.to_owned()))
}

/// Nobody's out-of-office answers it (RFC 3834).
fn automatic(message: MessageBuilder) -> MessageBuilder {
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.raw_header(HeaderValue::new(name, "auto-generated".to_owned()))
}

/// A text as a subject: what a device says must not begin a header of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS_MAX).collect()
}

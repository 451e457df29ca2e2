//! `[targets]` of `fieldline.toml`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fieldline_notify::{EmailConfig, Rate, Secret, SecretError, Security, WebhookConfig};
use serde::Deserialize;

/// How long a mail server may take for one message.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody whom rules tell: `[targets.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TargetSettings {
    /// A topic on the server's own broker.
    Mqtt {
        /// The topic, without wildcards; none of those that the server keeps for itself.
        topic: String,
    },
    /// A URL.
    Webhook(WebhookSettings),
    /// People.
    Email(EmailSettings),
}

/// A URL to which notifications are posted.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// `https://…` or `http://…`. Redirects are not followed.
    pub url: String,
    /// A file of mode 0600 with the secret that signs what is sent; none: it is not signed.
    pub secret_file: Option<PathBuf>,
    /// Whether the URL may lead to an address that is not public, such as 10.0.0.5 or 127.0.0.1.
    #[serde(default)]
    pub allow_private: bool,
    /// Notifications an hour, in the long run, 1 to 100,000; what is beyond is told later.
    #[serde(default = "WebhookSettings::per_hour")]
    pub per_hour: u32,
    /// Notifications at once, after a time of quiet, 1 to 100,000.
    #[serde(default = "WebhookSettings::burst")]
    pub burst: u32,
}

/// People who get notifications by e-mail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    /// The mail server's name or address.
    pub host: String,
    /// Its port; default: 587 with `starttls`, 465 with `tls`, 25 with `none`.
    pub port: Option<u16>,
    /// How mail gets there.
    #[serde(default)]
    pub security: SecuritySettings,
    /// Whether `security = "none"` may leave this machine.
    #[serde(default)]
    pub allow_plain: bool,
    /// As whom to log in, with `password_file`.
    pub username: Option<String>,
    /// A file of mode 0600 with the password.
    pub password_file: Option<PathBuf>,
    /// Who writes: `ops@example.com` or `Fieldline <ops@example.com>`.
    pub from: String,
    /// Who reads, at least one.
    pub to: Vec<String>,
    /// Messages an hour, in the long run, 1 to 100,000; what is beyond is told later.
    #[serde(default = "EmailSettings::per_hour")]
    pub per_hour: u32,
    /// Messages at once, after a time of quiet, 1 to 100,000.
    #[serde(default = "EmailSettings::burst")]
    pub burst: u32,
}

/// How mail gets to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecuritySettings {
    /// Plain at first, encrypted before anything is said.
    #[default]
    Starttls,
    /// Encrypted from the start.
    Tls,
    /// Not encrypted; only to this machine, unless `allow_plain = true`.
    None,
}

impl TargetSettings {
    /// What is wrong with it; files are not looked at.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Mqtt { topic } => {
                let plain = !topic.is_empty() && topic.len() <= 256 && !topic.contains(['+', '#', '\0']);
                let free = !topic.starts_with('$') && !crate::access::is_reserved(topic);
                (!plain || !free).then(|| {
                    "topic is 1 to 256 bytes without wildcards, and begins with neither $ nor fieldline/"
                        .to_owned()
                })
            }
            Self::Webhook(webhook) => webhook.unsigned().check().err().map(|error| error.to_string()),
            Self::Email(email) if email.username.is_some() != email.password_file.is_some() => {
                Some("username and password_file belong together".to_owned())
            }
            Self::Email(email) => email.without_login().check().err().map(|error| error.to_string()),
        }
    }
}

impl WebhookSettings {
    fn per_hour() -> u32 {
        3_600
    }

    fn burst() -> u32 {
        60
    }

    /// With the secret, from its file.
    pub(crate) fn ready(&self) -> Result<WebhookConfig, SecretError> {
        let secret = self.secret_file.as_deref().map(Secret::read).transpose()?;
        Ok(WebhookConfig { secret, ..self.unsigned() })
    }

    fn unsigned(&self) -> WebhookConfig {
        WebhookConfig {
            allow_private: self.allow_private,
            rate: Some(Rate { per_hour: self.per_hour, burst: self.burst }),
            ..WebhookConfig::new(self.url.clone())
        }
    }
}

/// Without the URL, which is a secret with some receivers.
impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings").field("to", &self.unsigned()).finish_non_exhaustive()
    }
}

impl EmailSettings {
    fn per_hour() -> u32 {
        60
    }

    fn burst() -> u32 {
        10
    }

    /// With the password, from its file.
    pub(crate) fn ready(&self) -> Result<EmailConfig, SecretError> {
        let password = self.password_file.as_deref().map(Secret::read).transpose()?;
        Ok(EmailConfig { login: self.username.clone().zip(password), ..self.without_login() })
    }

    fn without_login(&self) -> EmailConfig {
        EmailConfig {
            host: self.host.clone(),
            port: self.port,
            security: match self.security {
                SecuritySettings::Starttls => Security::Starttls,
                SecuritySettings::Tls => Security::Tls,
                SecuritySettings::None => Security::None,
            },
            allow_plain: self.allow_plain,
            login: None,
            from: self.from.clone(),
            to: self.to.clone(),
            rate: Some(Rate { per_hour: self.per_hour, burst: self.burst }),
            timeout: MAIL_TIMEOUT,
        }
    }
}

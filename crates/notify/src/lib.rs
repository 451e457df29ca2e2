//! Who can be told beyond MQTT: a URL ([`Webhook`]) and people by e-mail ([`Email`]).
//!
//! It sends one notification at a time and says how that went; queues, and that nothing is told twice at once,
//! are the caller's. It does not know what it sends: the caller gives the bytes or the text.
//!
//! What holds:
//! - A name is resolved once, every address that comes of it is checked, and the connection goes to one that was
//!   checked: a target cannot be pointed at what only this machine can reach ([`is_public`]).
//! - Redirects are never followed, and answers are not read.
//! - Secrets come from files that nobody else can read ([`Secret`]), and show in no log, error or `Debug`.
//! - What cannot be told now is [`Undelivered::Later`]; only what never will be is [`Undelivered::Never`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fieldline_notify::{Outside, Webhook, WebhookConfig};
//!
//! let config = WebhookConfig::new("https://example.com/hooks/alarms");
//! let webhook = Webhook::new(config, Outside::default())?;
//! webhook.send("an-id-that-stays-the-same", bytes::Bytes::from_static(b"{}")).await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod connect;
mod email;
mod error;
mod outside;
mod rate;
mod secret;
mod signature;
mod webhook;

pub use address::is_public;
pub use email::{Email, EmailConfig, Security};
pub use error::{ConfigError, Undelivered};
pub use outside::{Outside, Resolve};
pub use rate::Rate;
pub use secret::{Secret, SecretError};
pub use signature::signature;
pub use webhook::{Webhook, WebhookConfig};

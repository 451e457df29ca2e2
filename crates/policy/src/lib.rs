//! AWS IoT Core's policy documents, and the one engine that decides by them.
//!
//! What it is not: it knows neither certificates nor connections nor where documents are kept. Who asks
//! comes in as [`Variables`], what is asked as a [`Request`], a [`Decision`] goes out.
//!
//! Invariants: an explicit Deny wins, and what nobody allows is not allowed; a document with anything that
//! this engine does not know is refused when it is parsed, never ignored; the value of a variable is
//! never a pattern; a decision takes no more steps than pattern length × text length.
//!
//! The rules, and where they come from (IoT = AWS IoT Core's developer guide, IAM = IAM's user guide):
//! - `*` in a resource is any run of characters, slashes too, `?` is exactly one; MQTT's `+` and `#` are
//!   literal, and the filter of a SUBSCRIBE is compared as text (IoT, "Using wildcard characters in MQTT
//!   and AWS IoT Core policies"). So a Deny on `topicfilter/a/secret` does not stop a subscription to `a/#`:
//!   what must not be heard is denied by `iot:Receive` on the topic.
//! - Resources compare with case, actions without (IAM, "JSON policy elements: Action").
//! - A variable without a value makes its resource match nothing (IAM, "Policy variables with no value").
//! - A variable's value is compared letter by letter. Moreover, in an *Allow* on a topic, a topic filter or
//!   a thing, a value with `+`, `#`, `/` or `$` matches nothing: a client that calls itself `+` would
//!   otherwise be allowed the filter `my/+/topic` (the hole that IoT, "Basic AWS IoT Core policy variables",
//!   warns of), and one named `a/b` would reach below `a`. AWS does the same for what comes from
//!   certificates (IoT, "X.509 certificate policy variable limitations"). In a *Deny* it still matches
//!   as text, so that nobody slips out of a Deny by a strange name.
//! - Region, account and partition of a resource are not compared: a site is one account, and a document
//!   written for AWS must mean the same here, unchanged.
//!
//! ```
//! use fieldline_policy::{Action, Decision, Document, Request, Resource, Variables, decide};
//!
//! let document = Document::parse(r#"{"Version": "2012-10-17", "Statement": {
//!     "Effect": "Allow", "Action": "iot:Publish",
//!     "Resource": "arn:aws:iot:eu-central-1:123456789012:topic/hall/${iot:ClientId}/*"}}"#)?;
//! let variables = Variables { client_id: Some("press-4".to_owned()), ..Variables::default() };
//! let request = |topic| Request { action: Action::Publish, resource: Resource::Topic(topic), variables: &variables };
//! assert_eq!(decide(&[&document], &request("hall/press-4/oil")), Decision::Allowed);
//! assert_eq!(decide(&[&document], &request("hall/press-5/oil")), Decision::NotAllowed);
//! # Ok::<(), fieldline_policy::Error>(())
//! ```

mod action;
mod arn;
pub mod builtin;
mod condition;
mod document;
mod error;
mod object;
mod pattern;
mod request;
mod statement;
mod variable;

pub use action::Action;
pub use document::{Document, PARSED_BYTES_MAX, SIZE_MAX, decide, size};
pub use error::Error;
pub use request::{ACCOUNT, Decision, REGION, Request, Resource};
pub use variable::{SourceIp, Thing, Variables};

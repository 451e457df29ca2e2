//! The registry of AWS IoT Core's control plane: things, their types and groups, certificates, policies, and
//! what is attached to what.
//!
//! What it is not: it knows neither HTTP, nor where records are kept, nor the time, nor keys: a request, the
//! time and a random number come in as [`Fresh`]; an answer and [`Change`]s go out. It does not read
//! certificates and does not decide by policies.
//!
//! Invariants: a check changes nothing; what a check accepts, [`Registry::apply`] makes true; each change is
//! one record under its kind and key, so that a registry loaded from its records is the same as before.
//!
//! The rules are those of AWS IoT's API reference ("Actions", "Errors") and of "AWS IoT Core endpoints and
//! quotas".
//!
//! ```
//! use fieldline_registry::{CreateThing, Fresh, Registry};
//!
//! let mut registry = Registry::default();
//! let request = CreateThing { name: "press-4".to_owned(), ..CreateThing::default() };
//! let (thing, changes) = registry.create_thing(request, Fresh { now_ms: 1_767_225_600_000, random: 7 })?;
//! assert_eq!(thing.version, 1);
//! changes.into_iter().for_each(|change| registry.apply(change));
//! assert!(registry.thing("press-4").is_ok());
//! # Ok::<(), fieldline_registry::Error>(())
//! ```

pub mod arn;
mod attachment;
mod attributes;
mod certificate;
mod change;
mod error;
mod group;
mod name;
mod page;
mod policy;
mod principal;
mod state;
#[cfg(test)]
mod tests;
mod thing;
mod thing_type;

pub use attachment::Target;
pub use attributes::{ATTRIBUTES_MAX, ATTRIBUTES_WITH_TYPE_MAX, AttributePayload};
pub use certificate::{Certificate, CertificateStatus, NewCertificate};
pub use change::{Change, Kind, LoadError, Record};
pub use error::Error;
pub use group::{CreateGroup, Group, GroupFilter, UpdateGroup};
pub use page::Page;
pub use policy::{NewPolicyVersion, Policy, PolicyVersion};
pub use state::Registry;
pub use thing::{CreateThing, Thing, ThingFilter, UpdateThing};
pub use thing_type::{CreateThingType, ThingType};

/// What a pure check cannot make up itself.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Random bits for the id of what is created.
    pub random: u128,
}

impl Fresh {
    /// A UUID of version 4 out of the random bits (RFC 9562, section 5.4).
    fn uuid(self) -> String {
        let bits = self.random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let mut id = String::with_capacity(36);
        for (index, digit) in hex.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(digit);
        }
        id
    }
}

/// What a check gives: the answer, and what is to be written and applied.
pub type Checked<T> = Result<(T, Vec<Change>), Error>;

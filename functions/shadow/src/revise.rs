//! Read, revise, write, and again where somebody else has written in between.

use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_shadow::STATE_BYTES_MAX;
use serde_json::{Map, Value, json};

use crate::{Document, Outcome, PortError, Things};

/// Tries at one update, the first included.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// What became of what was to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The shadow shows it.
    Updated {
        /// So many metrics do not fit, and are not shown.
        dropped: usize,
    },
    /// The shadow showed it already, or something newer.
    Unchanged,
}

/// Why a shadow does not show what it should. It should be tried again: nothing is done twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shadows cannot be reached.
    #[error("the shadow {shadow} could not be read or written")]
    Port {
        /// Which.
        shadow: ShadowId,
        /// Why.
        #[source]
        source: PortError,
    },
    /// Others write the shadow all the time, or leave no room in it.
    #[error("the shadow {shadow} could not be written in {ATTEMPTS_MAX} attempts")]
    Contended {
        /// Which.
        shadow: ShadowId,
    },
}

/// What an update changes in `reported`, and what does not fit.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Revision {
    /// Empty where nothing is to be changed.
    pub(crate) change: Map<String, Value>,
    pub(crate) dropped: usize,
}

/// One of our shadows of a thing.
pub(crate) fn id(thing: &ThingName, name: &'static str) -> ShadowId {
    let name = ShadowName::new(name).expect("the names of our shadows follow the rule");
    ShadowId { thing: thing.clone(), name: Some(name) }
}

/// Updates a shadow by what `revise` makes of it, given the bytes that its state may have.
pub(crate) async fn write(
    shadow: ShadowId,
    things: &dyn Things,
    revise: impl Fn(&Document, usize) -> Revision,
) -> Result<Written, Error> {
    let mut room = STATE_BYTES_MAX;
    for _attempt in 0..ATTEMPTS_MAX {
        let found = match things.get(&shadow).await {
            Ok(found) => found,
            Err(source) => return Err(Error::Port { shadow, source }),
        };
        let version = found.as_ref().map(|found| found.version);
        let Revision { change, dropped } = revise(&found.unwrap_or_default(), room);
        if change.is_empty() {
            return Ok(Written::Unchanged);
        }
        let mut request = json!({ "state": { "reported": change } });
        if let Some(version) = version {
            request["version"] = json!(version);
        }
        match things.update(&shadow, &request).await {
            Ok(Outcome::Done) => return Ok(Written::Updated { dropped }),
            Ok(Outcome::Conflict) => tracing::debug!(%shadow, "another has written the shadow meanwhile"),
            // It is measured otherwise there than here.
            Ok(Outcome::TooLarge) => room = room / 8 * 7,
            Err(source) => return Err(Error::Port { shadow, source }),
        }
    }
    Err(Error::Contended { shadow })
}

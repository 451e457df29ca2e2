//! The shadow `presence`: `{"connected", "last_seen", "session"}`.

use fieldline_model::{ThingName, Timestamp};
use serde_json::{Map, json};

use crate::revise::{Revision, id, write};
use crate::{Document, Error, Things, Written};

/// AWS IoT counts a client's connections, and begins anew when it has been away for about an hour. So much
/// later, in milliseconds, a lower number is the newer one.
const ANEW_MS: i64 = 30 * 60 * 1000;

/// The name of the shadow.
pub const NAME: &str = "presence";

/// A thing has connected or disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub thing: ThingName,
    /// Which of both.
    pub connected: bool,
    /// When.
    pub at: Timestamp,
    /// The number of the connection, greater for a later one, below 2⁵³; AWS IoT's `versionNumber`. Both
    /// events of a connection have the same.
    pub session: u64,
}

/// Shows whether a thing is connected. Events may come in any order, and again.
///
/// # Errors
/// See [`Error`].
pub async fn presence(event: &Presence, things: &dyn Things) -> Result<Written, Error> {
    write(id(&event.thing, NAME), things, |document, _room| revise(document, event)).await
}

/// A server that has lost its connections without a word, because it was killed, says so of a thing that is
/// shown as connected by a connection before `life`, the least number of its present life. When the thing
/// was seen last is not known, so that time stays.
///
/// # Errors
/// See [`Error`].
pub async fn gone(thing: &ThingName, life: u64, things: &dyn Things) -> Result<Written, Error> {
    let shown = |document: &Document, name: &str| document.reported.get(name).cloned().unwrap_or_default();
    write(id(thing, NAME), things, |document, _room| {
        let mut change = Map::new();
        let earlier = shown(document, "session").as_u64().is_some_and(|session| session < life);
        if shown(document, "connected") == true && earlier {
            change.insert("connected".to_owned(), json!(false));
        }
        Revision { change, dropped: 0 }
    })
    .await
}

impl Presence {
    /// Whether this happened after `other`, of the same thing.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.follows(other.connected, other.at.millis(), other.session)
    }

    fn follows(&self, connected: bool, seen_ms: i64, session: u64) -> bool {
        let later_ms = self.at.millis().saturating_sub(seen_ms);
        match self.session.cmp(&session) {
            std::cmp::Ordering::Less => later_ms >= ANEW_MS,
            std::cmp::Ordering::Equal => connected && !self.connected,
            std::cmp::Ordering::Greater => later_ms > -ANEW_MS,
        }
    }
}

fn revise(document: &Document, event: &Presence) -> Revision {
    let reported = &document.reported;
    let seen = (
        reported.get("connected").and_then(serde_json::Value::as_bool),
        reported.get("last_seen").and_then(serde_json::Value::as_i64),
        reported.get("session").and_then(serde_json::Value::as_u64),
    );
    if let (Some(connected), Some(seen_ms), Some(session)) = seen
        && !event.follows(connected, seen_ms, session)
    {
        return Revision::default();
    }
    let mut change = Map::new();
    change.insert("connected".to_owned(), json!(event.connected));
    change.insert("last_seen".to_owned(), json!(event.at.millis()));
    change.insert("session".to_owned(), json!(event.session));
    Revision { change, dropped: 0 }
}

//! What is kept of one shadow: the device's side, and what is known of the cloud's.

use fieldline_shadow::{Applied, Deleted, Error, Shadow, Stored, Update};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::merge::{Section, Winner, base_after, merged, patch, patched};

/// So long after a deletion of ours was sent, a shadow that is gone in the cloud was deleted by us, in
/// seconds: the answer may have been lost, and the device may have made the shadow again since.
const OWN_DELETION_S: i64 = 300;

/// Both sections, without timestamps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// What should be.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) desired: Section,
    /// What is.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) reported: Section,
}

/// A shadow in the cloud, as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cloud {
    /// Its version there.
    pub(crate) version: u64,
    /// Its state.
    pub(crate) state: State,
}

/// One shadow. What is to be sent follows from it: there is no list of changes beside it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What the device sees; none if there is no such shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<Shadow>,
    /// What is left of one that was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<Deleted>,
    /// What both sides had in common when they last met; none if the cloud has no such shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloud: Option<Cloud>,
    /// The patch that was sent on top of `cloud`, until it is known what became of it. The same patch is
    /// sent again until then, so that at most one can have arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<State>,
    /// When a deletion was last sent, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_sent_s: Option<i64>,
}

/// What the cloud is to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// Make an empty shadow.
    Create,
    /// Change the shadow that has this version.
    Update(u64, State),
    /// Delete it.
    Delete,
}

/// What a device is to hear of a change that came from the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// The shadow has changed.
    Changed(Box<Applied>),
    /// It is gone; the message of the deletion.
    Gone(Value),
}

impl State {
    /// Of a document that has `state`.
    pub(crate) fn of(document: &Value) -> Self {
        let section = |name: &str| document["state"][name].as_object().cloned().unwrap_or_default();
        Self { desired: section("desired"), reported: section("reported") }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.desired.is_empty() && self.reported.is_empty()
    }

    fn patch_to(&self, to: &Self) -> Self {
        Self { desired: patch(&self.desired, &to.desired), reported: patch(&self.reported, &to.reported) }
    }

    fn patched(&self, with: &Self) -> Self {
        Self {
            desired: patched(&self.desired, &with.desired),
            reported: patched(&self.reported, &with.reported),
        }
    }

    /// As the `state` of a request; what does not change is not named.
    pub(crate) fn request(&self) -> Value {
        let mut sections = Map::new();
        for (name, section) in [("desired", &self.desired), ("reported", &self.reported)] {
            if !section.is_empty() {
                sections.insert(name.to_owned(), Value::Object(section.clone()));
            }
        }
        Value::Object(sections)
    }
}

impl Record {
    /// As the rules of shadows see it.
    pub(crate) fn stored(&self) -> Stored {
        match (&self.local, self.deleted) {
            (Some(shadow), _) => Stored::Present(shadow.clone()),
            (None, Some(deleted)) => Stored::Deleted(deleted),
            (None, None) => Stored::Absent,
        }
    }

    /// Nothing is known of it on either side.
    pub(crate) fn is_blank(&self) -> bool {
        self.local.is_none() && self.cloud.is_none()
    }

    pub(crate) fn set_local(&mut self, shadow: Shadow) {
        self.local = Some(shadow);
        self.deleted = None;
    }

    pub(crate) fn set_deleted(&mut self, deleted: Deleted) {
        self.local = None;
        self.deleted = Some(deleted);
    }

    /// What the device's side has.
    pub(crate) fn mine(&self) -> State {
        self.local.as_ref().map(|shadow| State::of(&shadow.plain())).unwrap_or_default()
    }

    /// What the cloud must still be told; none if both sides agree.
    pub(crate) fn wish(&self) -> Option<Wish> {
        match (&self.local, &self.cloud) {
            (None, None) => None,
            (None, Some(_)) => Some(Wish::Delete),
            (Some(_), None) => Some(Wish::Create),
            (Some(_), Some(cloud)) => {
                let patch = self.sent.clone().unwrap_or_else(|| cloud.state.patch_to(&self.mine()));
                (!patch.is_empty()).then_some(Wish::Update(cloud.version, patch))
            }
        }
    }

    /// The cloud has done what was sent.
    pub(crate) fn accepted(&mut self, version: u64) {
        if let (Some(cloud), Some(sent)) = (&mut self.cloud, self.sent.take()) {
            cloud.state = cloud.state.patched(&sent);
            cloud.version = version;
        }
    }

    /// The cloud's shadow is this.
    ///
    /// # Errors
    /// Both sides together are no shadow any more, such as one that is too large. Nothing has changed then.
    pub(crate) fn meet(&mut self, theirs: Cloud, now_s: i64) -> Result<Option<News>, Error> {
        let known = self.cloud.is_some();
        let together = self.together(&theirs.state);
        let news = if self.local.is_none() && known && together.is_empty() {
            None
        } else {
            self.become_state(&together, now_s)?
        };
        if self.cloud.as_ref().is_none_or(|cloud| cloud.version != theirs.version) {
            self.sent = None;
        }
        self.cloud = Some(theirs);
        Ok(news)
    }

    /// The cloud has no such shadow (any more). What the device has not changed goes here as well; what it
    /// has changed stays, and the shadow is made again from it.
    ///
    /// # Errors
    /// As [`Record::meet`].
    pub(crate) fn missing(&mut self, now_s: i64) -> Result<Option<News>, Error> {
        let own = self.deletion_sent_s.is_some_and(|sent_s| now_s - sent_s < OWN_DELETION_S);
        let news = match (&self.local, &self.cloud) {
            (Some(_), Some(_)) if !own => {
                let together = self.together(&State::default());
                if together.is_empty() {
                    let (deleted, message) = self.stored().delete("", now_s, None)?;
                    self.set_deleted(deleted);
                    Some(News::Gone(message))
                } else {
                    self.become_state(&together, now_s)?
                }
            }
            _ => None,
        };
        self.cloud = None;
        self.sent = None;
        Ok(news)
    }

    /// Both sides, leaf by leaf: of `desired` the cloud's word counts, of `reported` the device's.
    fn together(&self, theirs: &State) -> State {
        let base = self.cloud.as_ref().map(|cloud| cloud.state.clone()).unwrap_or_default();
        let hoped = self.sent.as_ref().map_or_else(|| base.clone(), |sent| base.patched(sent));
        let mine = self.mine();
        let merge = |base: &Section, hoped: &Section, mine: &Section, theirs: &Section, winner| {
            merged(&base_after(base, hoped, theirs), mine, theirs, winner)
        };
        State {
            desired: merge(&base.desired, &hoped.desired, &mine.desired, &theirs.desired, Winner::Theirs),
            reported: merge(&base.reported, &hoped.reported, &mine.reported, &theirs.reported, Winner::Mine),
        }
    }

    fn become_state(&mut self, state: &State, now_s: i64) -> Result<Option<News>, Error> {
        let patch = self.mine().patch_to(state);
        if self.local.is_some() && patch.is_empty() {
            return Ok(None);
        }
        let request = json!({ "state": patch.request() }).to_string();
        let applied = Update::parse(request.as_bytes())?.apply(&self.stored(), now_s)?;
        self.set_local(applied.shadow.clone());
        Ok(Some(News::Changed(Box::new(applied))))
    }
}

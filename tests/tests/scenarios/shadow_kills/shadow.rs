//! Shadows as the check knows them: flat sections, and a merge of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fieldline_model::{ShadowId, ShadowName, ThingName};
use serde_json::Value;

/// Thing and name of the shadows; an empty name is the classic one.
pub(crate) const SHADOWS: [(&str, &str); 5] =
    [("press-4", ""), ("press-4", "config"), ("pump", ""), ("pump", "mode"), ("pump", "telemetry")];

/// The fields of a section.
pub(crate) type Fields = BTreeMap<String, Value>;

/// `desired` and `reported`; a section that is not there is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Document {
    pub(crate) desired: Fields,
    pub(crate) reported: Fields,
}

/// A shadow, or where it was, at one version.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) document: Option<Document>,
}

/// A shadow by its place in [`SHADOWS`].
pub(crate) fn id(index: usize) -> Result<ShadowId> {
    let (thing, name) = SHADOWS.get(index).context("no such shadow")?;
    let name = (!name.is_empty()).then(|| ShadowName::new(name)).transpose()?;
    Ok(ShadowId { thing: ThingName::new(thing)?, name })
}

/// Where HTTP has it.
pub(crate) fn path(index: usize) -> String {
    let (thing, name) = SHADOWS[index];
    match name {
        "" => format!("/things/{thing}/shadow"),
        name => format!("/things/{thing}/shadow?name={name}"),
    }
}

/// The place in [`SHADOWS`].
pub(crate) fn index(shadow: &ShadowId) -> Result<usize> {
    let name = shadow.name.as_ref().map_or("", ShadowName::as_str);
    let found = SHADOWS.iter().position(|known| *known == (shadow.thing.as_str(), name));
    found.with_context(|| format!("a shadow that nobody asked for: {shadow}"))
}

impl Document {
    /// The `state` of a document.
    pub(crate) fn read(state: &Value) -> Self {
        let section = |name: &str| -> Fields {
            let fields = state[name].as_object().into_iter().flatten();
            fields.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Self { desired: section("desired"), reported: section("reported") }
    }

    /// With what a request names; null takes a field away.
    pub(crate) fn merged(mut self, request: &Self) -> Self {
        let sections = [(&mut self.desired, &request.desired), (&mut self.reported, &request.reported)];
        for (section, changes) in sections {
            section.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone())));
            section.retain(|_, value| !value.is_null());
        }
        self
    }

    /// What is desired and not reported so.
    pub(crate) fn delta(&self) -> Fields {
        let differs = |(name, value): &(&String, &Value)| self.reported.get(*name) != Some(value);
        self.desired.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Snapshot {
    /// The answer to a get.
    pub(crate) fn read(document: &Value) -> Result<Self> {
        let version = document["version"].as_u64().context("a shadow without version")?;
        Ok(Self { version, document: Some(Document::read(&document["state"])) })
    }
}

//! One statement of a document.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::action::Actions;
use crate::condition::{Conditions, RawConditions};
use crate::object::Object;
use crate::pattern::Pattern;
use crate::{Error, Request, Resource, arn};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A statement as it stands in JSON.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(crate) struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    action: Texts,
    resource: Texts,
    condition: Option<Object<RawConditions>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) effect: Effect,
    actions: Actions,
    resources: Vec<Pattern>,
    conditions: Conditions,
}

impl Statement {
    pub(crate) fn compile(raw: &RawStatement) -> Result<Self, Error> {
        if raw.action.0.is_empty() {
            return Err(Error::Empty { what: "Action" });
        }
        if raw.resource.0.is_empty() {
            return Err(Error::Empty { what: "Resource" });
        }
        Ok(Self {
            effect: raw.effect,
            actions: Actions::parse(&raw.action.0)?,
            resources: raw.resource.0.iter().map(|text| arn::parse(text)).collect::<Result<_, _>>()?,
            conditions: match &raw.condition {
                Some(Object(conditions)) => Conditions::compile(conditions)?,
                None => Conditions::default(),
            },
        })
    }

    /// Whether it speaks about `request`, whose resource is called `name`.
    pub(crate) fn matches(&self, request: &Request<'_>, name: &str) -> bool {
        let client = matches!(request.resource, Resource::Client(_));
        let one_level = self.effect == Effect::Allow && !client;
        self.actions.contains(request.action)
            && self.resources.iter().any(|pattern| pattern.matches(name, request.variables, one_level))
            && self.conditions.hold(request.variables)
    }
}

/// One string or a list of them.
#[derive(Debug)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts(vec![text.to_owned()]))
    }

    /// Conditions compare with `true` as with `"true"`.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

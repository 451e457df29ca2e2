//! A document, and the decision by several.

use std::borrow::Borrow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::object::Object;
use crate::statement::{Effect, RawStatement, Statement};
use crate::{Decision, Error, Request};

/// AWS IoT's quota for a policy document, in characters that are not white space ([`size`]). Whoever takes
/// documents from outside checks it; [`Document::parse`] does not, for a quota may be raised.
pub const SIZE_MAX: usize = 2048;

/// What [`Document::parse`] reads at most, white space included, in bytes.
pub const PARSED_BYTES_MAX: usize = 64 * 1024;

const VERSION: &str = "2012-10-17";

/// The size that AWS IoT counts: characters that are not white space.
pub fn size(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).count()
}

/// A policy document, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    statements: Vec<Statement>,
}

/// A document as it stands in JSON.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawDocument {
    version: String,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: Statements,
}

/// One statement or a list of them.
struct Statements(Vec<RawStatement>);

impl Document {
    /// Reads and compiles a document.
    ///
    /// # Errors
    /// It is no policy document, or holds something that this engine would have to ignore.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let text = text.as_ref();
        if text.len() > PARSED_BYTES_MAX {
            return Err(Error::TooLarge { max: PARSED_BYTES_MAX });
        }
        let Object(raw) = serde_json::from_slice::<Object<RawDocument>>(text)?;
        if raw.version != VERSION {
            return Err(Error::Version { found: raw.version });
        }
        if raw.statement.0.is_empty() {
            return Err(Error::Empty { what: "Statement" });
        }
        let statements = raw.statement.0.iter().map(Statement::compile).collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }
}

/// What the documents say together: a Deny in any of them wins over every Allow, and what none allows is
/// not allowed (IAM, "Policy evaluation logic"). Their order does not matter.
pub fn decide(documents: &[impl Borrow<Document>], request: &Request<'_>) -> Decision {
    let name = request.resource.name();
    let mut decision = Decision::NotAllowed;
    for statement in documents.iter().flat_map(|document| &document.borrow().statements) {
        let news = statement.effect == Effect::Deny || decision == Decision::NotAllowed;
        if news && statement.matches(request, &name) {
            match statement.effect {
                Effect::Deny => return Decision::ExplicitlyDenied,
                Effect::Allow => decision = Decision::Allowed,
            }
        }
    }
    decision
}

/// Not an untagged enum: its errors would not say what is wrong.
impl<'de> Deserialize<'de> for Statements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatementsVisitor)
    }
}

struct StatementsVisitor;

impl<'de> Visitor<'de> for StatementsVisitor {
    type Value = Statements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement or a list of statements")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Statements, A::Error> {
        Ok(Statements(vec![RawStatement::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statements, A::Error> {
        let mut statements = Vec::new();
        while let Some(Object(statement)) = list.next_element()? {
            statements.push(statement);
        }
        Ok(Statements(statements))
    }
}

#[cfg(test)]
mod tests;

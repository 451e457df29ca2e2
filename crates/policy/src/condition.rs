//! The conditions of a statement: those that make sense on site. Others are refused when parsed.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::Error;
use crate::pattern::Pattern;
use crate::statement::Texts;
use crate::variable::{Variable, Variables};

/// `Condition` as it stands in JSON. With one value a key, `ForAnyValue:` changes nothing.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConditions {
    #[serde(rename = "Bool")]
    boolean: Option<Keys>,
    #[serde(rename = "StringEquals")]
    equals: Option<Keys>,
    #[serde(rename = "StringLike")]
    like: Option<Keys>,
    #[serde(rename = "ForAnyValue:StringEquals")]
    any_equals: Option<Keys>,
    #[serde(rename = "ForAnyValue:StringLike")]
    any_like: Option<Keys>,
    #[serde(rename = "IpAddress")]
    address: Option<Keys>,
}

/// All have to hold. A key without a value does not (IAM, "Condition operators").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Conditions(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Text { key: Variable, any_of: Vec<Pattern> },
    Address { any_of: Vec<Network> },
}

impl Conditions {
    pub(crate) fn compile(raw: &RawConditions) -> Result<Self, Error> {
        let mut all = Vec::new();
        for (key, values) in keys(&raw.boolean) {
            let key = Variable::parse(key)
                .filter(|key| *key == Variable::IsAttached)
                .ok_or_else(|| Error::ConditionKey { key: key.clone() })?;
            all.push(Condition::Text { key, any_of: compile(values, boolean)? });
        }
        for (key, values) in keys(&raw.equals).chain(keys(&raw.any_equals)) {
            all.push(Condition::Text {
                key: text_key(key)?,
                any_of: compile(values, Pattern::parse_literal)?,
            });
        }
        for (key, values) in keys(&raw.like).chain(keys(&raw.any_like)) {
            all.push(Condition::Text { key: text_key(key)?, any_of: compile(values, Pattern::parse)? });
        }
        for (key, values) in keys(&raw.address) {
            if Variable::parse(key) != Some(Variable::SourceIp) {
                return Err(Error::ConditionKey { key: key.clone() });
            }
            all.push(Condition::Address { any_of: compile(values, Network::parse)? });
        }
        if all.is_empty() { Err(Error::Empty { what: "Condition" }) } else { Ok(Self(all)) }
    }

    pub(crate) fn hold(&self, variables: &Variables) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Text { key, any_of } => key
                .value(variables)
                .is_some_and(|value| any_of.iter().any(|pattern| pattern.matches(value, variables, false))),
            Condition::Address { any_of } => variables
                .source_ip
                .as_ref()
                .is_some_and(|source| any_of.iter().any(|network| network.contains(source.address()))),
        })
    }
}

fn keys(keys: &Option<Keys>) -> impl Iterator<Item = &(String, Texts)> {
    keys.iter().flat_map(|keys| &keys.0)
}

fn text_key(key: &str) -> Result<Variable, Error> {
    Variable::parse(key).ok_or_else(|| Error::ConditionKey { key: key.to_owned() })
}

fn compile<T>(values: &Texts, one: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    if values.0.is_empty() {
        return Err(Error::Empty { what: "a list of values in Condition" });
    }
    values.0.iter().map(|value| one(value)).collect()
}

fn boolean(value: &str) -> Result<Pattern, Error> {
    match value.to_ascii_lowercase().as_str() {
        lower @ ("true" | "false") => Pattern::parse_literal(lower),
        _ => Err(Error::ConditionValue { operator: "Bool", value: value.to_owned() }),
    }
}

/// A range of addresses, `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, Error> {
        let refused = || Error::ConditionValue { operator: "IpAddress", value: text.to_owned() };
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_no_address| refused())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(refused)?,
            None => width,
        };
        Ok(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Keys and what they are compared with. Not a map: a key that stands twice is refused, not lost.
#[derive(Debug)]
struct Keys(Vec<(String, Texts)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of condition keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys: Vec<(String, Texts)> = Vec::new();
        while let Some((key, values)) = map.next_entry::<String, Texts>()? {
            if keys.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
                return Err(A::Error::custom(format_args!("the condition key `{key}` stands twice")));
            }
            keys.push((key, values));
        }
        Ok(Keys(keys))
    }
}

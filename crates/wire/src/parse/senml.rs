//! SenML in JSON, RFC 8428.

use std::borrow::Cow;
use std::fmt;

use fieldline_model::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Name, json_error, text};
use super::time::{BAD_TIME, decimal_nanos};
use super::value::{Refusal, Scalar, json_scalar, json_text};
use super::{Context, ParseError, Parsed};

/// The version of SenML that RFC 8428 describes.
const VERSION_MAX: i64 = 10;
/// Times below 2^28 seconds are relative to now (RFC 8428, section 4.5.3).
const ABSOLUTE_FROM_NANOS: i128 = (1 << 28) * 1_000_000_000;
/// The metric of a record that names the device and nothing else.
const NAMELESS: &str = "value";

const LABELS: [&str; 15] =
    ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"];

pub(super) fn parse(payload: &[u8], context: &Context<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    let text = text(payload)?;
    let (rows, rejects) = (parsed.rows.len(), parsed.rejects.len());
    let mut pack = Pack::new(context, parsed);
    pack.read(text)?;
    if pack.names.several {
        // One prefix is the device's and can go. Several tell devices apart and have to stay.
        parsed.rows.truncate(rows);
        parsed.rejects.truncate(rejects);
        let mut pack = Pack::new(context, parsed);
        pack.names.keep = true;
        pack.read(text)?;
    }
    Ok(())
}

/// Whether the first object of an array is a SenML record: it has a name, and SenML's labels only.
pub(super) fn looks_like(payload: &[u8]) -> bool {
    let mut verdict = false;
    // The error is the end of looking.
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let looked = Look(&mut verdict).deserialize(&mut deserializer);
    drop(looked);
    verdict
}

struct Look<'v>(&'v mut bool);

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        records.next_element_seed(self).map(|_| ())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut named = false;
        while let Some(Name(label)) = fields.next_key()? {
            let raw = fields.next_value::<&RawValue>()?.get();
            if !(LABELS.contains(&label.as_ref()) || label.ends_with('_')) {
                return Ok(());
            }
            named |= matches!(label.as_ref(), "n" | "bn") && raw.starts_with('"');
        }
        *self.0 = named;
        Ok(())
    }
}

/// The base fields, which hold from their record on.
#[derive(Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    time: i128,
    value: Option<&'a str>,
    sum: Option<&'a str>,
}

/// The fields of one record, as they are written.
#[derive(Default)]
struct Record<'a> {
    name: Option<&'a str>,
    time: Option<&'a str>,
    value: Option<&'a str>,
    text: Option<&'a str>,
    boolean: Option<&'a str>,
    data: Option<&'a str>,
    sum: Option<&'a str>,
}

struct Pack<'c, 'p> {
    context: &'c Context<'c>,
    parsed: &'p mut Parsed,
    names: Names,
    /// The record that is being read, from 1.
    record: usize,
    error: Option<ParseError>,
}

impl<'c, 'p> Pack<'c, 'p> {
    fn new(context: &'c Context<'c>, parsed: &'p mut Parsed) -> Self {
        Self { context, parsed, names: Names::default(), record: 0, error: None }
    }

    fn read(&mut self, text: &str) -> Result<(), ParseError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let result = Records(self).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match (self.error.take(), result) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(json_error(text, &error)),
            (None, Ok(())) => Ok(()),
        }
    }

    fn fail<T>(&mut self, what: impl Into<String>) -> Option<T> {
        self.error = Some(ParseError::Senml { record: self.record, what: what.into() });
        None
    }

    /// Takes one field; `None` after an error of the whole pack.
    fn field<'a>(
        &mut self,
        base: &mut Base<'a>,
        record: &mut Record<'a>,
        label: &str,
        raw: &'a str,
    ) -> Option<()> {
        match label {
            "bn" => match json_text(raw) {
                Ok(name) if raw.starts_with('"') => base.name = name,
                _ => return self.fail("bn is no text"),
            },
            "bt" => match decimal_nanos(raw) {
                Some(time) => base.time = time,
                None => return self.fail("bt is no number of seconds"),
            },
            "bver" => match raw.parse::<i64>() {
                Ok(version) if version <= VERSION_MAX => {}
                _ => return self.fail(format!("bver is {raw:.20}; versions up to {VERSION_MAX} are known")),
            },
            "bv" | "bs" if !matches!(json_scalar(raw), Ok(Scalar::Integer(_) | Scalar::Float(_))) => {
                return self.fail(format!("{label} is no number"));
            }
            "bv" => base.value = Some(raw),
            "bs" => base.sum = Some(raw),
            "n" => record.name = Some(raw),
            "t" => record.time = Some(raw),
            "v" => record.value = Some(raw),
            "vs" => record.text = Some(raw),
            "vb" => record.boolean = Some(raw),
            "vd" => record.data = Some(raw),
            "s" => record.sum = Some(raw),
            label if label.ends_with('_') => {
                return self.fail(format!("the field {label:.40} must be understood, and is not"));
            }
            // Units and update times have no place in a reading; other fields are to be ignored.
            _ => {}
        }
        Some(())
    }

    fn resolve(&mut self, base: &Base<'_>, record: &Record<'_>) -> Option<()> {
        let value = self.value(base, record);
        let sum = sum(base.sum, record.sum);
        if value.is_none() && sum.is_none() {
            // A record of base fields only, or one that says nothing.
            return Some(());
        }
        let name = match record.name.map(json_text) {
            None if base.name.is_empty() => return self.fail("there is neither n nor bn"),
            None => base.name.clone(),
            Some(Ok(name)) if base.name.is_empty() => name,
            Some(Ok(name)) => Cow::Owned(format!("{}{name}", base.name)),
            Some(Err(refusal)) => {
                self.parsed.reject(refusal, Some(self.context.device), None);
                return Some(());
            }
        };
        let metric = self.names.metric(self.context.device, &name);
        let time = self.time(base, record);
        if let Some(value) = value {
            self.add(&metric, time, value);
        }
        if let Some(sum) = sum {
            self.add(&format!("{metric}.sum"), time, sum);
        }
        Some(())
    }

    fn add(&mut self, metric: &str, time: Option<Timestamp>, value: Result<Scalar<'_>, Refusal>) {
        let value = match time {
            None => Err(Refusal { detail: "t is no time in seconds", ..BAD_TIME }),
            Some(_) => value.as_ref().map(Scalar::as_ref).map_err(|refusal| *refusal),
        };
        self.parsed.add(self.context.device, metric, time.unwrap_or(self.context.now), value);
    }

    fn value<'a>(&self, base: &Base<'a>, record: &Record<'a>) -> Option<Result<Scalar<'a>, Refusal>> {
        if let Some(raw) = record.value {
            return sum(base.value, Some(raw));
        }
        let wrong = Err(Refusal::value("vb is no truth value, or vs or vd no text"));
        if let Some(raw) = record.boolean {
            return Some(json_scalar(raw).and_then(|value| match value {
                Scalar::Boolean(_) => Ok(value),
                _ => wrong,
            }));
        }
        if let Some(raw) = record.text.or(record.data) {
            return Some(json_scalar(raw).and_then(|value| match value {
                Scalar::Text(_) => Ok(value),
                _ => wrong,
            }));
        }
        // With a base value, a missing value is zero (section 4.1), but a record that only sets
        // base fields is no measurement.
        record.name.and(sum(base.value, None))
    }

    fn time(&self, base: &Base<'_>, record: &Record<'_>) -> Option<Timestamp> {
        let own = record.time.map_or(Some(0), decimal_nanos)?;
        let nanos = base.time.checked_add(own)?;
        let absolute = if nanos < ABSOLUTE_FROM_NANOS {
            nanos.checked_add(self.context.now.nanos().into())?
        } else {
            nanos
        };
        i64::try_from(absolute).ok().map(Timestamp::from_nanos)
    }
}

/// Base plus own number; the one that is missing is zero. `None` if both are.
fn sum<'a>(base: Option<&'a str>, own: Option<&'a str>) -> Option<Result<Scalar<'a>, Refusal>> {
    let number = |raw: &'a str| match json_scalar(raw) {
        Ok(Scalar::Boolean(_) | Scalar::Text(_)) => Err(Refusal::value("v or s is no number")),
        other => other,
    };
    let (base, own) = match (base.map(number), own.map(number)) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => return Some(one),
        (Some(base), Some(own)) => (base, own),
    };
    Some(match (base, own) {
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        (Ok(Scalar::Integer(base)), Ok(Scalar::Integer(own))) => {
            base.checked_add(own).map(Scalar::Integer).ok_or(super::value::RANGE)
        }
        (Ok(base), Ok(own)) => {
            let float = |scalar: &Scalar<'_>| scalar.as_ref().as_number().unwrap_or_default();
            let sum = float(&base) + float(&own);
            if sum.is_finite() { Ok(Scalar::Float(sum)) } else { Err(Refusal::value("v is not finite")) }
        }
    })
}

/// Metrics out of SenML names.
#[derive(Default)]
struct Names {
    /// The URN of the device that the names have begun with so far.
    urn: Option<String>,
    /// There was another one.
    several: bool,
    /// URNs stay.
    keep: bool,
}

impl Names {
    /// The name without the device in front, with `/`, which no metric may hold, as `.`.
    fn metric(&mut self, device: &str, name: &str) -> String {
        let rest = match name.strip_prefix(device) {
            Some("") => "",
            Some(rest) if rest.starts_with([':', '/', '.', '_', '-']) => rest,
            _ => self.without_urn(name),
        };
        // Only where something has been taken off does a separator stand in front without sense.
        let rest =
            if rest.len() < name.len() { rest.trim_start_matches([':', '/', '.', '_', '-']) } else { rest };
        if rest.is_empty() { NAMELESS.to_owned() } else { rest.replace('/', ".") }
    }

    /// The name without `urn:dev:<type>:<id>` (RFC 9039).
    fn without_urn<'n>(&mut self, name: &'n str) -> &'n str {
        if self.keep {
            return name;
        }
        let Some((kind, id)) = name.strip_prefix("urn:dev:").and_then(|rest| rest.split_once(':')) else {
            return name;
        };
        let id_bytes = id.find([':', '/', '_']).unwrap_or(id.len());
        let urn_bytes = "urn:dev:".len() + kind.len() + 1 + id_bytes;
        let Some((urn, rest)) = name.split_at_checked(urn_bytes) else { return name };
        match &self.urn {
            None => self.urn = Some(urn.to_owned()),
            Some(known) => self.several |= known != urn,
        }
        rest
    }
}

struct Records<'s, 'c, 'p>(&'s mut Pack<'c, 'p>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of SenML records")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        let mut base = Base::default();
        while records.next_element_seed(Fields { pack: self.0, base: &mut base })?.is_some() {}
        Ok(())
    }
}

struct Fields<'s, 'c, 'p, 'de> {
    pack: &'s mut Pack<'c, 'p>,
    base: &'s mut Base<'de>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SenML record")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        use serde::de::Error;
        let Self { pack, base } = self;
        pack.record += 1;
        let mut record = Record::default();
        let stop = || A::Error::custom("not SenML");
        while let Some(Name(label)) = fields.next_key()? {
            let raw = fields.next_value::<&'de RawValue>()?.get();
            pack.field(base, &mut record, &label, raw).ok_or_else(stop)?;
        }
        pack.resolve(base, &record).ok_or_else(stop)
    }
}

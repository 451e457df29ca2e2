use std::borrow::Cow;
use std::fmt;

use fieldline_model::{Quality, Timestamp};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::time::json_time;
use super::value::{Refusal, json_scalar, json_text};
use super::{Context, ParseError, Parsed};

const TIME_KEY: &str = "ts";
const QUALITY_KEY: &str = "quality";
const SHAPE: &str = "telemetry is a JSON object such as {\"temperature\": 21.5}, or an array of them";

pub(super) fn parse(payload: &[u8], context: &Context<'_>, parsed: &mut Parsed) -> Result<(), ParseError> {
    let text = text(payload)?;
    if !text.trim_ascii_start().starts_with(['{', '[']) {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => ParseError::Shape { what: SHAPE.to_owned() },
            Err(error) => json_error(text, &error),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Message { context, parsed, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| json_error(text, &error))
}

pub(super) fn text(payload: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(payload).map_err(|error| ParseError::Utf8 { byte: error.valid_up_to() })
}

/// The error of the JSON reader, and a plain word where somebody wrote a number that JSON has not.
pub(super) fn json_error(text: &str, error: &serde_json::Error) -> ParseError {
    let (line, column) = (error.line(), error.column());
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().as_bytes();
    let strange = [&b"NaN"[..], b"Infinity", b"nan", b"inf"].into_iter().any(|word| {
        (column.saturating_sub(2)..=column)
            .any(|at| written.get(at..).is_some_and(|rest| rest.starts_with(word)))
    });
    let what = if strange {
        "NaN and Infinity are no JSON; leave the value out".to_owned()
    } else {
        let whole = error.to_string();
        whole.split(" at line ").next().unwrap_or(&whole).to_owned()
    };
    ParseError::Json { line, column, what }
}

/// A text that borrows from the payload unless it has escapes.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// An object of telemetry, or an array of them.
struct Message<'m> {
    context: &'m Context<'m>,
    parsed: &'m mut Parsed,
    /// 0 outside, 1 inside the array.
    depth: usize,
}

impl Message<'_> {
    fn not_an_object<T: Default, E>(self) -> Result<T, E> {
        let refusal = Refusal::value("an element of the array is no object");
        self.parsed.reject(refusal, Some(self.context.device), None);
        Ok(T::default())
    }
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.depth > 0 {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return self.not_an_object();
        }
        let Self { context, parsed, depth } = self;
        while elements.next_element_seed(Message { context, parsed, depth: depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { context, parsed, .. } = self;
        let start = parsed.rows.len();
        let (mut time, mut quality) = (Ok(context.now), Quality::Good);
        while let Some(Name(key)) = entries.next_key()? {
            let raw = entries.next_value::<&RawValue>()?.get();
            match key.as_ref() {
                TIME_KEY => time = json_time(raw),
                QUALITY_KEY if let Some(told) = quality_word(raw) => quality = told,
                metric => {
                    let value = json_scalar(raw);
                    let value = value.as_ref().map(|value| value.as_ref()).map_err(|refusal| *refusal);
                    parsed.add(context.device, metric, context.now, value);
                }
            }
        }
        settle(parsed, start, context.now, time, quality);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.not_an_object()
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.not_an_object()
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.not_an_object()
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.not_an_object()
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.not_an_object()
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_an_object()
    }
}

/// Gives the readings of an object what may have been told after them.
fn settle(
    parsed: &mut Parsed,
    start: usize,
    now: Timestamp,
    time: Result<Timestamp, Refusal>,
    quality: Quality,
) {
    match time {
        Err(refusal) => parsed.reject_rows(start, refusal),
        Ok(time) if time != now => parsed.rows.set_time(start, time),
        Ok(_) => {}
    }
    if quality != Quality::Good {
        parsed.rows.set_quality(start, quality);
    }
}

/// A quality, if it is one of the three words; anything else under that key is an ordinary reading.
fn quality_word(raw: &str) -> Option<Quality> {
    match json_text(raw).ok()?.as_ref() {
        "good" => Some(Quality::Good),
        "uncertain" => Some(Quality::Uncertain),
        "bad" => Some(Quality::Bad),
        _ => None,
    }
}

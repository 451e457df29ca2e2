use serde::{Deserialize, Serialize};

use crate::{DeviceId, Metric, Timestamp};

/// The longest text value, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// How far a reading can be trusted (the three OPC UA severities).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The source vouches for the value.
    #[default]
    Good,
    /// The value may be off: clamped, estimated, out of calibration.
    Uncertain,
    /// The source says the value is wrong.
    Bad,
}

impl Quality {
    /// The code in the durable formats.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Uncertain => 1,
            Self::Bad => 2,
        }
    }

    /// Reads a code of a durable format.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Good),
            1 => Some(Self::Uncertain),
            2 => Some(Self::Bad),
            _ => None,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false: a contact, a state.
    Boolean(bool),
    /// A whole number: a counter, an enumeration.
    Integer(i64),
    /// A measurement.
    Float(f64),
    /// At most [`TEXT_BYTES_MAX`] bytes: a mode, an error text.
    Text(String),
}

impl Value {
    /// Lends the value.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Text(value) => ValueRef::Text(value),
        }
    }
}

/// A [`Value`] that is lent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// See [`Value::Boolean`].
    Boolean(bool),
    /// See [`Value::Integer`].
    Integer(i64),
    /// See [`Value::Float`].
    Float(f64),
    /// See [`Value::Text`].
    Text(&'a str),
}

impl ValueRef<'_> {
    /// The value as a number, where it is one.
    pub fn as_number(self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Boolean(_) | Self::Text(_) => None,
        }
    }

    /// Keeps the value.
    pub fn to_value(self) -> Value {
        match self {
            Self::Boolean(value) => Value::Boolean(value),
            Self::Integer(value) => Value::Integer(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value.to_owned()),
        }
    }
}

/// One measured value of one device at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Who measured.
    pub device: DeviceId,
    /// What was measured.
    pub metric: Metric,
    /// When, by the device or, where it gave no time, by the gateway at arrival.
    pub time: Timestamp,
    /// How much.
    pub value: Value,
    /// How trustworthy.
    pub quality: Quality,
}

impl Reading {
    /// Lends the reading.
    pub fn as_ref(&self) -> ReadingRef<'_> {
        ReadingRef {
            device: self.device.as_str(),
            metric: self.metric.as_str(),
            time: self.time,
            value: self.value.as_ref(),
            quality: self.quality,
        }
    }
}

/// A [`Reading`] that is lent; its `device` and `metric` have passed [`DeviceId::check`] and
/// [`Metric::check`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadingRef<'a> {
    /// See [`Reading::device`].
    pub device: &'a str,
    /// See [`Reading::metric`].
    pub metric: &'a str,
    /// See [`Reading::time`].
    pub time: Timestamp,
    /// See [`Reading::value`].
    pub value: ValueRef<'a>,
    /// See [`Reading::quality`].
    pub quality: Quality,
}

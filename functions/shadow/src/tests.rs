//! The shadows as they come out, against a working store of shadows in memory.

mod keeper;
mod merge;
mod others;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use fieldline_model::{
    Class, DeviceId, GatewayId, Quality, ReadingRef, ShadowId, StreamId, Timestamp, ValueRef,
};
use fieldline_shadow::{Error as Refusal, Stored, Update};
use fieldline_wire::{Block, BlockBuilder};
use serde_json::{Map, Value, json};

use crate::revise::id;
use crate::{Document, Newest, Outcome, PortError, Things, Written, telemetry};

/// The rules of AWS IoT over a map.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) shadows: Mutex<HashMap<String, Stored>>,
    /// What others write just before our own updates come.
    pub(crate) meddling: Mutex<Vec<Value>>,
    pub(crate) updates: AtomicUsize,
    pub(crate) gets: AtomicUsize,
    /// The thing whose shadows cannot be reached.
    pub(crate) broken: Option<&'static str>,
}

impl Shelf {
    pub(crate) fn apply(&self, shadow: &ShadowId, request: &Value) -> Result<(), Refusal> {
        let mut shadows = self.shadows.lock().unwrap();
        let stored = shadows.entry(shadow.to_string()).or_insert(Stored::Absent);
        let applied = Update::parse(request.to_string().as_bytes()).unwrap().apply(stored, 1_000)?;
        *stored = Stored::Present(applied.shadow);
        Ok(())
    }

    /// `reported` of a shadow such as `press-4~telemetry`.
    pub(crate) fn reported(&self, shadow: &str) -> Value {
        let shadows = self.shadows.lock().unwrap();
        let stored = shadows.get(shadow).and_then(|stored| stored.shadow("").ok());
        stored.map_or(Value::Null, |shadow| shadow.document(0, None)["state"]["reported"].clone())
    }

    pub(crate) fn updates(&self) -> usize {
        self.updates.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Things for Shelf {
    async fn get(&self, shadow: &ShadowId) -> Result<Option<Document>, PortError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        if self.broken == Some(shadow.thing.as_str()) {
            return Err("nobody answers".into());
        }
        let shadows = self.shadows.lock().unwrap();
        let stored = shadows.get(&shadow.to_string()).and_then(|stored| stored.shadow("").ok());
        Ok(stored.map(|shadow| Document::of(shadow.document(0, None))))
    }

    async fn update(&self, shadow: &ShadowId, request: &Value) -> Result<Outcome, PortError> {
        let meddling = self.meddling.lock().unwrap().pop();
        if let Some(meddling) = meddling {
            self.apply(shadow, &meddling).unwrap();
        }
        match self.apply(shadow, request) {
            Ok(()) => {
                self.updates.fetch_add(1, Ordering::Relaxed);
                Ok(Outcome::Done)
            }
            Err(Refusal::Conflict) => Ok(Outcome::Conflict),
            Err(Refusal::TooLarge) => Ok(Outcome::TooLarge),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) const DAY_MS: i64 = 1_795_341_600_000;

pub(crate) fn reading<'a>(metric: &'a str, at_ms: i64, value: ValueRef<'a>) -> ReadingRef<'a> {
    let time = Timestamp::from_millis(DAY_MS + at_ms).unwrap();
    ReadingRef { device: "press-4", metric, time, value, quality: Quality::Good }
}

pub(crate) fn block<'a>(readings: impl IntoIterator<Item = ReadingRef<'a>>) -> Block {
    let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
    let mut builder = BlockBuilder::new(stream, Class::Live, 1);
    for reading in readings {
        builder.push(reading);
    }
    builder.finish().unwrap()
}

/// When all blocks arrive.
pub(crate) fn received() -> Timestamp {
    Timestamp::from_millis(DAY_MS).unwrap()
}

pub(crate) async fn show(shelf: &Shelf, blocks: &[Block]) -> Vec<Written> {
    let mut newest = Newest::default();
    blocks.iter().for_each(|block| newest.add(block, received()));
    let mut written = Vec::new();
    for (device, metrics) in &newest.devices {
        written.push(telemetry(device, metrics, shelf).await.unwrap());
    }
    written
}

pub(crate) fn press() -> DeviceId {
    DeviceId::new("press-4").unwrap()
}

pub(crate) fn shown(value: impl Into<Value>, at_ms: i64) -> Value {
    json!({ "value": value.into(), "at": DAY_MS + at_ms })
}

pub(crate) fn telemetry_id() -> ShadowId {
    id(&fieldline_model::ThingName::new("press-4").unwrap(), "telemetry")
}

pub(crate) fn fields(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

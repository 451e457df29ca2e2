//! From a topic and a payload to readings: the one path that all MQTT sources share.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fieldline_model::{Metric, Reason};
use fieldline_wire::parse::{self, Context, LineContext, ParseError, Parsed, Precision};

use crate::clock;
use crate::intake::completion::Completion;
use crate::intake::{Intake, Offer};
use crate::mapping::{Mapping, Origin, PayloadFormat, origin};
use crate::quarantine::Entry;

/// Parses messages and offers them to the intake; parsing runs in the caller's task.
#[derive(Debug)]
pub(crate) struct Reader {
    intake: Arc<Intake>,
    maps: RwLock<Arc<[Mapping]>>,
    /// Parsed messages that are used again, so that a message costs no allocation.
    spare: Mutex<Vec<Parsed>>,
}

/// How many spare buffers are kept.
const SPARE_MAX: usize = 8;

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Telemetry, handed to the intake with its completion.
    Telemetry,
    /// Something else; the completion was not used.
    Other,
}

impl Reader {
    pub(crate) fn new(intake: Arc<Intake>, maps: Arc<[Mapping]>) -> Self {
        Self { intake, maps: RwLock::new(maps), spare: Mutex::new(Vec::new()) }
    }

    /// Whether a topic is telemetry, properly named or not.
    pub(crate) fn is_telemetry(&self, topic: &str) -> bool {
        !matches!(origin(topic, &self.maps()), Ok(None))
    }

    /// From the next message on.
    pub(crate) fn set_maps(&self, maps: Arc<[Mapping]>) {
        *self.maps.write().unwrap_or_else(PoisonError::into_inner) = maps;
    }

    fn maps(&self) -> Arc<[Mapping]> {
        Arc::clone(&self.maps.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one message in. `read` gets the completion of a message that could be read, `unreadable`
    /// that of one that could not.
    pub(crate) fn hear(
        &self,
        topic: &str,
        payload: &[u8],
        completion: impl FnOnce(bool) -> Completion,
    ) -> Heard {
        let now = clock::now();
        let maps = self.maps();
        let found = match origin(topic, &maps) {
            Ok(Some(found)) => found,
            Ok(None) => return Heard::Other,
            Err(error) => {
                let entry = Entry::of_message(payload, Reason::BadName, topic, error.to_string(), now);
                self.intake.offer_unreadable(entry, completion(false));
                return Heard::Telemetry;
            }
        };
        let mut parsed = self.buffer();
        match read_payload(&found, payload, now, &mut parsed) {
            Ok(()) => {
                let offer = Offer {
                    rows: &parsed.rows,
                    rejects: &parsed.rejects,
                    topic,
                    mapping: found.mapping,
                    now,
                };
                self.intake.offer(&offer, completion(true));
            }
            Err(error) => {
                let entry = Entry::of_message(payload, Reason::Malformed, topic, error.to_string(), now);
                self.intake.offer_unreadable(entry, completion(false));
            }
        }
        self.give_back(parsed);
        Heard::Telemetry
    }

    /// Tells the committer that nothing more follows for the moment.
    pub(crate) fn burst_ended(&self) {
        self.intake.kick();
    }

    fn buffer(&self) -> Parsed {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, mut parsed: Parsed) {
        parsed.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(parsed);
        }
    }
}

/// Reads a payload as the topic says it is to be read.
pub(crate) fn read_payload(
    origin: &Origin<'_>,
    payload: &[u8],
    now: fieldline_model::Timestamp,
    parsed: &mut Parsed,
) -> Result<(), ParseError> {
    let context = Context { device: &origin.device, now };
    let scalar = |parsed: &mut Parsed| match origin.metric.as_deref().map(Metric::new) {
        Some(Ok(metric)) => parse::scalar(payload, &context, &metric, parsed),
        _ => parse::payload(payload, &context, parsed),
    };
    match origin.format {
        PayloadFormat::Auto | PayloadFormat::Scalar => scalar(parsed),
        PayloadFormat::Json => parse::json(payload, &context, parsed),
        PayloadFormat::Senml => parse::senml(payload, &context, parsed),
        PayloadFormat::Line => {
            let context = LineContext { now, precision: Precision::default(), device: Some(&origin.device) };
            parse::line(payload, &context, parsed)
        }
    }
}

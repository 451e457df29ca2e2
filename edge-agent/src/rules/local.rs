//! What an effect means on the gateway.

use fieldline_model::{
    Class, CommandPart, CommandTopic, ExecutionId, Metric, Quality, Reading, TEXT_BYTES_MAX, ThingName,
    Timestamp, Value,
};
use fieldline_rules::{AlarmEvent, Effect, EffectId, EffectKind, Transition};
use serde_json::json;

use crate::remote::hexadecimal;

/// How long a command is meant, in milliseconds: as the server's, where nothing is said.
pub(super) const COMMAND_LASTS_MS: i64 = 60_000;

/// Something for the gateway to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Local {
    /// Publish a request to a device on the gateway's own broker.
    Request(CommandTopic, Vec<u8>),
    /// Take readings into the journal.
    Keep(Vec<(Class, Reading)>),
    /// A request to update a device's classic shadow.
    Desired(ThingName, Vec<u8>),
    /// A gateway has no targets; a rule that names one is refused.
    Nothing,
}

/// An effect that the gateway cannot carry out, now or later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// A name that is derived from it is none.
    #[error("the effect cannot be named here")]
    Name(#[from] fieldline_model::IdError),
    /// Not even the bare event fits into a reading.
    #[error("the alarm's event has {0} bytes, and a reading has room for {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// It is no JSON.
    #[error("the effect cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What to do; `now` is the gateway's clock.
pub(crate) fn of(effect: &Effect, now: Timestamp) -> Result<Local, LocalError> {
    match &effect.kind {
        EffectKind::Alarm(event) => alarm(effect, event),
        EffectKind::Notify(_) => Ok(Local::Nothing),
        EffectKind::Command { device, command, payload } => {
            let thing = ThingName::new(device.as_str())?;
            let topic = CommandTopic { thing, execution: execution(&effect.id)?, part: CommandPart::Request };
            let mut request = json!({ "command": command, "expires": now.millis() + COMMAND_LASTS_MS });
            if !payload.is_null() {
                request["parameters"] = payload.clone();
            }
            Ok(Local::Request(topic, serde_json::to_vec(&request)?))
        }
        EffectKind::Desired { device, state } => {
            let request = json!({ "state": { "desired": state } });
            Ok(Local::Desired(ThingName::new(device.as_str())?, serde_json::to_vec(&request)?))
        }
        EffectKind::Derived(reading) => Ok(Local::Keep(vec![(Class::Live, reading.clone())])),
    }
}

/// An event as a reading of its device: the store knows it by device, metric and time, so that a second one of
/// the same event changes nothing. Events of one alarm at one time are told apart by nanoseconds. Whether the
/// condition holds is a series of its own, for charts and for rules of the server.
fn alarm(effect: &Effect, event: &AlarmEvent) -> Result<Local, LocalError> {
    let metric = Metric::new(&format!("alarm.{}", event.alarm.rule))?;
    let mut text = serde_json::to_string(event)?;
    if text.len() > TEXT_BYTES_MAX {
        let mut bare = event.clone();
        bare.alarm.values.clear();
        text = serde_json::to_string(&bare)?;
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(LocalError::TooLong(text.len()));
    }
    let time = Timestamp::from_nanos(event.at.nanos().saturating_add(place(&effect.id, event)));
    let value = Value::Text(text);
    let reading = Reading { device: effect.device.clone(), metric, time, value, quality: Quality::Good };
    let mut readings = vec![(Class::Alarm, reading)];
    if let Transition::Raised | Transition::Returned = event.transition {
        let metric = Metric::new(&format!("alarm.{}.active", event.alarm.rule))?;
        let value = Value::Boolean(event.transition == Transition::Raised);
        let device = effect.device.clone();
        readings.push((Class::Alarm, Reading { device, metric, time, value, quality: Quality::Good }));
    }
    Ok(Local::Keep(readings))
}

/// The place of a line that says that an alarm has lasted.
const OVERDUE: i64 = 900;

/// Which of the events of one rule and device at one time this is: first ends what began earlier, then come the
/// alarms of that time in their order, each with its lines, and what was found in readings that came late.
fn place(id: &EffectId, event: &AlarmEvent) -> i64 {
    if event.transition == Transition::Returned && event.alarm.raised_at < event.at {
        return 1;
    }
    let line: i64 = match event.transition {
        // It has no number; what has raised it comes first.
        Transition::Overdue => OVERDUE,
        _ => id.0.rsplit('/').next().and_then(|line| line.parse().ok()).unwrap_or_default(),
    };
    // `<rule>/<device>/<ms>`, `h` where it is history, `-<n>` where it is not the first of its millisecond.
    let name = event.alarm.id.rsplit('/').next().unwrap_or_default();
    let (begun, nth) = name.split_once('-').unwrap_or((name, "0"));
    let history = if begun.ends_with('h') { 1_000 } else { 0 };
    history + 2 * nth.parse::<i64>().unwrap_or_default() + line + 1
}

/// The same effect gives the same execution, so that a device tells repeats apart.
fn execution(id: &EffectId) -> Result<ExecutionId, LocalError> {
    let digest = hexadecimal(id.0.as_bytes());
    Ok(ExecutionId::new(&digest)?)
}

#[cfg(test)]
mod tests {
    use fieldline_model::DeviceId;
    use fieldline_rules::{Alarm, AlarmState, Mark, Severity};

    use super::*;

    const AT: Timestamp = Timestamp::from_nanos(1_795_435_200_000_000_000);

    fn device() -> DeviceId {
        DeviceId::new("press-4").unwrap()
    }

    fn event(values: Vec<(String, String)>) -> AlarmEvent {
        let alarm = Alarm {
            id: "hot/press-4/1795435200000".to_owned(),
            rule: "hot".to_owned(),
            device: device(),
            severity: Severity::Critical,
            state: AlarmState::ActiveUnacknowledged,
            raised_at: AT,
            returned_at: None,
            mark: Mark::Live,
            values,
            shelved: None,
            suppressed: false,
        };
        AlarmEvent { transition: Transition::Raised, at: AT, by: None, comment: None, alarm }
    }

    fn effect(kind: EffectKind) -> Effect {
        Effect { id: EffectId("a/b".to_owned()), rule: "hot".to_owned(), device: device(), at: AT, kind }
    }

    fn kept(event: AlarmEvent) -> (Class, Reading) {
        match of(&effect(EffectKind::Alarm(Box::new(event))), AT).unwrap() {
            Local::Keep(readings) => {
                let [(class, reading), (_, active)] = readings.try_into().unwrap();
                assert_eq!(
                    (active.metric.as_str(), active.value),
                    ("alarm.hot.active", Value::Boolean(true))
                );
                (class, reading)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_alarm_is_a_reading_and_loses_its_values_where_they_have_no_room() {
        let few = event(vec![("temperature".to_owned(), "81".to_owned())]);
        let (class, reading) = kept(few.clone());
        let first_of_its_time = Timestamp::from_nanos(AT.nanos() + 1);
        assert_eq!(
            (class, reading.metric.as_str(), reading.time),
            (Class::Alarm, "alarm.hot", first_of_its_time)
        );
        let Value::Text(text) = reading.value else { panic!() };
        assert_eq!(serde_json::from_str::<AlarmEvent>(&text).unwrap(), few);

        let many = event(vec![("x".repeat(TEXT_BYTES_MAX), "1".to_owned())]);
        let Value::Text(text) = kept(many).1.value else { panic!() };
        assert_eq!(serde_json::from_str::<AlarmEvent>(&text).unwrap(), event(Vec::new()));
    }

    #[test]
    fn a_command_is_a_request_whose_execution_follows_from_the_effect() {
        let command = effect(EffectKind::Command {
            device: DeviceId::new("relay-1").unwrap(),
            command: "open".to_owned(),
            payload: json!({ "delay_s": 5 }),
        });
        let Local::Request(topic, payload) = of(&command, AT).unwrap() else { panic!() };
        let request: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let expected =
            json!({ "command": "open", "parameters": { "delay_s": 5 }, "expires": AT.millis() + 60_000 });
        assert_eq!(request, expected);
        assert!(topic.to_string().starts_with("$aws/commands/things/relay-1/executions/"), "{topic}");
        let Local::Request(again, _) = of(&command, Timestamp::EPOCH).unwrap() else { panic!() };
        assert_eq!(again, topic);
    }
}

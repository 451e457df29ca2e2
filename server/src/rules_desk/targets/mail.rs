//! A notification as people read it.

use fieldline_rules::{Effect, Mark, Notification};
use serde::Serialize;

/// How bad it is and what it says, so that it can be judged without being opened.
pub(super) fn subject(notification: &Notification) -> String {
    let message = notification.message.lines().next().unwrap_or_default();
    let again = if notification.repeated { "still: " } else { "" };
    let mark = match notification.mark {
        Mark::Live => String::new(),
        mark => format!(" ({})", word(&mark)),
    };
    format!("[{}] {again}{message}{mark}", word(&notification.severity))
}

/// What it says, and the facts.
pub(super) fn text(effect: &Effect, notification: &Notification) -> String {
    let event = &notification.event;
    let mut text = format!("{}\n\n", notification.message);
    let facts = [
        ("device", effect.device.to_string()),
        ("rule", effect.rule.to_string()),
        ("severity", word(&notification.severity)),
        ("what", word(&event.transition)),
        ("at", word(&event.at)),
        ("mark", word(&notification.mark)),
        ("alarm", event.alarm.id.clone()),
    ];
    let values = event.alarm.values.iter().map(|(name, value)| (name.as_str(), value.clone()));
    for (name, value) in facts.into_iter().chain(values) {
        text += &format!("{name}: {value}\n");
    }
    text
}

/// As it is written in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use fieldline_rules::EffectKind;
    use serde_json::json;

    use super::*;

    fn effect(mark: &str, repeated: bool) -> Effect {
        let alarm = json!({
            "id": "oil-hot/press-4/1000", "rule": "oil-hot", "device": "press-4", "severity": "critical",
            "state": "active_unacknowledged", "raised_at": "2026-11-22T10:00:00Z", "returned_at": null,
            "mark": mark, "values": [["temperature", "81.5"]], "shelved": null, "suppressed": false,
        });
        let notification = json!({
            "target": "ops", "message": "press-4: oil at 81.5 °C\nlook at the cooler", "severity": "critical",
            "mark": mark, "repeated": repeated,
            "event": { "transition": "raised", "at": "2026-11-22T10:00:00Z", "alarm": alarm },
        });
        let effect = json!({
            "id": "a", "rule": "oil-hot", "device": "press-4", "at": "2026-11-22T10:00:00Z",
            "kind": { "notify": notification },
        });
        serde_json::from_value(effect).unwrap()
    }

    fn notification(effect: &Effect) -> &Notification {
        match &effect.kind {
            EffectKind::Notify(notification) => notification,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subject_can_be_judged_without_opening_the_message() {
        for (mark, repeated, expected) in [
            ("live", false, "[critical] press-4: oil at 81.5 °C"),
            ("late", false, "[critical] press-4: oil at 81.5 °C (late)"),
            ("live", true, "[critical] still: press-4: oil at 81.5 °C"),
        ] {
            assert_eq!(subject(notification(&effect(mark, repeated))), expected);
        }
    }

    #[test]
    fn the_text_holds_the_facts() {
        let effect = effect("live", false);
        let text = text(&effect, notification(&effect));
        assert!(
            text.starts_with("press-4: oil at 81.5 °C\nlook at the cooler\n\ndevice: press-4\n"),
            "{text}"
        );
        for line in ["severity: critical", "what: raised", "at: 2026-11-22T10:00:00Z", "temperature: 81.5"] {
            assert!(text.lines().any(|written| written == line), "{line} is missing: {text}");
        }
    }
}

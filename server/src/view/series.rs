//! Devices, latest values and series, as tables or CSV.

use fieldline_model::Timestamp;
use serde_json::Value;

use super::Table;

/// The answer of `/api/v1/devices` as a table.
pub fn devices(answer: &Value) -> String {
    let found = list(answer, "devices");
    if found.is_empty() {
        return "no device has sent anything yet\n".to_owned();
    }
    let mut table = Table::new(&["device", "newest reading", ">series"]);
    for device in found {
        table.row(vec![word(device, "device"), word(device, "last"), word(device, "series")]);
    }
    table.render()
}

/// The answer of `/api/v1/devices/<id>/latest` as a table.
pub fn latest(answer: &Value) -> String {
    let mut table = Table::new(&["metric", ">value", "time", "quality"]);
    for reading in list(answer, "metrics") {
        let quality = Some(word(reading, "quality")).filter(|quality| quality != "good").unwrap_or_default();
        table.row(vec![word(reading, "metric"), word(reading, "value"), word(reading, "time"), quality]);
    }
    table.render()
}

/// Points as a table.
pub fn series_table(points: &[(i64, Value)]) -> String {
    if points.is_empty() {
        return "no values in that time\n".to_owned();
    }
    let mut table = Table::new(&["time", ">value"]);
    for (time, value) in points {
        table.row(vec![moment(*time), plain(value)]);
    }
    table.render()
}

/// Points as CSV, with a line of column names; texts quoted as RFC 4180 has it.
pub fn csv(points: &[(i64, Value)]) -> String {
    let mut out = String::from("timestamp,value\n");
    for (time, value) in points {
        let text = plain(value);
        let text = if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        };
        out.push_str(&format!("{},{text}\n", moment(*time)));
    }
    out
}

/// The points of a series answer: (epoch ms, value).
pub fn points(answer: &Value) -> Vec<(i64, Value)> {
    list(answer, "points")
        .iter()
        .filter_map(|point| Some((point.get(0)?.as_i64()?, point.get(1)?.clone())))
        .collect()
}

/// Epoch milliseconds as RFC 3339; nothing for what is no number.
pub fn time(millis: &Value) -> String {
    millis.as_i64().map(moment).unwrap_or_default()
}

pub(super) fn moment(millis: i64) -> String {
    Timestamp::from_millis(millis).map_or_else(|_| format!("{millis} ms"), |time| time.to_string())
}

pub(super) fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn word(object: &Value, key: &str) -> String {
    object.get(key).map(plain).unwrap_or_default()
}

/// Texts without their quotes, null as nothing, anything else as JSON has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn latest_values_stand_in_a_table() {
        let answer = json!({"device": "d", "metrics": [
            {"metric": "temperature", "time": "2026-11-22T10:00:00Z", "value": 21.5, "quality": "good"},
            {"metric": "mode", "time": "2026-11-22T10:00:00Z", "value": "auto", "quality": "bad"},
        ]});
        let text = latest(&answer);
        assert!(text.contains("temperature   21.5  2026-11-22T10:00:00Z\n"), "{text}");
        assert!(text.contains("mode          auto  2026-11-22T10:00:00Z  bad\n"), "{text}");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let points = [(0, json!(1.5)), (1, json!("a,\"b\"")), (2, Value::Null)];
        assert_eq!(
            csv(&points),
            "timestamp,value\n1970-01-01T00:00:00Z,1.5\n1970-01-01T00:00:00.001Z,\"a,\"\"b\"\"\"\n\
             1970-01-01T00:00:00.002Z,\n"
        );
    }

    #[test]
    fn no_devices_are_told_in_words() {
        assert_eq!(devices(&json!({"devices": []})), "no device has sent anything yet\n");
    }
}

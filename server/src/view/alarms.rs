//! Alarms, their history, and rules as tables.

use serde_json::Value;

use super::Table;
use super::series::{list, word};

/// The answer of `/api/v1/alarms` as a table.
pub fn alarms(answer: &Value) -> String {
    let found = list(answer, "alarms");
    if found.is_empty() {
        return "no alarms\n".to_owned();
    }
    let mut table = Table::new(&["alarm", "severity", "state", "raised", "returned", "values", ""]);
    for alarm in found {
        table.row(vec![
            word(alarm, "id"),
            word(alarm, "severity"),
            state(alarm),
            word(alarm, "raised_at"),
            word(alarm, "returned_at"),
            values(alarm),
            remarks(alarm),
        ]);
    }
    let total = answer["total"].as_u64().unwrap_or(0);
    let more = total.saturating_sub(found.len() as u64);
    let rest = if more > 0 { format!("and {more} more; see --limit\n") } else { String::new() };
    table.render() + &rest
}

/// One alarm as a line.
pub fn alarm(alarm: &Value) -> String {
    let words = [word(alarm, "id"), state(alarm), remarks(alarm)];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ") + "\n"
}

/// Lines of `/api/v1/alarms/history` as a table.
pub fn alarm_history(lines: &[Value]) -> String {
    if lines.is_empty() {
        return "nothing has happened to alarms in that time\n".to_owned();
    }
    let mut table = Table::new(&["time", "what", "alarm", "severity", "state", "by", "said", ""]);
    for line in lines {
        let alarm = &line["alarm"];
        table.row(vec![
            word(line, "at"),
            word(line, "transition"),
            word(alarm, "id"),
            word(alarm, "severity"),
            state(alarm),
            word(line, "by"),
            word(line, "comment"),
            [word(line, "gateway"), mark(alarm)].join(" ").trim().to_owned(),
        ]);
    }
    table.render()
}

/// The answer of `/api/v1/rules` as tables: the rules, and what cannot be used.
pub fn rules(answer: &Value) -> String {
    let found = list(answer, "rules");
    let mut out = if found.is_empty() {
        format!("no rules are in force; put files into {}\n", word(answer, "folder"))
    } else {
        let mut table =
            Table::new(&["rule", "severity", ">instances", ">evaluations", ">ns each", ">errors", ""]);
        for state in found {
            let rule = &state["rule"];
            let count = |key: &str| state[key].as_u64().unwrap_or(0);
            let each = count("nanos").checked_div(count("evaluations")).filter(|nanos| *nanos > 0);
            let disabled = state["disabled"].as_str().map(|why| format!("disabled: {why}"));
            let some = Some(count("instances_disabled")).filter(|some| *some > 0);
            let disabled = disabled.or(some.map(|some| format!("disabled for {some}")));
            table.row(vec![
                word(rule, "name"),
                word(rule, "severity"),
                word(state, "instances"),
                word(state, "evaluations"),
                each.map_or_else(String::new, |nanos| nanos.to_string()),
                word(state, "errors"),
                disabled.unwrap_or_default(),
            ]);
        }
        table.render()
    };
    for edge in list(answer, "edge") {
        out.push_str(&format!("{} runs on gateways\n", edge.as_str().unwrap_or_default()));
    }
    for file in list(answer, "files").iter().filter(|file| file.get("error").is_some()) {
        let former = list(file, "rules").len();
        let force = if former > 0 { "its former version is in force" } else { "nothing of it is in force" };
        out.push_str(&format!("{}: {}; {force}\n", word(file, "file"), word(&file["error"], "reason")));
    }
    out
}

fn state(alarm: &Value) -> String {
    word(alarm, "state").replace('_', " ")
}

fn mark(alarm: &Value) -> String {
    Some(word(alarm, "mark")).filter(|mark| mark != "live").unwrap_or_default()
}

fn values(alarm: &Value) -> String {
    let pairs = list(alarm, "values").iter().filter_map(|pair| {
        let (name, value) = (pair.get(0)?.as_str()?, pair.get(1)?.as_str()?);
        Some(format!("{name}={value}"))
    });
    pairs.collect::<Vec<_>>().join(" ")
}

fn remarks(alarm: &Value) -> String {
    let mut remarks = Vec::new();
    if let Some(gateway) = alarm["gateway"].as_str() {
        remarks.push(format!("by {gateway}"));
    }
    if let Some(until) = alarm["shelved"]["until"].as_str() {
        remarks.push(format!("shelved until {until}"));
    }
    if alarm["suppressed"].as_bool() == Some(true) {
        remarks.push("suppressed".to_owned());
    }
    let mark = mark(alarm);
    if !mark.is_empty() {
        remarks.push(mark);
    }
    remarks.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn alarms_and_what_happened_to_them_stand_in_tables() {
        let alarm = json!({ "id": "hot/press-4/1000", "severity": "critical", "state": "active_unacknowledged",
            "raised_at": "1970-01-01T00:00:01Z", "returned_at": null, "mark": "late", "suppressed": false,
            "values": [["temperature", "81.5"]], "gateway": "hall-7" });
        let table = alarms(&json!({ "alarms": [alarm], "total": 3 }));
        let row = "hot/press-4/1000  critical  active unacknowledged  1970-01-01T00:00:01Z            \
                   temperature=81.5  by hall-7, late\nand 2 more; see --limit\n";
        assert!(table.ends_with(row), "{table}");
        assert_eq!(alarms(&json!({ "alarms": [] })), "no alarms\n");
        let line = json!({ "transition": "acknowledged", "at": "1970-01-01T00:00:02Z", "by": "eva",
            "comment": "pump", "alarm": alarm });
        let table = alarm_history(&[line]);
        assert!(table.contains("acknowledged  hot/press-4/1000"), "{table}");
        assert!(table.contains("eva  pump  late\n"), "{table}");
    }

    #[test]
    fn a_bad_file_is_named_below_the_rules() {
        let state = json!({ "rule": { "name": "hot", "severity": "warning" }, "instances": 2,
            "evaluations": 10, "nanos": 5000, "errors": 0, "disabled": null });
        let error = json!({ "line": 3, "reason": "line 3: unknown field `wen`" });
        let file = json!({ "file": "/r/a.toml", "rules": ["hot"], "error": error });
        let text = rules(&json!({ "rules": [state], "edge": ["relay"], "files": [file] }));
        assert!(text.contains("hot   warning           2           10      500       0\n"), "{text}");
        let last = "/r/a.toml: line 3: unknown field `wen`; its former version is in force\n";
        assert!(text.ends_with(&format!("relay runs on gateways\n{last}")), "{text}");
    }
}

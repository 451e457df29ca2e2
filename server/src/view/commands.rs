//! Commands as lines and tables.

use fieldline_model::CommandStatus;
use serde_json::Value;

use super::Table;
use super::series::{list, moment, word};

/// The answer of `/api/v1/commands` as a table.
pub fn commands(answer: &Value) -> String {
    let found = list(answer, "commands");
    if found.is_empty() {
        return "no commands\n".to_owned();
    }
    let mut table = Table::new(&["id", "device", "command", "status", "since", "why"]);
    for command in found {
        table.row(vec![
            word(command, "id"),
            word(command, "thing"),
            word(command, "command"),
            said(command),
            time(command, "updated"),
            reason(command),
        ]);
    }
    table.render()
}

/// One command in full, a line for each thing that is known of it.
pub fn command(answer: &Value) -> String {
    let mut table = Table::new(&["", ""]);
    for (name, text) in [
        ("id", word(answer, "id")),
        ("device", word(answer, "thing")),
        ("command", word(answer, "command")),
        ("parameters", word(answer, "parameters")),
        ("status", said(answer)),
        ("why", reason(answer)),
        ("result", word(answer, "result")),
        ("sent", time(answer, "created")),
        ("expires", time(answer, "expires")),
        ("updated", time(answer, "updated")),
    ] {
        if !text.is_empty() {
            table.row(vec![name.to_owned(), text]);
        }
    }
    table.render().trim_start().to_owned()
}

/// How far a command has come, as one line: the status, and its id, its result, or why it is so.
pub fn command_step(answer: &Value) -> String {
    let more = match word(answer, "status").as_str() {
        "CREATED" => word(answer, "id"),
        _ => [reason(answer), word(answer, "result")]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("  "),
    };
    format!("{}  {more}", said(answer)).trim_end().to_owned() + "\n"
}

fn said(command: &Value) -> String {
    let word = word(command, "status");
    word.parse::<CommandStatus>().map_or(word, |status| status.said().to_owned())
}

fn time(command: &Value, key: &str) -> String {
    command.get(key).and_then(Value::as_i64).map(moment).unwrap_or_default()
}

fn reason(command: &Value) -> String {
    let Some(reason) = command.get("reason") else { return String::new() };
    match (word(reason, "reasonCode"), word(reason, "reasonDescription")) {
        (code, description) if description.is_empty() => code,
        (code, description) => format!("{code}: {description}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_one_line_each() {
        let reason = json!({ "reasonCode": "JAMMED", "reasonDescription": "a sheet is stuck" });
        for (answer, line) in [
            (json!({ "id": "x", "status": "CREATED" }), "accepted  x\n"),
            (json!({ "id": "x", "status": "IN_PROGRESS" }), "running\n"),
            (json!({ "id": "x", "status": "SUCCEEDED", "result": { "boots": 7 } }), "done  {\"boots\":7}\n"),
            (
                json!({ "id": "x", "status": "FAILED", "reason": reason }),
                "failed  JAMMED: a sheet is stuck\n",
            ),
            (json!({ "id": "x", "status": "REJECTED", "reason": { "reasonCode": "NO" } }), "rejected  NO\n"),
        ] {
            assert_eq!(command_step(&answer), line);
        }
    }

    #[test]
    fn one_command_is_told_in_full_without_what_is_not_known() {
        let answer = json!({ "id": "x", "thing": "press-4", "command": "stop", "status": "TIMED_OUT",
            "created": 0, "expires": 1000, "updated": 1000 });
        let text = command(&answer);
        assert!(text.starts_with("id       x\n") && text.contains("status   timed out\n"), "{text}");
        assert!(!text.contains("result"), "{text}");
        let table = commands(&json!({ "commands": [answer] }));
        assert!(table.contains("x   press-4  stop     timed out  1970-01-01T00:00:01Z\n"), "{table}");
        assert_eq!(commands(&json!({ "commands": [] })), "no commands\n");
    }
}

//! The ledger in words.

use serde_json::Value;

use super::series::{list, word};

/// How many runs of a list of ranges are spelled out.
const RUNS_SHOWN: usize = 6;

/// The answer of `/api/v1/ledger` in words.
pub fn ledger(answer: &Value) -> String {
    let gateways = list(answer, "gateways");
    if gateways.is_empty() {
        return "the ledger is empty: nothing has been stored and no gateway has reported\n".to_owned();
    }
    let mut out = format!("as of {}\n", word(answer, "as_of"));
    for gateway in gateways {
        describe_gateway(gateway, &mut out);
    }
    out
}

fn describe_gateway(gateway: &Value, out: &mut String) {
    out.push_str(&format!("\n{}\n", word(gateway, "gateway")));
    let count = |key: &str| gateway.get(key).and_then(Value::as_u64).unwrap_or(0);
    match gateway.get("reported").and_then(Value::as_str) {
        Some(time) => out.push_str(&format!("  reported its books at {time}\n")),
        None => out.push_str("  has not reported its books; this is what the store knows\n"),
    }
    out.push_str(&format!(
        "  accepted {} = filtered {} + buffered {} + stored {} + dropped {} + quarantined {}\n",
        count("accepted"),
        count("filtered"),
        count("buffered"),
        count("stored"),
        count("dropped"),
        count("quarantined"),
    ));
    for (key, what) in [("quarantined_by", "quarantined"), ("dropped_by", "dropped by policy")] {
        let parts = gateway.get(key).and_then(Value::as_object);
        for (reason, number) in parts.into_iter().flatten() {
            out.push_str(&format!("    {what}: {reason} {number}\n"));
        }
    }
    for (reason, number) in gateway.get("refused").and_then(Value::as_object).into_iter().flatten() {
        out.push_str(&format!("    messages that the server could not read: {reason} {number}\n"));
    }
    out.push_str(&verdict(gateway));
    for stream in list(gateway, "streams") {
        describe_stream(stream, out);
    }
}

fn verdict(gateway: &Value) -> String {
    let balance = gateway.get("balance").and_then(Value::as_i64);
    let missing = gateway.get("missing").and_then(Value::as_u64).unwrap_or(0);
    let mut out = match balance {
        None => "  the books cannot be balanced before the gateway reports\n".to_owned(),
        Some(0) => "  the books balance: every reading is accounted for\n".to_owned(),
        Some(over) if over > 0 => {
            format!("  THE BOOKS DO NOT BALANCE: {over} accepted readings are nowhere\n")
        }
        Some(under) => {
            format!("  THE BOOKS DO NOT BALANCE: {} readings more than were accepted\n", under.unsigned_abs())
        }
    };
    if missing > 0 {
        out.push_str(&format!("  MISSING: {missing} readings are neither stored nor at the gateway\n"));
    }
    out
}

fn describe_stream(stream: &Value, out: &mut String) {
    let own =
        stream.get("class").and_then(Value::as_str).map_or_else(String::new, |class| format!(", {class}"));
    out.push_str(&format!("  stream {}{own}\n", word(stream, "stream")));
    let rows = [
        ("stored", "stored"),
        ("buffered", "buffered at the gateway"),
        ("in_transit", "in transit since the gateway's report"),
        ("damaged", "damaged on the gateway's disk"),
        ("quarantined", "quarantined by the server"),
        ("missing", "MISSING"),
        ("gaps", "gaps in what is stored"),
    ];
    for (key, words) in rows {
        if let Some(text) = ranges(list(stream, key)) {
            out.push_str(&format!("    {words}: {text}\n"));
        }
    }
    for (policy, dropped) in stream.get("dropped").and_then(Value::as_object).into_iter().flatten() {
        if let Some(text) = ranges(dropped.as_array().map_or(&[], Vec::as_slice)) {
            out.push_str(&format!("    dropped by {policy}: {text}\n"));
        }
    }
}

/// `1–100, 151 (101 readings)`; none for an empty list.
fn ranges(runs: &[Value]) -> Option<String> {
    let runs: Vec<(u64, u64)> =
        runs.iter().filter_map(|run| Some((run.get(0)?.as_u64()?, run.get(1)?.as_u64()?))).collect();
    if runs.is_empty() {
        return None;
    }
    let total: u64 = runs.iter().map(|(first, last)| last - first + 1).sum();
    let shown: Vec<String> = runs
        .iter()
        .take(RUNS_SHOWN)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") })
        .collect();
    let more = runs.len().saturating_sub(RUNS_SHOWN);
    let rest = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
    let noun = if total == 1 { "reading" } else { "readings" };
    Some(format!("{}{rest} ({total} {noun})", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_ledger_says_in_words_where_everything_is() {
        let answer = json!({"as_of": "2026-11-22T10:00:00Z", "gateways": [{
            "gateway": "gw-1", "reported": "2026-11-22T09:59:58Z",
            "accepted": 150, "filtered": 40, "buffered": 19, "stored": 61, "dropped": 20, "quarantined": 10,
            "quarantined_by": {"too-old": 10}, "dropped_by": {"drop-oldest": 20}, "balance": 0, "missing": 0,
            "streams": [{"stream": "gw-1/0000000000000a", "class": "live", "stored": [[21, 81]],
                "gaps": [[1, 20]], "buffered": [[82, 100]], "dropped": {"drop-oldest": [[1, 20]]}}],
        }]});
        let text = ledger(&answer);
        for expected in [
            "accepted 150 = filtered 40 + buffered 19 + stored 61 + dropped 20 + quarantined 10",
            "the books balance",
            "stored: 21–81 (61 readings)",
            "dropped by drop-oldest: 1–20 (20 readings)",
            "quarantined: too-old 10",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    #[test]
    fn what_is_missing_is_shouted() {
        let answer = json!({"as_of": "x", "gateways": [{"gateway": "g", "reported": "y", "balance": 3, "missing": 2}]});
        let text = ledger(&answer);
        assert!(
            text.contains("DO NOT BALANCE: 3 accepted readings") && text.contains("MISSING: 2 readings"),
            "{text}"
        );
    }

    #[test]
    fn long_lists_of_ranges_are_cut() {
        let runs: Vec<Value> = (0..10u64).map(|n| json!([n * 10 + 1, n * 10 + 1])).collect();
        assert_eq!(ranges(&runs).unwrap(), "1, 11, 21, 31, 41, 51 and 4 more ranges (10 readings)");
    }
}

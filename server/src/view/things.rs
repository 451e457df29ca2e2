//! Things as a table.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Table;
use super::series::word;

/// Things as `/api/v1/things` has them, with the time of the newest reading of those that have sent any.
pub fn things(found: &[Value], seen: &BTreeMap<String, String>) -> String {
    if found.is_empty() {
        return "there are no things yet; a device that publishes becomes one\n".to_owned();
    }
    let mut table = Table::new(&["thing", "type", "gateway", "last seen", "shadows"]);
    for thing in found {
        let name = word(thing, "thing");
        let last = seen.get(&name).cloned().unwrap_or_default();
        let shadows = thing["shadows"].as_array().map_or(&[][..], Vec::as_slice);
        let shadows: Vec<&str> = shadows.iter().filter_map(Value::as_str).collect();
        let gateway = word(&thing["attributes"], "gateway");
        table.row(vec![name, word(thing, "type"), gateway, last, shadows.join(" ")]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn things_stand_in_a_table() {
        let found = [
            json!({ "thing": "oven-1", "attributes": {}, "shadows": [] }),
            json!({ "thing": "press-4", "type": "press", "attributes": { "gateway": "hall-7" }, "shadows": ["a", "b"] }),
        ];
        let seen = BTreeMap::from([("press-4".to_owned(), "2026-11-22T10:00:00Z".to_owned())]);
        let expected = "thing    type   gateway  last seen             shadows\n\
                        oven-1\n\
                        press-4  press  hall-7   2026-11-22T10:00:00Z  a b\n";
        assert_eq!(things(&found, &seen), expected);
    }
}

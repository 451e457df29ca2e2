//! Which topics of commands a device may use on the gateway's own broker.

use fieldline_model::{CommandPart, CommandTopic, GatewayId, ThingName};

use crate::things::is_own;

/// Whether the name in a device's certificate (none without one) may send to a topic: what it answers to a
/// command of its own. Nobody speaks for the server.
pub(crate) fn may_publish(gateway: &GatewayId, name: Option<&str>, topic: &str) -> bool {
    let Ok(topic) = topic.parse::<CommandTopic>() else { return false };
    topic.part == CommandPart::Response && is_own(gateway, name, topic.thing.as_str())
}

/// Whether it may subscribe: below its own prefix only, with or without wildcards.
pub(crate) fn may_subscribe(gateway: &GatewayId, name: Option<&str>, filter: &str) -> bool {
    thing_of(filter).is_some_and(|thing| is_own(gateway, name, thing))
}

/// The device that a filter makes known. One for every thing names none.
pub(crate) fn watched(filter: &str) -> Option<ThingName> {
    ThingName::new(thing_of(filter)?).ok()
}

fn thing_of(filter: &str) -> Option<&str> {
    match filter.split('/').collect::<Vec<_>>().as_slice() {
        ["$aws", "commands", "things", thing, "executions", _, ..] => Some(thing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_answers_its_own_commands_only() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let table = [
            ("$aws/commands/things/press-4/executions/x/response/json", true, true),
            ("$aws/commands/things/press-5/executions/x/response/json", false, true),
            ("$aws/commands/things/gw-1/executions/x/response/json", false, false),
            ("$aws/commands/things/press-4/executions/x/request/json", false, false),
            ("$aws/commands/things/press-4/executions/x/response/accepted/json", false, false),
            ("$aws/commands/things/press-4/executions/x/response/rejected/json", false, false),
            ("$aws/commands/clients/press-4/executions/x/response/json", false, false),
        ];
        for (topic, own, local) in table {
            assert_eq!(may_publish(&gateway, Some("press-4"), topic), own, "{topic}");
            assert_eq!(may_publish(&gateway, None, topic), local, "{topic} without a certificate");
            assert!(!may_publish(&gateway, Some(""), topic), "{topic} with a nameless certificate");
        }
        assert!(!may_publish(&gateway, Some("gw-1"), table[2].0));
    }

    #[test]
    fn a_device_listens_to_its_own_commands_only() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let table = [
            ("$aws/commands/things/press-4/executions/+/request/json", true, true),
            ("$aws/commands/things/press-4/executions/+/response/+/json", true, true),
            ("$aws/commands/things/press-4/executions/#", true, true),
            ("$aws/commands/things/press-5/executions/+/request/json", false, true),
            ("$aws/commands/things/+/executions/+/request/json", false, true),
            ("$aws/commands/things/press-4/#", false, false),
            ("$aws/commands/things/gw-1/executions/#", false, false),
            ("$aws/commands/#", false, false),
            ("$aws/+/things/press-4/executions/#", false, false),
        ];
        for (filter, own, local) in table {
            assert_eq!(may_subscribe(&gateway, Some("press-4"), filter), own, "{filter}");
            assert_eq!(may_subscribe(&gateway, None, filter), local, "{filter} without a certificate");
        }
        for name in ["+", "#", "press-4/x"] {
            let filter = format!("$aws/commands/things/{name}/executions/#");
            assert!(!may_subscribe(&gateway, Some(name), &filter), "{name} is no thing");
        }
        assert_eq!(watched(table[0].0), ThingName::new("press-4").ok());
        assert_eq!(watched(table[4].0), None);
    }
}

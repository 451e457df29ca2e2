//! Which topics of things a device may use on the gateway's own broker.

use fieldline_model::{GatewayId, ShadowFilter, ShadowId, ShadowName, ShadowPart, ShadowTopic, ThingName};

/// What a device listens to: filters to have in the cloud, and the shadows that are named outright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) filter: ShadowFilter,
    pub(crate) shadow: Option<ShadowId>,
}

/// Whether the name in a device's certificate (none without one) may send to a topic: a request for a
/// shadow of its own. The gateway's own shadows are no business of its devices, and nobody speaks for the
/// service.
pub(crate) fn may_publish(gateway: &GatewayId, name: Option<&str>, topic: &str) -> bool {
    let Ok(topic) = topic.parse::<ShadowTopic>() else { return false };
    topic.part == ShadowPart::Request && is_own(gateway, name, topic.shadow.thing.as_str())
}

/// Whether it may subscribe: below its own prefix only, with or without wildcards.
pub(crate) fn may_subscribe(gateway: &GatewayId, name: Option<&str>, filter: &str) -> bool {
    match filter.split('/').collect::<Vec<_>>().as_slice() {
        ["$aws", "things", thing, "shadow", _, ..] => is_own(gateway, name, thing),
        _ => false,
    }
}

/// Whether a device speaks for this thing: the one that its certificate names, or without one any but the
/// gateway.
pub(crate) fn is_own(gateway: &GatewayId, name: Option<&str>, thing: &str) -> bool {
    thing != gateway.as_str() && name.is_none_or(|name| name == thing && is_thing(name))
}

/// Whether a certificate's Common Name is that of a thing: one level of a topic and no pattern. Whoever were
/// called `+` would hear what all others hear.
pub(crate) fn is_thing(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains(['+', '#', '/'])
}

/// The shadows that a device makes known by listening. A filter for every thing names none.
pub(crate) fn watched(filter: &str) -> Vec<Watched> {
    let levels: Vec<&str> = filter.split('/').collect();
    let ["$aws", "things", thing, "shadow", rest @ ..] = levels.as_slice() else { return Vec::new() };
    let Ok(thing) = ThingName::new(thing) else { return Vec::new() };
    let one = |named: bool, name: Option<Option<ShadowName>>| Watched {
        filter: ShadowFilter { thing: Some(thing.clone()), named },
        shadow: name.map(|name| ShadowId { thing: thing.clone(), name }),
    };
    match rest {
        ["name", name, ..] => match ShadowName::new(name) {
            Ok(name) => vec![one(true, Some(Some(name)))],
            Err(_) => vec![one(true, None)],
        },
        ["#"] => vec![one(false, Some(None)), one(true, None)],
        _ => vec![one(false, Some(None))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_asks_for_its_own_shadows_only() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let table = [
            ("$aws/things/press-4/shadow/get", true, true),
            ("$aws/things/press-4/shadow/name/$x/update", true, true),
            ("$aws/things/press-5/shadow/update", false, true),
            ("$aws/things/gw-1/shadow/name/config/update", false, false),
            ("$aws/things/gw-1/shadow/get", false, false),
            ("$aws/things/press-4/shadow/update/accepted", false, false),
            ("$aws/things/press-4/shadow/update/delta", false, false),
            ("$aws/things/press-4/shadow/get/rejected", false, false),
            ("$aws/things/press-4/jobs/get", false, false),
            ("$aws/things/../shadow/get", false, false),
            ("$aws/rules/x/press-4", false, false),
            ("$SYS/x", false, false),
        ];
        for (topic, own, local) in table {
            assert_eq!(may_publish(&gateway, Some("press-4"), topic), own, "{topic}");
            assert_eq!(may_publish(&gateway, None, topic), local, "{topic} without a certificate");
            assert!(!may_publish(&gateway, Some(""), topic), "{topic} with a nameless certificate");
        }
        assert!(!may_publish(&gateway, Some("gw-1"), "$aws/things/gw-1/shadow/get"));
    }

    #[test]
    fn a_device_listens_below_its_own_prefix_only() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let table = [
            ("$aws/things/press-4/shadow/#", true, true),
            ("$aws/things/press-4/shadow/update/+", true, true),
            ("$aws/things/press-4/shadow/name/+/update/delta", true, true),
            ("$aws/things/press-5/shadow/#", false, true),
            ("$aws/things/+/shadow/#", false, true),
            ("$aws/things/+/shadow/update/delta", false, true),
            ("$aws/things/#", false, false),
            ("$aws/things/press-4/#", false, false),
            ("$aws/things/press-4/+/get", false, false),
            ("$aws/things/gw-1/shadow/#", false, false),
            ("$aws/#", false, false),
            ("$SYS/#", false, false),
        ];
        for (filter, own, local) in table {
            assert_eq!(may_subscribe(&gateway, Some("press-4"), filter), own, "{filter}");
            assert_eq!(may_subscribe(&gateway, None, filter), local, "{filter} without a certificate");
        }
    }

    #[test]
    fn a_name_that_is_a_pattern_is_no_thing() {
        let gateway = GatewayId::new("gw-1").unwrap();
        for name in ["", "+", "#", "press-4/shadow", "press+", "$aws"] {
            for filter in [format!("$aws/things/{name}/shadow/#"), "$aws/things/press-4/shadow/#".to_owned()]
            {
                assert!(!may_subscribe(&gateway, Some(name), &filter), "{name}: {filter}");
            }
            assert!(!is_own(&gateway, Some(name), name), "{name}");
        }
    }

    #[test]
    fn listening_makes_a_device_known() {
        let named = |filter: &str| {
            let watched = watched(filter);
            watched
                .iter()
                .map(|one| (one.filter.named, one.shadow.as_ref().map(ToString::to_string)))
                .collect::<Vec<_>>()
        };
        assert_eq!(named("$aws/things/a/shadow/update/delta"), [(false, Some("a".to_owned()))]);
        assert_eq!(named("$aws/things/a/shadow/name/n/#"), [(true, Some("a~n".to_owned()))]);
        assert_eq!(named("$aws/things/a/shadow/name/+/update/+"), [(true, None)]);
        assert_eq!(named("$aws/things/a/shadow/#"), [(false, Some("a".to_owned())), (true, None)]);
        assert_eq!(named("$aws/things/+/shadow/#"), []);
    }
}

//! Who may do what, by the name in the client's certificate.
//!
//! Without a certificate a client is on this machine (the plain listener is on loopback only) and
//! speaks for any device or gateway, but for the server itself nobody speaks: a forged
//! acknowledgement would make a gateway let go of what is not stored.

use fieldline_model::{ShadowPart, ShadowTopic};
use fieldline_mqtt::{ClientInfo, ConnectRequest, Identity, Refusal};

/// Topics below this are the server's own word.
const SERVER_PREFIX: &str = "fieldline/";

/// The name that the client's certificate vouches for; none without a certificate, `""` for a
/// certificate without a name (which then may do nothing that needs one).
pub(super) fn name(client: &ClientInfo) -> Option<&str> {
    client.identity.as_ref().map(|identity| identity.common_name.as_deref().unwrap_or_default())
}

/// With a certificate, the client identifier is its name: two gateways cannot throw each other off.
pub(super) fn may_connect(connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
    match connect.identity {
        Some(identity) if !vouches_for(identity, connect.client_id) => Err(Refusal::IdentifierRejected),
        _ => Ok(()),
    }
}

/// A name is one level of a topic and no pattern: whoever were called `+` would hear what all others hear.
fn vouches_for(identity: &Identity, name: &str) -> bool {
    let level = !name.is_empty() && !name.starts_with('$') && !name.contains(['+', '#', '/']);
    level && identity.common_name.as_deref() == Some(name)
}

pub(super) fn may_publish(name: Option<&str>, topic: &str) -> bool {
    let replies = |topic: ShadowTopic| topic.part != ShadowPart::Request;
    if topic.starts_with(SERVER_PREFIX) || topic.parse().is_ok_and(replies) {
        return false;
    }
    let Some(name) = name else { return true };
    let mut levels = topic.split('/');
    match levels.next() {
        Some("telemetry") => levels.next() == Some(name),
        Some("$aws") => match levels.next() {
            // $aws/rules/<rule>/<gateway>
            Some("rules") => levels.nth(1) == Some(name),
            Some("things") => levels.next() == Some(name),
            _ => false,
        },
        Some(first) => !first.starts_with('$'),
        None => false,
    }
}

pub(super) fn may_subscribe(name: Option<&str>, filter: &str) -> bool {
    let Some(name) = name else { return true };
    let mut levels = filter.split('/');
    match levels.next() {
        Some("fieldline" | "telemetry") => levels.next() == Some(name),
        Some("$aws") => levels.next() == Some("things") && levels.next() == Some(name),
        Some("#" | "+") | None => false,
        Some(first) => !first.starts_with('$'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate for `+` was let in, and `$aws/things/+/shadow/#` was then its own.
    #[test]
    fn a_name_is_one_level_and_no_pattern() {
        for (name, good) in
            [("gw-1", true), ("press.4", true), ("+", false), ("#", false), ("a/b", false), ("$aws", false)]
        {
            let common_name = Some(name.to_owned());
            let identity = Identity { common_name, alternative_names: Vec::new(), fingerprint: [0; 32] };
            assert_eq!(vouches_for(&identity, name), good, "{name}");
            assert!(!vouches_for(&identity, "gw-2") && !vouches_for(&identity, ""), "{name}");
        }
    }

    #[test]
    fn nobody_speaks_for_the_server() {
        for name in [None, Some("gw-1")] {
            assert!(!may_publish(name, "fieldline/gw-1/ack"), "{name:?}");
            assert!(!may_publish(name, "$aws/things/gw-1/shadow/update/accepted"), "{name:?}");
            assert!(!may_publish(name, "$aws/things/gw-1/shadow/name/x/update/delta"), "{name:?}");
        }
    }

    #[test]
    fn a_certificate_speaks_for_its_own_name_only() {
        let table = [
            ("$aws/rules/fieldline_ingest/gw-1", true),
            ("$aws/rules/fieldline_ingest/gw-2", false),
            ("$aws/rules/fieldline_books/gw-1", true),
            ("$aws/rules/fieldline_ingest", false),
            ("$aws/things/gw-1/shadow/update", true),
            ("$aws/things/gw-1/shadow/name/config/get", true),
            ("$aws/things/gw-2/shadow/update", false),
            ("$aws/things/gw-1", true),
            ("$aws/events/gw-1/gw-1", false),
            ("telemetry/gw-1", true),
            ("telemetry/press-4/temperature", false),
            ("hall/light", true),
            ("$SYS/x", false),
        ];
        for (topic, allowed) in table {
            assert_eq!(may_publish(Some("gw-1"), topic), allowed, "{topic}");
            assert!(may_publish(None, topic), "without a certificate: {topic}");
        }
    }

    #[test]
    fn a_certificate_hears_its_own_acknowledgements_only() {
        let table = [
            ("fieldline/gw-1/ack", true),
            ("fieldline/gw-2/ack", false),
            ("fieldline/+/ack", false),
            ("fieldline/#", false),
            ("#", false),
            ("+/gw-2/ack", false),
            ("hall/#", true),
            ("$aws/rules/#", false),
            ("$aws/things/gw-1/shadow/update/+", true),
            ("$aws/things/gw-1/#", true),
            ("$aws/things/gw-2/shadow/update/accepted", false),
            ("$aws/things/+/shadow/update/accepted", false),
            ("$aws/#", false),
            ("+/things/gw-2/#", false),
        ];
        for (filter, allowed) in table {
            assert_eq!(may_subscribe(Some("gw-1"), filter), allowed, "{filter}");
            assert!(may_subscribe(None, filter));
        }
    }
}

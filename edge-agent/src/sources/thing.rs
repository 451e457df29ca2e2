//! The thing that a client's certificate binds its connection to.

use fieldline_mqtt::{Identity, Refusal};

use crate::things::thing;

/// What parts a thing's name from the rest of a client id: no thing's name has it, so that what begins so is
/// nobody else's.
const SEPARATOR: char = '/';

/// Whether a client of this certificate may connect by this id: its thing's name, or `<thing>/…` for its further
/// connections. A certificate that names no thing does not get in.
pub(super) fn may_connect(identity: &Identity, client_id: &str) -> Result<(), Refusal> {
    let thing = thing(identity).ok_or(Refusal::NotAuthorized)?;
    match client_id.strip_prefix(thing).map(|rest| rest.is_empty() || rest.starts_with(SEPARATOR)) {
        Some(true) => Ok(()),
        _ => Err(Refusal::NotAuthorized),
    }
}

/// Whether a client of this certificate may receive what comes on a topic: of `$` topics, its thing's shadows and
/// commands only.
pub(super) fn may_receive(identity: &Identity, topic: &str) -> bool {
    let mut levels = topic.split('/');
    let of = match (levels.next(), levels.next(), levels.next(), levels.next()) {
        (Some("$aws"), Some("things"), of, Some("shadow")) => of,
        (Some("$aws"), Some("commands"), Some("things"), of) => of,
        (Some(first), ..) => return !first.starts_with('$'),
        (None, ..) => return false,
    };
    of.is_some() && of == thing(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: Option<&str>) -> Identity {
        Identity { common_name: name.map(str::to_owned), alternative_names: Vec::new(), fingerprint: [7; 32] }
    }

    #[test]
    fn a_client_connects_by_the_name_of_its_thing_only() {
        let table = [
            (Some("press-4"), "press-4", true),
            (Some("press-4"), "press-4/maintenance", true),
            (Some("press-4"), "press-5", false),
            (Some("press-4"), "press-44", false),
            (Some("press-4"), "press-4-maintenance", false),
            (Some("press-4"), "press", false),
            (Some("press-4"), "", false),
            (None, "press-4", false),
            (Some(""), "", false),
            (Some("+"), "+", false),
            (Some("#"), "#", false),
            (Some("press-4/x"), "press-4/x", false),
            (Some("$aws"), "$aws", false),
        ];
        for (name, client_id, may) in table {
            let answer = may_connect(&identity(name), client_id);
            assert_eq!(answer.is_ok(), may, "{name:?} as {client_id:?}");
        }
    }

    #[test]
    fn what_another_thing_is_told_is_not_received() {
        let table = [
            ("$aws/things/press-4/shadow/update/delta", true),
            ("$aws/things/press-4/shadow/name/x/get/accepted", true),
            ("$aws/things/press-5/shadow/update/delta", false),
            ("$aws/things/press-5/shadow/name/press-4/update/delta", false),
            ("$aws/commands/things/press-4/executions/1/request/json", true),
            ("$aws/commands/things/press-5/executions/1/request/json", false),
            ("$aws/things/press-4", false),
            ("$SYS/broker", false),
            ("site/announcements", true),
            ("press-5/anything", true),
        ];
        for (topic, may) in table {
            assert_eq!(may_receive(&identity(Some("press-4")), topic), may, "{topic}");
        }
        for nobody in [None, Some("+")] {
            assert!(!may_receive(&identity(nobody), "$aws/things/+/shadow/update/delta"));
            assert!(may_receive(&identity(nobody), "site/announcements"));
        }
    }
}

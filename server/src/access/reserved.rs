//! What only the server says: a forged acknowledgement would make a gateway let go of what is not stored, a
//! forged reply would make a device believe what nobody decided. And whose shadows and commands are spoken of.

use fieldline_model::{ShadowPart, ShadowTopic};
use fieldline_policy::Resource;

/// Whether nobody but the server publishes there.
pub(crate) fn is_reserved(topic: &str) -> bool {
    let Some(first) = topic.split('/').next() else { return false };
    match first {
        "fieldline" => topic.len() > first.len(),
        "$aws" => is_reply(topic) || is_command_of_ours(topic),
        _ => false,
    }
}

fn is_reply(topic: &str) -> bool {
    topic.parse().is_ok_and(|topic: ShadowTopic| topic.part != ShadowPart::Request)
}

/// `$aws/commands/things/<thing>/executions/<id>/` and then anything but a device's `response/<format>`.
fn is_command_of_ours(topic: &str) -> bool {
    let Some(rest) = topic.strip_prefix("$aws/commands/") else { return false };
    let levels: Vec<&str> = rest.split('/').collect();
    !matches!(levels.as_slice(), [_, _, "executions", _, "response", _])
}

/// The thing whose shadows or commands a resource is; none for other resources and for filters, which are
/// asked about again with each message.
pub(super) fn thing_of<'a>(resource: &Resource<'a>) -> Option<&'a str> {
    match *resource {
        Resource::Thing { thing, .. } => Some(thing),
        Resource::Topic(topic) => {
            let rest = topic.strip_prefix("$aws/")?;
            let rest = rest.strip_prefix("things/").or_else(|| rest.strip_prefix("commands/things/"))?;
            rest.split('/').next()
        }
        _ => None,
    }
}

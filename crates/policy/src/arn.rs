//! The resources of a statement.

use crate::Error;
use crate::pattern::Pattern;

/// What AWS IoT's ARNs name, as far as devices' policies do. Only the first few are asked about here; the
/// others stand in documents written for AWS.
const KINDS: [&str; 14] = [
    "client",
    "topic",
    "topicfilter",
    "thing",
    "retainedmessage",
    "cert",
    "job",
    "jobtemplate",
    "policy",
    "rolealias",
    "rule",
    "stream",
    "thinggroup",
    "thingtype",
];

/// Compiles a resource to a pattern for the last part of an ARN. Partition, region and account are not
/// compared: a site is one account, and documents written for AWS must work unchanged.
pub(crate) fn parse(text: &str) -> Result<Pattern, Error> {
    let refused = || Error::Resource { resource: text.to_owned() };
    if matches!(text, "*" | "arn:aws:iot:*") {
        return Pattern::parse("*");
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iot", region, account, name] => {
            let place = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-*?".contains(&b));
            let partition = partition.starts_with("aws") || *partition == "*";
            if !partition || !place(region) || !place(account) || !kind_is_known(name) {
                return Err(refused());
            }
            Pattern::parse(name)
        }
        // `*` may stand for what is left of an ARN.
        ["arn", _, "iot", _region, "*"] => Pattern::parse("*"),
        _ => Err(refused()),
    }
}

/// Whether `name` begins with a kind of resource, or with a wildcard where one would be. A misspelt kind
/// would match nothing, which in a Deny would be silent.
fn kind_is_known(name: &str) -> bool {
    let kind = name.split('/').next().unwrap_or_default();
    if kind.contains(['*', '?']) { !kind.contains("${") } else { KINDS.contains(&kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    #[test]
    fn region_and_account_are_not_compared() {
        let same = [
            "*",
            "arn:aws:iot:*",
            "arn:aws:iot:*:*",
            "arn:aws:iot:*:*:*",
            "arn:aws:iot:eu-central-1:123456789012:topic/a:b/c",
            "arn:aws-cn:iot:cn-north-1:123456789012:topic/*",
            "arn:aws:iot:local:000000000000:topic/a:b/?",
            "arn:aws:iot:*:*:topic*",
            "arn:aws:iot:::topic/a:b/c",
        ];
        for text in same {
            let pattern = parse(text).unwrap();
            assert!(pattern.matches("topic/a:b/c", &Variables::default(), true), "{text}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let refused = [
            "",
            "topic/a",
            "arn:aws:s3:::bucket",
            "arn:aws:iot:eu-central-1:topic/a",
            "arn:aws:iot:eu-central-1:123456789012",
            "arn:aws:iot:eu-central-1:123456789012:",
            "arn:aws:iot:eu-central-1:123456789012:topics/a",
            "arn:aws:iot:eu-central-1:123456789012:Topic/a",
            "arn:aws:iot:eu central:123456789012:topic/a",
            "arn:aws:iot:eu-central-1:123456789012:${iot:ClientId}*/a",
            "arn:aws:iot:eu-central-1:123456789012:topic/${iot:Client}",
            "arn:aws:iot:eu-central-1:123456789012:topic/${iot:ClientId",
            "arn:*:topic/a",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

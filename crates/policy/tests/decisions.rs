//! Who may do what: a table of decisions that knows nothing of patterns, against the engine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

use std::collections::BTreeMap;

use fieldline_policy::{
    Action, Decision, Document, Request, Resource, SIZE_MAX, Thing, Variables, builtin, decide, size,
};

const TABLE: &str = include_str!("decisions.txt");

/// What is held back from the thing `held`.
const HELD: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Deny", "Action": ["iot:Receive", "iot:Subscribe"], "Resource": [
        "arn:aws:iot:eu-central-1:123456789012:topic/site/secret*",
        "arn:aws:iot:eu-central-1:123456789012:topicfilter/site/secret*"]},
    {"Effect": "Deny", "Action": "iot:UpdateThingShadow", "Resource": "arn:aws:iot:*:*:thing/held/config"}]}"#;

/// As people write them for AWS: by client identifier, with `+` that is a letter.
const HALL: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:us-east-1:123456789012:client/${iot:ClientId}",
     "Condition": {"StringEquals": {"iot:ClientId": "a"}}},
    {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"],
     "Resource": "arn:aws:iot:us-east-1:123456789012:topic/hall/*"},
    {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": [
        "arn:aws:iot:us-east-1:123456789012:topicfilter/hall/+/oil",
        "arn:aws:iot:us-east-1:123456789012:topicfilter/hall/${iot:ClientId}/#"]},
    {"Effect": "Deny", "Action": "iot:Receive", "Resource": "arn:aws:iot:us-east-1:123456789012:topic/hall/secret"},
    {"Effect": "Deny", "Action": "iot:Publish", "Resource": "arn:aws:iot:us-east-1:123456789012:topic/hall/*/stop"}]}"#;

struct Client {
    documents: Vec<Document>,
    variables: Variables,
}

fn client(name: &str, attached: bool, documents: &[&str]) -> Client {
    let thing = Thing { name: name.to_owned(), ..Thing::default() };
    Client {
        documents: documents.iter().map(|text| Document::parse(text).unwrap()).collect(),
        variables: Variables {
            client_id: Some(name.to_owned()),
            thing: attached.then_some(thing),
            ..Variables::default()
        },
    }
}

fn clients() -> BTreeMap<&'static str, Client> {
    let device = builtin::DEVICE;
    BTreeMap::from([
        ("a", client("a", true, &[device])),
        ("ab", client("ab", true, &[device])),
        ("a:1", client("a:1", true, &[device])),
        ("gw", client("gw", true, &[device, builtin::GATEWAY])),
        ("held", client("held", true, &[device, HELD])),
        // A name that would make others' topics its own.
        ("telemetry", client("telemetry", true, &[device])),
        // A certificate that no thing is attached to.
        ("unattached", client("a", false, &[device])),
        // A certificate without policies.
        ("bare", client("a", true, &[])),
        ("hall", client("a", true, &[HALL])),
    ])
}

fn question<'a>(operation: &str, on: &'a str) -> (Action, Resource<'a>) {
    let thing = match on.split_once('/') {
        Some((thing, shadow)) => Resource::Thing { thing, shadow: Some(shadow) },
        None => Resource::Thing { thing: on, shadow: None },
    };
    match operation {
        "connect" => (Action::Connect, Resource::Client(on)),
        "publish" => (Action::Publish, Resource::Topic(on)),
        "retain" => (Action::RetainPublish, Resource::Topic(on)),
        "receive" => (Action::Receive, Resource::Topic(on)),
        "subscribe" => (Action::Subscribe, Resource::TopicFilter(on)),
        "get-shadow" => (Action::GetThingShadow, thing),
        "update-shadow" => (Action::UpdateThingShadow, thing),
        "delete-shadow" => (Action::DeleteThingShadow, thing),
        "list-shadows" => (Action::ListNamedShadowsForThing, thing),
        "get-retained" => (Action::GetRetainedMessage, Resource::Topic(on)),
        "list-retained" => (Action::ListRetainedMessages, Resource::RetainedMessages),
        other => panic!("no operation is called {other}"),
    }
}

#[test]
fn every_decision_is_the_tables() {
    let clients = clients();
    let mut lines = TABLE.lines().filter(|line| !line.starts_with("# "));
    let columns: Vec<&str> = lines.next().unwrap().split_whitespace().skip(2).collect();
    assert_eq!(columns.len(), clients.len());
    let (mut decisions, mut wrong) = (0, Vec::new());
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [operation, on, expected @ ..] = words.as_slice() else { panic!("a short line: {line}") };
        assert_eq!(expected.len(), columns.len(), "{line}");
        let (action, resource) = question(operation, on);
        for (name, expected) in columns.iter().zip(expected) {
            let Client { documents, variables } = &clients[name];
            let decision = match decide(documents, &Request { action, resource, variables }) {
                Decision::Allowed => "+",
                Decision::NotAllowed => ".",
                Decision::ExplicitlyDenied => "!",
            };
            decisions += 1;
            if decision != *expected {
                wrong.push(format!("{name} {operation} {on}: {decision}, not {expected}"));
            }
        }
    }
    println!("{decisions} decisions");
    assert!(wrong.is_empty(), "{} of {decisions} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(decisions >= 500, "{decisions}");
}

#[test]
fn the_built_in_documents_fit_awss_quota() {
    for text in [builtin::DEVICE, builtin::GATEWAY] {
        assert!(size(text) <= SIZE_MAX, "{}", size(text));
    }
}

/// The tables of the server's own rules by name, from before there were policies; what differs stands in
/// `builtin`: ordinary topics, and a bare `$aws/things/<thing>`, to which nobody listens.
#[test]
fn a_device_may_what_its_name_has_always_allowed() {
    let gateway = client("gw-1", true, &[builtin::DEVICE]);
    let published = [
        ("$aws/rules/fieldline_ingest/gw-1", true),
        ("$aws/rules/fieldline_ingest/gw-2", false),
        ("$aws/rules/fieldline_books/gw-1", true),
        ("$aws/rules/fieldline_ingest", false),
        ("$aws/things/gw-1/shadow/update", true),
        ("$aws/things/gw-1/shadow/name/config/get", true),
        ("$aws/things/gw-2/shadow/update", false),
        ("$aws/things/gw-1/shadow/update/accepted", false),
        ("$aws/things/gw-1/shadow/name/x/update/delta", false),
        ("$aws/events/gw-1/gw-1", false),
        ("fieldline/gw-1/ack", false),
        ("telemetry/gw-1", true),
        ("telemetry/press-4/temperature", false),
        ("$SYS/x", false),
    ];
    let subscribed = [
        ("fieldline/gw-1/ack", true),
        ("fieldline/gw-2/ack", false),
        ("fieldline/+/ack", false),
        ("fieldline/#", false),
        ("#", false),
        ("+/gw-2/ack", false),
        ("$aws/rules/#", false),
        ("$aws/things/gw-1/shadow/update/+", true),
        ("$aws/things/gw-1/#", true),
        ("$aws/things/gw-2/shadow/update/accepted", false),
        ("$aws/things/+/shadow/update/accepted", false),
        ("$aws/#", false),
        ("+/things/gw-2/#", false),
    ];
    let allowed = |operation, on| {
        let (action, resource) = question(operation, on);
        decide(&gateway.documents, &Request { action, resource, variables: &gateway.variables }).is_allowed()
    };
    for (topic, expected) in published {
        assert_eq!(allowed("publish", topic), expected, "{topic}");
    }
    for (filter, expected) in subscribed {
        assert_eq!(allowed("subscribe", filter), expected, "{filter}");
    }
    assert!(allowed("publish", "gw-1/light") && allowed("subscribe", "site/#"));
    assert!(!allowed("publish", "hall/light") && !allowed("subscribe", "hall/#"));
}

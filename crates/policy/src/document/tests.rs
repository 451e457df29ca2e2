use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use crate::{Action, Resource, Thing, Variables};

fn document(statements: &str) -> Document {
    Document::parse(format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#)).unwrap()
}

fn statement(effect: &str, action: &str, resource: &str) -> Document {
    let resource = if resource == "*" {
        "*".to_owned()
    } else {
        format!("arn:aws:iot:eu-central-1:123456789012:{resource}")
    };
    document(&format!(r#"{{"Effect": "{effect}", "Action": "{action}", "Resource": "{resource}"}}"#))
}

fn on_topic<'a>(action: Action, topic: &'a str, variables: &'a Variables) -> Request<'a> {
    Request { action, resource: Resource::Topic(topic), variables }
}

#[test]
fn both_shapes_of_a_document_mean_the_same() {
    let one = document(r#"{"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"}"#);
    let many = document(r#"[{"Sid": "x", "Resource": ["*"], "Effect": "Allow", "Action": ["iot:Publish"]}]"#);
    assert_eq!(one, many);
}

#[test]
fn what_is_not_known_is_refused() {
    let allow = r#""Effect": "Allow", "Action": "iot:Publish", "Resource": "*""#;
    let version = r#""Version": "2012-10-17""#;
    let condition = |text: &str| format!(r#"{{{version}, "Statement": {{{allow}, "Condition": {text}}}}}"#);
    let refused = [
        String::new(),
        "[]".to_owned(),
        format!(r#"{{"Statement": {{{allow}}}}}"#),
        format!(r#"{{"Version": "2008-10-17", "Statement": {{{allow}}}}}"#),
        format!(r#"{{{version}}}"#),
        format!(r#"{{{version}, "Statement": []}}"#),
        format!(r#"{{{version}, "Statement": {{{allow}}}, "Statements": []}}"#),
        format!(r#"{{{version}, "Statement": {{{allow}, "NotAction": "iot:Connect"}}}}"#),
        format!(r#"{{{version}, "Statement": {{{allow}, "Principal": "*"}}}}"#),
        format!(r#"{{{version}, "Statement": {{{allow}, "Effect": "Deny"}}}}"#),
        format!(
            r#"{{{version}, "Statement": {{"Effect": "allow", "Action": "iot:Publish", "Resource": "*"}}}}"#
        ),
        format!(r#"{{{version}, "Statement": {{"Effect": "Allow", "Action": [], "Resource": "*"}}}}"#),
        format!(r#"{{{version}, "Statement": {{"Effect": "Allow", "Action": "*", "Resource": []}}}}"#),
        format!(r#"{{{version}, "Statement": {{"Effect": "Allow", "Action": "*", "Resource": 1}}}}"#),
        format!(r#"["2012-10-17", null, {{{allow}}}]"#),
        format!(r#"{{{version}, "Statement": [["x", "Allow", "*", "*", null]]}}"#),
        condition("[null, null, null, null, null, null]"),
        condition("{}"),
        condition(r#"{"Bool": {}}"#),
        condition(r#"{"Bool": {"iot:ClientId": "true"}}"#),
        condition(r#"{"Bool": {"iot:Connection.Thing.IsAttached": "yes"}}"#),
        condition(r#"{"Bool": {"aws:SecureTransport": "true"}}"#),
        condition(r#"{"StringNotEquals": {"iot:ClientId": "a"}}"#),
        condition(r#"{"StringEquals": {"aws:PrincipalTag/x": "a"}}"#),
        condition(r#"{"StringEquals": {"iot:ClientId": []}}"#),
        condition(r#"{"StringEquals": {"iot:ClientId": "a", "iot:clientid": "b"}}"#),
        condition(r#"{"StringEquals": {"iot:ClientId": "a"}, "StringEquals": {}}"#),
        condition(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}"#),
        condition(r#"{"IpAddress": {"aws:SourceIp": "ten"}}"#),
        condition(r#"{"IpAddress": {"iot:ClientId": "10.0.0.1"}}"#),
    ];
    for text in refused {
        assert!(Document::parse(&text).is_err(), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let error = |text: &str| Document::parse(text).unwrap_err().to_string();
    let refused = error(r#"{"Version": "1", "Statement": []}"#);
    assert!(refused.contains("2012-10-17"), "{refused}");
    let resource = r#"{"Version": "2012-10-17", "Statement":
        {"Effect": "Deny", "Action": "iot:Publish", "Resource": "topic/a"}}"#;
    assert!(error(resource).contains("\"topic/a\"") && error(resource).contains("arn:aws:iot:"));
    let Err(Error::Json(source)) =
        Document::parse(r#"{"Version": "2012-10-17", "Statement": {"Efect": "Deny"}}"#)
    else {
        panic!("an unknown key is refused")
    };
    assert!(source.to_string().contains("Efect"), "{source}");
}

#[test]
fn documents_are_bounded() {
    let text = |bytes: usize| {
        let mut text =
            r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#
                .to_owned();
        text.push_str(&" ".repeat(bytes - text.len()));
        text
    };
    assert!(Document::parse(text(PARSED_BYTES_MAX)).is_ok());
    assert!(matches!(Document::parse(text(PARSED_BYTES_MAX + 1)), Err(Error::TooLarge { .. })));
    assert_eq!(size(" {\n\t\"ä\" }"), 5);
}

#[test]
fn conditions_hold_or_not() {
    let mut on_site = Variables {
        client_id: Some("press-4".to_owned()),
        thing: Some(Thing { name: "press-4".to_owned(), ..Thing::default() }),
        ..Variables::default()
    };
    on_site.source_ip = Some(std::net::IpAddr::from_str("10.1.2.3").unwrap().into());
    let table = [
        (r#"{"Bool": {"iot:Connection.Thing.IsAttached": "true"}}"#, true, false),
        (r#"{"Bool": {"iot:Connection.Thing.IsAttached": true}}"#, true, false),
        (r#"{"Bool": {"iot:Connection.Thing.IsAttached": false}}"#, false, true),
        (r#"{"StringEquals": {"iot:ClientId": ["x", "press-4"]}}"#, true, false),
        (r#"{"StringEquals": {"iot:ClientId": "press-*"}}"#, false, false),
        (r#"{"StringLike": {"iot:ClientId": "press-*"}}"#, true, false),
        (r#"{"StringLike": {"iot:ClientId": "*"}}"#, true, false),
        (
            r#"{"ForAnyValue:StringEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}"#,
            true,
            false,
        ),
        (r#"{"StringEquals": {"iot:Connection.Thing.Attributes[hall]": "B"}}"#, false, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, true, false),
        (r#"{"IpAddress": {"aws:SourceIp": ["::1", "10.1.2.3"]}}"#, true, false),
        (r#"{"IpAddress": {"aws:SourceIp": ["10.1.2.2", "10.1.2.4/31", "::/0"]}}"#, false, false),
        (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#, true, false),
        (
            r#"{"StringLike": {"iot:ClientId": "*"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/9"}}"#,
            true,
            false,
        ),
        (
            r#"{"StringLike": {"iot:ClientId": "*"}, "IpAddress": {"aws:SourceIp": "11.0.0.0/9"}}"#,
            false,
            false,
        ),
    ];
    let nobody = Variables::default();
    for (condition, here, elsewhere) in table {
        let text =
            format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {condition}}}"#);
        let documents = [document(&text)];
        let holds = |variables| decide(&documents, &on_topic(Action::Publish, "t", variables)).is_allowed();
        assert_eq!((holds(&on_site), holds(&nobody)), (here, elsewhere), "{condition}");
    }
}

#[test]
fn kinds_of_resources_are_not_mixed_up() {
    let nobody = Variables::default();
    let thing = |shadow| Resource::Thing { thing: "a", shadow };
    let table = [
        ("topic/a", Resource::Topic("a"), true),
        ("topic/a", Resource::TopicFilter("a"), false),
        ("topic/*", Resource::TopicFilter("a"), false),
        ("topic*", Resource::TopicFilter("a"), true),
        ("thing/a", thing(None), true),
        ("thing/a", thing(Some("config")), false),
        ("thing/a/*", thing(Some("config")), true),
        ("thing/a/*", thing(None), false),
        ("client/a", Resource::Client("a"), true),
        ("client/a", Resource::Topic("a"), false),
        ("*", Resource::RetainedMessages, true),
        ("topic/*", Resource::RetainedMessages, false),
    ];
    for (pattern, resource, expected) in table {
        let request = Request { action: Action::Publish, resource, variables: &nobody };
        let allowed = decide(&[statement("Allow", "*", pattern)], &request).is_allowed();
        assert_eq!(allowed, expected, "{pattern} {resource:?}");
    }
    assert_eq!(thing(Some("config")).arn(), "arn:aws:iot:local:000000000000:thing/a/config");
}

#[test]
fn a_strange_client_id_gains_nothing_and_escapes_nothing() {
    let own = [statement("Allow", "*", "topicfilter/my/${iot:ClientId}/topic")];
    let all = statement("Allow", "*", "*");
    let but = [all, statement("Deny", "*", "topicfilter/my/${iot:ClientId}/topic")];
    for (id, filter, gains) in
        [("a", "my/a/topic", true), ("+", "my/+/topic", false), ("a/b", "my/a/b/topic", false)]
    {
        let variables = Variables { client_id: Some(id.to_owned()), ..Variables::default() };
        let request = Request {
            action: Action::Subscribe,
            resource: Resource::TopicFilter(filter),
            variables: &variables,
        };
        assert_eq!(decide(&own, &request).is_allowed(), gains, "{id}");
        assert_eq!(decide(&but, &request), Decision::ExplicitlyDenied, "{id}");
    }
    // A client identifier has no levels, so `/` in it is a letter as others are.
    let variables = Variables { client_id: Some("hall/a".to_owned()), ..Variables::default() };
    let request =
        Request { action: Action::Connect, resource: Resource::Client("hall/a"), variables: &variables };
    assert!(decide(&[statement("Allow", "*", "client/${iot:ClientId}")], &request).is_allowed());
}

fn any_document() -> impl Strategy<Value = (bool, Document)> {
    let actions = prop::sample::select(vec!["*", "iot:*", "iot:Publish", "iot:*e", "iot:Receive"]);
    let resources = prop::sample::select(vec![
        "*",
        "topic/*",
        "topic/a*",
        "topic/?",
        "topic/${iot:ClientId}",
        "client/a",
    ]);
    (any::<bool>(), actions, resources).prop_map(|(deny, action, resource)| {
        (deny, statement(if deny { "Deny" } else { "Allow" }, action, resource))
    })
}

proptest! {
    #[test]
    fn denies_win_and_documents_only_add_their_own_effect(
        documents in prop::collection::vec(any_document(), 0..6),
        (denies, added) in any_document(),
        topic in "[ab]{1,2}",
        action in prop::sample::select(Action::ALL.to_vec()),
    ) {
        let variables = Variables { client_id: Some("a".to_owned()), ..Variables::default() };
        let request = on_topic(action, &topic, &variables);
        let alone = |document: &Document| decide(&[document], &request);
        let all: Vec<&Document> = documents.iter().map(|(_, document)| document).collect();
        let before = decide(&all, &request);
        let expected = if all.iter().any(|one| alone(one) == Decision::ExplicitlyDenied) {
            Decision::ExplicitlyDenied
        } else if all.iter().any(|one| alone(one) == Decision::Allowed) {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        };
        prop_assert_eq!(before, expected);

        let more: Vec<&Document> = all.iter().copied().chain([&added]).collect();
        let after = decide(&more, &request);
        if denies {
            prop_assert!(!after.is_allowed() || before.is_allowed());
        } else {
            prop_assert!(after.is_allowed() || !before.is_allowed());
        }
        let backwards: Vec<&Document> = more.into_iter().rev().collect();
        prop_assert_eq!(decide(&backwards, &request), after);
    }
}

use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use crate::Thing;

fn client(id: &str) -> Variables {
    Variables { client_id: Some(id.to_owned()), ..Variables::default() }
}

fn matches(pattern: &str, text: &str) -> bool {
    Pattern::parse(pattern).unwrap().matches(text, &Variables::default(), false)
}

#[test]
fn wildcards_are_awss_and_not_mqtts() {
    let table = [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "a/b/c", true),
        ("?", "", false),
        ("?", "ä", true),
        ("??", "ä", false),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "bcda", true),
        ("*a*b", "xaxbxb", true),
        ("*a*b", "xaxbx", false),
        ("a/?/c", "a/b/c", true),
        ("a/?/c", "a//c", false),
        ("a/?/c", "a/bb/c", false),
        ("a/?/c", "a///c", true),
        ("a/+/c", "a/b/c", false),
        ("a/+/c", "a/+/c", true),
        ("a/#", "a/b", false),
        ("a/*", "a/#", true),
        ("a/*", "a", false),
        ("A", "a", false),
        ("$aws/$", "$aws/$", true),
        ("a${*}b", "a*b", true),
        ("a${*}b", "axb", false),
        ("a${?}b", "a?b", true),
        ("a${?}b", "axb", false),
        ("${$}{iot:ClientId}", "${iot:ClientId}", true),
        ("*ä?*", "xxäö", true),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn values_stand_for_themselves() {
    let table = [
        ("t/${iot:ClientId}", "a", "t/a", true),
        ("t/${iot:ClientId}", "a", "t/ab", false),
        ("t/${iot:ClientId}", "*", "t/a", false),
        ("t/${iot:ClientId}", "*", "t/*", true),
        ("t/${iot:ClientId}", "?", "t/a", false),
        ("t/${iot:ClientId}", "${*}", "t/*", false),
        ("t/${iot:ClientId}*", "a", "t/abc", true),
        ("*${iot:ClientId}", "ab", "aab", true),
        ("*${iot:ClientId}${iot:ClientId}?", "ab", "aababx", true),
    ];
    for (pattern, value, text, expected) in table {
        let compiled = Pattern::parse(pattern).unwrap();
        assert_eq!(compiled.matches(text, &client(value), false), expected, "{pattern} {value} {text}");
    }
    let own = Pattern::parse("t/${iot:ClientId}").unwrap();
    for value in ["+", "#", "a/b", "a+", "$aws"] {
        assert!(own.matches(&format!("t/{value}"), &client(value), false), "{value}");
        assert!(!own.matches(&format!("t/{value}"), &client(value), true), "{value}");
    }
    assert!(!own.matches("t/", &client(""), false));
    assert!(!own.matches("t/${iot:ClientId}", &Variables::default(), false));
}

#[test]
fn every_variable_has_its_value() {
    let thing = Thing {
        name: "press-4".to_owned(),
        type_name: Some("press".to_owned()),
        attributes: [("hall".to_owned(), "B".to_owned())].into(),
    };
    let mut variables = Variables {
        client_id: Some("c".to_owned()),
        thing: Some(thing),
        certificate_id: Some("ab12".to_owned()),
        common_name: Some("cn".to_owned()),
        ..Variables::default()
    };
    variables.source_ip = Some(std::net::IpAddr::from_str("10.0.0.7").unwrap().into());
    let table = [
        ("iot:ClientId", "c"),
        ("iot:Connection.Thing.ThingName", "press-4"),
        ("iot:Connection.Thing.ThingTypeName", "press"),
        ("iot:Connection.Thing.Attributes[hall]", "B"),
        ("iot:Connection.Thing.IsAttached", "true"),
        ("iot:CertificateId", "ab12"),
        ("iot:Certificate.Subject.CommonName", "cn"),
        ("aws:SourceIp", "10.0.0.7"),
    ];
    for (name, value) in table {
        let pattern = Pattern::parse(&format!("<${{{name}}}>")).unwrap();
        assert!(pattern.matches(&format!("<{value}>"), &variables, true), "{name}");
    }
    let other = Pattern::parse("${iot:Connection.Thing.Attributes[Hall]}").unwrap();
    assert!(!other.matches("B", &variables, true));
}

/// By recursion, exponential, and plainly right.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            naive(rest, text) || text.split_first().is_some_and(|(_, fewer)| naive(pattern, fewer))
        }
        (Some(('?', rest)), Some((_, fewer))) => naive(rest, fewer),
        (Some((one, rest)), Some((other, fewer))) => one == other && naive(rest, fewer),
        _ => false,
    }
}

/// A pattern that is all `*` and `a` against a text that just fails: steps, not minutes.
#[test]
fn no_pattern_takes_for_ever() {
    let pattern = "*a".repeat(1000) + "b";
    assert!(!matches(&pattern, &"a".repeat(60_000)));
}

proptest! {
    #[test]
    fn matching_agrees_with_the_naive_way(pattern in "[abä*?]{0,10}", text in "[abä]{0,12}") {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &text), naive(&letters(&pattern), &letters(&text)));
    }

    #[test]
    fn a_value_matches_itself_and_nothing_else(value in "[a*?+#/${}]{1,6}", text in "[a*?+#/${}]{1,6}") {
        let pattern = Pattern::parse("x${iot:ClientId}y").unwrap();
        let found = |one_level| pattern.matches(&format!("x{text}y"), &client(&value), one_level);
        prop_assert_eq!(found(false), value == text);
        prop_assert_eq!(found(true), value == text && !value.contains(['+', '#', '/', '$']));
    }

    #[test]
    fn a_value_is_the_same_as_its_letters_escaped(value in "[ab*?]{1,4}", text in "[ab*?]{0,8}") {
        let by_value = Pattern::parse("*${iot:ClientId}?*").unwrap();
        let by_letters = Pattern::parse(&format!("*{}?*", escape(&value))).unwrap();
        let nobody = Variables::default();
        prop_assert_eq!(by_value.matches(&text, &client(&value), false), by_letters.matches(&text, &nobody, false));
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in ".{0,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _either = pattern.matches(&text, &Variables::default(), true);
        }
    }
}

fn escape(value: &str) -> String {
    value.chars().map(|c| if matches!(c, '*' | '?') { format!("${{{c}}}") } else { c.to_string() }).collect()
}

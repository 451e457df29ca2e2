use super::*;

const GOOD: &str = r#"
[[rules]]
name = "hot"
when = "temperature > 80 && avg(temperature, '5m') > 75"
clear = "temperature < 70"
for = "2m"
schedule = { zone = "Europe/Berlin", days = ["mon"], from = "08:00", to = "17:00" }
unless_firing = ["off"]
then = [
  { notify = { target = "ops", message = "{{device}}: {{temperature}} °C, {{avg(temperature, \"5m\")}} on average" } },
  { command = { command = "fan", payload = { on = true } } },
  { derive = { metric = "excess", value = "temperature - 80" } },
]

[[rules]]
name = "off"
when = "!running"
"#;

fn documents(text: &str) -> Documents {
    Documents::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The findings that matter, as `rule key: text`.
fn told(text: &str, known: Option<&dyn Fn(&str) -> bool>) -> Vec<String> {
    let findings = check(&documents(text), known);
    let mattering = findings.iter().filter(|finding| finding.severity != FindingSeverity::Note);
    mattering.map(|f| format!("{} {:?} {}: {}", f.rule, f.severity, f.key, f.text)).collect()
}

#[test]
fn a_good_document_has_only_notes_of_its_cost() {
    assert_eq!(told(GOOD, Some(&|metric| metric != "excess")), Vec::<String>::new());
    let notes: Vec<String> = check(&documents(GOOD), None).into_iter().map(|note| note.text).collect();
    let window = "avg(temperature, \"5m\") keeps the samples of 5m, at most 100000 a device";
    assert_eq!(
        notes,
        [
            format!("comparisons with constants; {window}"),
            "comparisons with constants; no windows".to_owned()
        ]
    );
}

#[test]
fn each_mistake_is_found() {
    let rule = |lines: &str| format!("[[rules]]\nname = \"r\"\n{lines}\n");
    let table = [
        (rule("when = 'a >'"), "r Error when: "),
        (rule("when = 'a > 1'\nclear = 'a > 1'"), "r Error clear: it is the same"),
        (rule("when = 'true'"), "r Warning when: it names no metric"),
        (rule("when = 'a > 1'\ndevices = []"), "r Error devices: "),
        (
            rule("when = 'a > 1'\ndevices = ['press*', 'a b']"),
            "r Error devices: no device can have a name like \"a b\"",
        ),
        (
            rule("when = 'a > 1'\nunless_firing = ['s']")
                + "[[rules]]\nname = 's'\nwhen = 'a > 1'\nruns = 'edge'",
            "r Warning unless_firing: \"s\" runs elsewhere",
        ),
        (rule("when = 'a > 1'\nfor = '400d'"), "r Error for: at most 366 days"),
        (rule("when = 'a > 1'\nrenotify = '0s'"), "r Error renotify: "),
        (rule("when = 'a > 1'\nrenotify = '5s'"), "r Warning renotify: "),
        (
            rule("when = 'a > 1'\nunless_firing = ['rr']"),
            "r Error unless_firing: there is no rule \"rr\"; did you mean \"r\"?",
        ),
        (
            rule("when = 'a > 1'\nunless_firing = ['r']"),
            "r Error unless_firing: rules wait for each other: r -> r",
        ),
        (
            rule("when = 'a > 1'\nschedule = { zone = 'Mars/Base', from = '08:00', to = '09:00' }"),
            "r Error schedule: there is no time zone \"Mars/Base\"",
        ),
        (rule("when = 'a > 1'\nthen = [{ notify = { target = '' } }]"), "r Error then[0].target: "),
        (
            rule(
                "when = 'temperature > 1'\nthen = [{ notify = { target = 'x', message = '{{temprature}}' } }]",
            ),
            "r Error then[0].message: the rule names no \"temprature\"; did you mean \"temperature\"?",
        ),
        (
            rule(
                "when = 'temperature > 1'\nthen = [{ notify = { target = 'x', message = '{{pressure}}' } }]",
            ),
            "r Warning then[0].message: ",
        ),
        (
            rule("when = 'a > 1'\nthen = [{ notify = { target = 'x', message = 'hot: {{a' } }]"),
            "r Error then[0].message: {{ is not closed",
        ),
        (rule("when = 'a > 1'\nthen = [{ command = { command = '' } }]"), "r Error then[0].command: "),
        (rule("when = 'a > 1'\nthen = [{ desired = { state = {} } }]"), "r Error then[0].state: "),
        (
            rule("when = 'a > 1'\nthen = [{ derive = { metric = 'b/c', value = 'a +' } }]"),
            "r Error then[0].metric: ",
        ),
        (
            rule("when = 'a > 1'\nthen = [{ derive = { metric = 'b', value = 'b + 1' } }]"),
            "r Error then: the metric is made of itself, by the rules r -> r",
        ),
        (rule("when = 'a > 1'").replace("\"r\"", "\"a b\""), "a b Error name: "),
        (format!("{0}{0}", rule("when = 'a > 1'")), "r Error name: rule 1 has this name too"),
    ];
    for (text, expected) in table {
        let told = told(&text, None);
        assert!(
            told.iter().any(|line| line.starts_with(expected)),
            "{text}\nexpected {expected}, found {told:#?}"
        );
    }
}

#[test]
fn unknown_metrics_are_named_once() {
    let told = told(GOOD, Some(&|metric| metric == "running"));
    assert_eq!(told, ["hot Warning when: no device has reported the metric \"temperature\""]);
}

#[test]
fn circles_of_several_rules_are_told_once() {
    let rule = |name: &str, other: &str| {
        format!("[[rules]]\nname = '{name}'\nwhen = 'x > 1'\nunless_firing = ['{other}']\n")
    };
    let text = [rule("d", "a"), rule("a", "b"), rule("b", "c"), rule("c", "a")].concat();
    assert_eq!(told(&text, None), ["a Error unless_firing: rules wait for each other: a -> b -> c -> a"]);

    let derive = |name: &str, from: &str| {
        format!(
            "[[rules]]\nname = '{name}'\nwhen = '{from} > 1'\nthen = [{{ derive = {{ metric = '{name}', value = '2.0' }} }}]\n"
        )
    };
    let text = [derive("a", "b"), derive("b", "c"), derive("c", "b")].concat();
    assert_eq!(told(&text, None), ["b Error then: the metric is made of itself, by the rules b -> c -> b"]);
}

#[test]
fn a_text_that_is_no_document_is_told_with_line_and_nearest_key() {
    let table = [
        ("[[rules]]\nname = 'a'\nwhen = 'x > 1'\nsevertiy = 'info'", Some(4), "did you mean `severity`?"),
        ("[[rules]]\nname = 'a'\nwhen = 'x > 1'\nseverity = 'infos'", Some(4), "did you mean `info`?"),
        ("[[rules]]\nname = 'a'", Some(1), "missing field `when`"),
        ("[[rules]]\nname = 'a'\nwhen = 3", Some(3), "invalid type"),
        ("[[rules]]\nname = 'a'\nwhen = 'x > 1'\nfor = 'long'", Some(4), ""),
        ("[[rule]]", Some(1), "did you mean `rules`?"),
        (
            "[[rules]]\nname = 'a'\nwhen = 'x > 1'\nthen = [{ notfy = { target = 'x' } }]",
            Some(4),
            "did you mean `notify`?",
        ),
        ("rules = [", Some(1), ""),
    ];
    for (text, line, reason) in table {
        let error = Documents::from_toml(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.text.contains(reason), "{text}: {error}");
    }
    let error =
        Documents::from_json("{\"rules\": [\n{\"name\": \"a\", \"when\": \"x > 1\", \"serverity\": 1}]}")
            .unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(error.text.ends_with("did you mean `severity`?"), "{error}");
    assert_eq!(Documents::from_json("{}").unwrap(), Documents::default());
}

#[test]
fn a_document_survives_json_and_toml() {
    let original = documents(GOOD);
    let json = serde_json::to_string(&original).unwrap();
    assert_eq!(Documents::from_json(&json).unwrap(), original);
}

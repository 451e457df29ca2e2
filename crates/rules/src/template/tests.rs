use super::*;
use crate::Function;

const WORDS_OF_A_TEST: TemplateWords<'_> = TemplateWords {
    device: "press-4",
    rule: "hot",
    severity: "critical",
    state: "raised",
    time: "2026-11-23T10:00:00Z",
};

/// Every metric is 80.30000000000001, every average 79.5; nothing is known of others.
struct Fixed<'a>(&'a Template);

impl Resolve for Fixed<'_> {
    fn value(&self, input: usize) -> Option<ValueRef<'_>> {
        match self.0.inputs().get(input)?.metric.as_str() {
            "missing_one" => None,
            "mode" => Some(ValueRef::Text("auto")),
            _ => Some(ValueRef::Float(80.300_000_000_000_01)),
        }
    }

    fn feature(&self, feature: usize) -> Option<f64> {
        (self.0.features().get(feature)?.function == Function::Avg).then_some(79.5)
    }
}

fn rendered(text: &str) -> String {
    let template = Template::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    template.render(&WORDS_OF_A_TEST, &Fixed(&template))
}

#[test]
fn words_metrics_and_functions_are_filled_in() {
    let table = [
        ("", ""),
        ("no values", "no values"),
        (
            "{{device}}: {{ rule }} is {{state}} ({{severity}}, {{time}})",
            "press-4: hot is raised (critical, 2026-11-23T10:00:00Z)",
        ),
        ("{{temperature}} °C, usually {{avg(temperature, \"5m\")}}", "80.3 °C, usually 79.5"),
        ("{{temperature - avg(temperature, '5m')}} above", "0.8 above"),
        ("{{missing_one}} {{max(temperature, 5)}} {{mode}} {{mode > 1}}", "? ? auto !"),
        ("{{device('boiler-1').x}} {{temperature > 80}} {{mode == 'auto' ? 'on' : 'off'}}", "80.3 true on"),
        ("{ single } }}", "{ single } }}"),
        ("{{temperature * 0.0000001}} {{0.0}}", "0.00000803 0"),
    ];
    for (text, expected) in table {
        assert_eq!(rendered(text), expected, "{text}");
    }
}

#[test]
fn a_refusal_names_the_place_in_the_template() {
    let table = [
        ("a {{temperature", 1, 5, "not closed"),
        ("first\nthe {{ averg(x, '5m') }}", 2, 8, "did you mean \"avg\"?"),
        ("{{}}", 1, 3, "empty"),
        ("ä {{a +\n b + }}", 2, 5, ""),
    ];
    for (text, line, column, reason) in table {
        let error = Template::compile(text).unwrap_err();
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert_eq!((error.position.line, error.position.column), (line, column), "{text}: {error}");
    }
    assert!(Template::compile(&"{{a}}".repeat(33)).is_err());
    assert!(Template::compile(&"x".repeat(4097)).is_err());
}

#[test]
fn many_templates_keep_their_results_apart() {
    let compiled = Template::compile_all(&["{{a}} {{b}}", "{{nothing(}} {{c}}", "{{open", "plain", "{{d}}"]);
    let inputs: Vec<Option<Vec<&str>>> = compiled
        .iter()
        .map(|one| one.as_ref().ok().map(|one| one.inputs().iter().map(|i| i.metric.as_str()).collect()))
        .collect();
    assert_eq!(inputs, [Some(vec!["a", "b"]), None, None, Some(vec![]), Some(vec!["d"])]);
}

#[test]
fn what_is_too_long_is_cut_between_characters() {
    let device = "ä".repeat(900);
    let of = |text: &str| {
        let template = Template::compile(text).unwrap();
        template.render(&TemplateWords { device: &device, ..WORDS_OF_A_TEST }, &Fixed(&template))
    };
    let cut = of(&"{{device}}x".repeat(3));
    assert!(cut.len() <= RENDERED_BYTES_MAX && cut.len() > RENDERED_BYTES_MAX - 2, "{}", cut.len());
    assert!(cut.ends_with("ä…"));
    assert_eq!(
        of(&format!("{{{{device}}}}{{{{device}}}}{}", "x".repeat(RENDERED_BYTES_MAX - 3600))).len(),
        RENDERED_BYTES_MAX
    );
}

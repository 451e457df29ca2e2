//! Tables of what is accepted, refused and evaluated; the properties stand in `properties`.

mod properties;

use std::collections::HashMap;
use std::time::Duration;

use fieldline_model::{DeviceId, Metric};

use super::*;
use crate::{Extent, Function};

/// Values by the source text of the metric or feature.
#[derive(Default)]
pub(super) struct Known<'a> {
    condition: Option<&'a Condition>,
    values: HashMap<String, Value>,
    features: HashMap<String, f64>,
}

impl<'a> Known<'a> {
    pub(super) fn new(condition: &'a Condition, values: &[(&str, Value)], features: &[(&str, f64)]) -> Self {
        Self {
            condition: Some(condition),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            features: features.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }
}

impl Resolve for Known<'_> {
    fn value(&self, input: usize) -> Option<ValueRef<'_>> {
        let name = display::input(self.condition?.inputs().get(input)?);
        self.values.get(&name).map(Value::as_ref)
    }

    fn feature(&self, feature: usize) -> Option<f64> {
        let name = display::feature(self.condition?.features().get(feature)?);
        self.features.get(&name).copied()
    }
}

fn truth(source: &str) -> Condition {
    Condition::compile(source, Kind::Truth).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn evaluate(source: &str, values: &[(&str, Value)]) -> Result<Outcome, EvaluationError> {
    let condition =
        Condition::compile(source, Kind::Value).unwrap_or_else(|error| panic!("{source}: {error}"));
    let known = Known::new(&condition, values, &[]);
    condition.evaluate(&known)
}

fn refusal(source: &str) -> ConditionError {
    match Condition::compile(source, Kind::Truth) {
        Ok(_) => panic!("{source:.80} was accepted"),
        Err(error) => error,
    }
}

#[test]
fn expressions_have_the_values_that_a_reader_expects() {
    let values = [
        ("a", Value::Integer(7)),
        ("b", Value::Float(2.5)),
        ("on", Value::Boolean(true)),
        ("mode", Value::Text("auto".to_owned())),
        ("cpu.usage", Value::Float(0.5)),
        ("metric(\"Außen °C\")", Value::Float(-3.0)),
        ("device(\"boiler-1\").pressure", Value::Integer(4)),
    ];
    let table = [
        ("a + b", Value::Float(9.5)),
        ("a / 2", Value::Float(3.5)),
        ("a % 4", Value::Integer(3)),
        ("-a * 2", Value::Integer(-14)),
        ("a > 6.5", Value::Boolean(true)),
        ("b >= 2", Value::Boolean(true)),
        ("a == 7.0", Value::Boolean(true)),
        ("9007199254740993 == 9007199254740992.0", Value::Boolean(false)),
        ("on && mode == 'auto'", Value::Boolean(true)),
        ("mode in ['auto', 'manual']", Value::Boolean(true)),
        ("a in [1, 7.0]", Value::Boolean(true)),
        ("on ? a : b", Value::Integer(7)),
        ("cpu.usage * 100", Value::Float(50.0)),
        ("metric('Außen °C') < 0", Value::Boolean(true)),
        ("device('boiler-1').pressure + 1", Value::Integer(5)),
        ("value('boiler-1', 'pressure') - 1", Value::Integer(3)),
        ("known(a) && !known(nothing)", Value::Boolean(true)),
        ("has(device('boiler-1').pressure)", Value::Boolean(true)),
        ("[a, b].all(x, x > 2)", Value::Boolean(true)),
        ("[a, b].exists(x, x > 100)", Value::Boolean(false)),
        ("[a, b, 8].exists_one(x, x == 7)", Value::Boolean(true)),
        ("size([a, b, 8].filter(x, x > 5))", Value::Integer(2)),
        ("[a, b].map(x, x * 2)[1]", Value::Float(5.0)),
        ("size([a].filter(x, x > 5).map(x, x + 1))", Value::Integer(1)),
        ("mode.startsWith('au') && mode.contains('ut') && !mode.endsWith('x')", Value::Boolean(true)),
        ("'is ' + mode", Value::Text("is auto".to_owned())),
        ("string(b) + string(a) + string(on)", Value::Text("2.57true".to_owned())),
        ("int(b) + int('3')", Value::Integer(5)),
        ("double('2.5') == b", Value::Boolean(true)),
        ("abs(-a) + floor(b) + ceil(b) + round(2.5)", Value::Float(15.0)),
        ("greatest(a, b) - least(a, b)", Value::Float(4.5)),
        ("sqrt(3 * 3 + 4 * 4)", Value::Float(5.0)),
    ];
    for (source, expected) in table {
        assert_eq!(evaluate(source, &values), Ok(Outcome::Value(expected)), "{source}");
    }
}

#[test]
fn what_cannot_be_calculated_is_an_error_and_no_panic() {
    let values = [
        ("zero", Value::Integer(0)),
        ("nan", Value::Float(f64::NAN)),
        ("huge", Value::Float(1e308)),
        ("most", Value::Integer(i64::MAX)),
        ("least_", Value::Integer(i64::MIN)),
        ("text", Value::Text("x".repeat(1024))),
    ];
    let kind = |source: &str| evaluate(source, &values).unwrap_err();
    for source in ["1 / zero", "1.0 / 0.0", "1 % zero", "1.5 % zero"] {
        assert_eq!(kind(source), EvaluationError::DivisionByZero, "{source}");
    }
    for source in ["nan > 1", "nan", "nan + 1", "nan == nan", "sqrt(-1)", "double('x')", "[nan][0] > 1"] {
        assert_eq!(kind(source), EvaluationError::NotANumber, "{source}");
    }
    for source in ["huge * 10", "most + 1", "-least_", "abs(least_)", "int(huge)", "least_ % -1"] {
        assert_eq!(kind(source), EvaluationError::Overflow, "{source}");
    }
    for source in [
        "text > 1",
        "zero + text",
        "text && true",
        "zero ? 1 : 2",
        "size(zero)",
        "-text",
        "text < zero",
        "[true, false][0] < [true][0]",
    ] {
        assert!(matches!(kind(source), EvaluationError::Type { .. }), "{source}");
    }
    assert!(matches!(kind("[1, 2][zero + 2]"), EvaluationError::Element(_)));
    assert!(matches!(kind("[1, 2][-1]"), EvaluationError::Element(_)));
    assert!(matches!(kind("text + text"), EvaluationError::Limit(_)));
}

#[test]
fn a_native_condition_has_the_same_errors() {
    let condition = truth("a > 80 && on");
    assert!(condition.is_native());
    let of = |a: Value, on: Value| condition.evaluate(&Known::new(&condition, &[("a", a), ("on", on)], &[]));
    assert_eq!(of(Value::Float(f64::NAN), Value::Boolean(true)), Err(EvaluationError::NotANumber));
    assert!(matches!(of(Value::Text("x".into()), Value::Boolean(true)), Err(EvaluationError::Type { .. })));
    assert!(matches!(of(Value::Integer(81), Value::Integer(1)), Err(EvaluationError::Type { .. })));
    // One false decides, whatever the other side is.
    assert_eq!(of(Value::Float(f64::NAN), Value::Boolean(false)), Ok(Outcome::Value(Value::Boolean(false))));
}

#[test]
fn plain_comparisons_are_native_and_others_are_not() {
    for source in [
        "a > 80",
        "80.5 >= a && on",
        "!(a == 1 || b != 2) && on",
        "avg(a, '5m') > 3",
        "missing(a, '1m') || a < -3.5",
        "mode != 'x'",
        "a > 9007199254740993",
        "a - avg(a, '5m') > 2 * stddev(a, '5m')",
    ] {
        assert!(truth(source).is_native(), "{source}");
    }
    for source in ["a > b", "mode + 'y' == 'x'", "a == true", "a + b > c", "abs(a) > 1", "[a][0] > 1"] {
        assert!(!truth(source).is_native(), "{source}");
    }
}

#[test]
fn functions_of_the_past_become_features_which_are_shared() {
    let condition = truth(
        "avg(t, '5m') > 3 && max(t, 20) < 9 && avg(t, '300s') < 7 && ewma(t, 0.1) > hours_to(device('d').x, -80, '6h') \
         && changed(t) && age(t) > 5",
    );
    let names: Vec<String> = condition.features().iter().map(display::feature).collect();
    let expected = [
        "avg(t, \"5m\")",
        "max(t, 20)",
        "ewma(t, 0.1)",
        "hours_to(device(\"d\").x, -80, \"6h\")",
        "changed(t)",
        "age(t)",
    ];
    assert_eq!(names, expected);
    assert_eq!(condition.features()[0].extent, Some(Extent::Duration(Duration::from_secs(300))));
    assert_eq!(condition.features()[1].extent, Some(Extent::Count(20)));
    assert_eq!(condition.features()[3].function, Function::HoursTo);
    assert_eq!(condition.features()[3].parameters, [-80.0]);
    let device = DeviceId::new("d").unwrap();
    let expected = [
        Input { device: None, metric: Metric::new("t").unwrap() },
        Input { device: Some(device), metric: Metric::new("x").unwrap() },
    ];
    assert_eq!(condition.inputs(), expected);
    for function in Function::ALL {
        assert_eq!(Function::named(function.name()), Some(function));
        Condition::compile(&function.usage().replace("metric", "t").replace(" or 20", ""), Kind::Value)
            .unwrap();
    }
}

#[test]
fn what_a_condition_saw_is_told_in_the_order_of_its_text() {
    let condition = truth("on && avg(t, '5m') > t && missing(x, '1m')");
    let known = Known::new(
        &condition,
        &[("on", Value::Boolean(true)), ("t", Value::Float(80.5))],
        &[("missing(x, \"1m\")", 1.0)],
    );
    let expected =
        [("on", "true"), ("avg(t, \"5m\")", "unknown"), ("t", "80.5"), ("missing(x, \"1m\")", "true")];
    let told = condition.explain(&known);
    let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_refusal_names_the_place_and_the_reason() {
    let table = [
        ("", 1, 1, "the condition is empty"),
        ("a >", 1, 4, "the end"),
        ("a > 1 &&\n  b >> 2", 2, 6, ""),
        ("a > 1\n&& averg(b, '5m') > 2", 2, 4, "there is no function \"averg\"; did you mean \"avg\"?"),
        ("a = 1", 1, 3, "equality is written =="),
        ("avg(a) > 1", 1, 1, "avg is called as avg(metric, \"5m\" or 20)"),
        ("avg(a, '5 parsecs') > 1", 1, 8, "is no duration"),
        ("avg(a, '0.5s') > 1", 1, 8, "1 s to 366 days"),
        ("avg(a, '-5s') > 1", 1, 8, "is no duration"),
        ("avg(a, '500ms') > 1", 1, 8, "1 s to 366 days"),
        ("avg(a, '367d') > 1", 1, 8, "1 s to 366 days"),
        ("avg(a, 1) > 1", 1, 8, "2 to 100000 samples"),
        ("avg(a, 100001) > 1", 1, 8, "2 to 100000 samples"),
        ("missing(a, 20)", 1, 12, "a duration is expected"),
        ("ewma(a, 0) > 1", 1, 9, "more than 0 and at most 1"),
        ("avg(a + 1, '5m') > 1", 1, 7, "a metric is expected here"),
        ("avg(a, b) > 1", 1, 8, "as a constant"),
        ("avg(a, '5m') && true", 1, 1, "&& needs true or false, this is a number"),
        ("avg(a, '5m')", 1, 1, "must be true or false, this is a number"),
        ("1 + 'x' > 2", 1, 3, "+ cannot be applied to a number and a text"),
        ("changed(a) > 2", 1, 12, "cannot be applied to true or false and a number"),
        ("device('a b').x > 1", 1, 0, "character"),
        ("device('a') > 1", 1, 0, "is followed by a metric"),
        ("metric('a/b') > 1", 1, 0, "character"),
        ("mode == 'Außen' && avrg(b, '5m') > 2", 1, 20, "did you mean \"avg\"?"),
        ("mode == 'Außen' & 2", 1, 17, ""),
        ("mode == 'Außen' &&\n 'ü' == mode 2", 2, 14, ""),
        ("a > 1 && a == 'x'", 1, 10, "used as a text here, and as a number before"),
        ("(a ? 1 : 2) < a - 1", 1, 15, "used as a number here, and as true or false before"),
        ("a.matches('x')", 1, 3, "no regular expressions"),
        ("{'a': 1}['a'] == 1", 1, 0, "maps and messages"),
        ("a == null", 1, 0, "known(x)"),
        ("[[1]].all(x, x.all(y, y > 1))", 1, 0, "cannot stand within each other"),
    ];
    for (source, line, column, reason) in table {
        let error = refusal(source);
        assert!(error.reason.contains(reason), "{source}: {error}");
        assert_eq!(error.position.line, line, "{source}: {error}");
        assert!(column == 0 || error.position.column == column, "{source}: {error}");
    }
}

#[test]
fn deep_and_long_conditions_are_refused_before_the_parser() {
    let parentheses = format!("{}a{} > 1", "(".repeat(90), ")".repeat(90));
    let sums = format!("a{} > 1", " + 1".repeat(5000));
    let short_sums = format!("a{} > 1", "+1".repeat(1500));
    let lists = format!("a in {}{}", "[".repeat(90), "]".repeat(90));
    let choices = format!("{} true", "a ? b : ".repeat(100));
    let nots = format!("{}a", "!".repeat(2000));
    let calls = format!("{}1{} > 1", "abs(".repeat(90), ")".repeat(90));
    for source in
        [parentheses, sums, short_sums, lists, choices, nots, calls, "'".repeat(4000), "a".repeat(4097)]
    {
        let error = refusal(&source);
        assert!(!error.reason.is_empty(), "{source:.40}");
    }
    let nested = (0..6).fold("[1]".to_owned(), |inner, at| format!("[1].map(x{at}, {inner})"));
    assert!(refusal(&format!("size({nested}) > 1")).reason.contains("within each other"));
    // One less than the limit, and the limit: 99 signs, 100 names and `> 1` are 201 nodes.
    assert!(Condition::compile(&format!("a{} > 1", " + a".repeat(98)), Kind::Truth).is_ok());
    assert!(refusal(&format!("a{} > 1", " + a".repeat(99))).reason.contains("200 nodes"));
}

#[test]
fn the_longest_condition_is_evaluated_on_a_small_stack() {
    let condition = Condition::compile(&format!("a{} > 1", " + a".repeat(98)), Kind::Truth).unwrap();
    let worker = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        let outcome = condition.evaluate(&Known::new(&condition, &[("a", Value::Integer(1))], &[]));
        drop(condition);
        outcome
    });
    assert_eq!(worker.unwrap().join().unwrap(), Ok(Outcome::Value(Value::Boolean(true))));
}

#[test]
fn the_costliest_conditions_stay_within_10_ms() {
    let text = Value::Text("x".repeat(1024));
    let many = |item: &str, count: usize| vec![item; count].join(", ");
    let sources = [
        format!("[{}].map(x, {})[0] == 1", many("a", 80), vec!["x"; 40].join(" + ")),
        format!("[{}].all(x, {})", many("a", 90), vec!["x != 2"; 25].join(" && ")),
        format!("size([{}].map(x, [{}])) > 1", many("a", 80), many("x", 80)),
        format!("[{}].all(x, t.contains(t) && t.contains('xxxxxxxxxxxxxy') == false)", many("a", 150)),
        format!("size([{}].map(x, string(x) + string(x) + string(x))) > 3", many("a", 150)),
        format!("size([{}].filter(x, t + '' == t)) > 3", many("a", 150)),
    ];
    for source in sources {
        let condition = truth(&source);
        let known = Known::new(&condition, &[("a", Value::Integer(1)), ("t", text.clone())], &[]);
        // The best of some, since the machine does other things too.
        let quickest = (0..5).map(|_| {
            let begin = std::time::Instant::now();
            let outcome = condition.evaluate(&known);
            assert!(!matches!(outcome, Ok(Outcome::Unknown)), "{source:.60}");
            begin.elapsed()
        });
        let quickest = quickest.min().unwrap();
        assert!(quickest < Duration::from_millis(10), "{source:.60}: {quickest:?}");
    }
}

#[test]
fn windows_that_read_or_hold_too_much_are_refused_with_their_place() {
    let many = |function: &str, count: usize| {
        let one = |n: usize| format!("{function}(x, {}) > 0.5", 100_000 - n);
        (0..count).map(one).collect::<Vec<_>>().join(" || ")
    };
    truth(&many("robust_z", 1));
    let refused = refusal(&many("robust_z", 2));
    assert_eq!(refused.position.column, 30, "{refused}");
    assert!(refused.reason.contains("199999 samples, the limit is 100000"), "{refused}");
    // The same function twice is read once.
    truth("robust_z(x, 100000) > 0.9 || robust_z(x, 100000) > 0.8");
    truth(&many("p95", 15));
    assert!(refusal(&many("p95", 16)).reason.contains("bytes"));
    truth(&many("min", 7));
    refusal(&many("min", 8));
    truth(&many("avg", 30));
}

/// With windows as full as they may be: what the functions of one condition take.
#[test]
fn the_costliest_functions_of_the_past_stay_within_10_ms_and_16_mib() {
    let sources = [
        "robust_z(x, 100000) > 2.0".to_owned(),
        "trend(x, '366d') > 1.0".to_owned(),
        "stuck(x, '366d') > 2.0".to_owned(),
        (0..30).map(|n| format!("avg(x, {}) > 1e9", 100_000 - n)).collect::<Vec<_>>().join(" || "),
        (0..15).map(|n| format!("p95(x, {}) > 1e9", 100_000 - n)).collect::<Vec<_>>().join(" || "),
        (0..7).map(|n| format!("min(x, {}) > 1e9", 100_000 - n)).collect::<Vec<_>>().join(" || "),
    ];
    for source in sources {
        let condition = truth(&source);
        let mut series = crate::Series::new(100_000);
        let numbers: Vec<usize> =
            condition.features().iter().map(|spec| series.require(spec).unwrap()).collect();
        let time = |n: i64| fieldline_model::Timestamp::from_nanos(n * 1_000_000_000);
        let mut value = 1_u32;
        let mut next = |n: i64| {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (time(n), f64::from(value >> 8))
        };
        for n in 0..100_000 {
            let (time, value) = next(n);
            series.observe(time, value);
        }
        let mut look = |n: i64| {
            let (time, value) = next(n);
            series.observe(time, value);
            let begin = std::time::Instant::now();
            for number in &numbers {
                series.value(*number, time);
            }
            begin.elapsed()
        };
        // The first one builds what is held; that is once after a start.
        look(100_000);
        let quickest = (1..6).map(|n| look(100_000 + n)).min().unwrap();
        // Not optimised, it takes many times as long.
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 10 });
        assert!(quickest < limit, "{source:.60}: {quickest:?}");
        let held = series.held_bytes();
        assert!(held <= 16 << 20, "{source:.60}: {held} bytes");
    }
}

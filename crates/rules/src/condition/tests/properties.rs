//! What holds of all conditions: agreement with CEL, three-valued logic, no panic.

use proptest::prelude::*;

use super::*;

/// A value that CEL has too; unknown as none.
type Cell = Option<bool>;

fn and(a: Cell, b: Cell) -> Cell {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(a: Cell, b: Cell) -> Cell {
    and(a.map(|a| !a), b.map(|b| !b)).map(|value| !value)
}

#[test]
fn the_truth_tables_know_unknown() {
    let cells: [Cell; 3] = [Some(false), Some(true), None];
    // The second of each pair is no native condition.
    let ands = [truth("a && b"), truth("a && [b].all(x, x)")];
    let ors = [truth("a || b"), truth("a || [b].exists(x, x)")];
    let not = truth("!a");
    let choice = truth("a ? b : !b");
    for a in cells {
        for b in cells {
            let values: Vec<(&str, Value)> = [("a", a), ("b", b)]
                .into_iter()
                .filter_map(|(name, cell)| Some((name, Value::Boolean(cell?))))
                .collect();
            let of = |condition: &Condition| condition.evaluate(&Known::new(condition, &values, &[]));
            for condition in &ands {
                assert_eq!(of(condition), Ok(Outcome::of_truth(and(a, b))), "{a:?} && {b:?}");
            }
            for condition in &ors {
                assert_eq!(of(condition), Ok(Outcome::of_truth(or(a, b))), "{a:?} || {b:?}");
            }
            assert_eq!(of(&not), Ok(Outcome::of_truth(a.map(|a| !a))), "!{a:?}");
            let chosen = a.and_then(|a| b.map(|b| if a { b } else { !b }));
            assert_eq!(of(&choice), Ok(Outcome::of_truth(chosen)), "{a:?} ? {b:?} : !{b:?}");
        }
    }
    let arithmetic = Condition::compile("a + b", Kind::Value).unwrap();
    let known = Known::new(&arithmetic, &[("a", Value::Integer(1))], &[]);
    assert_eq!(arithmetic.evaluate(&known), Ok(Outcome::Unknown));
}

fn comparison() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let number = prop_oneof![
        (-5_i64..5).prop_map(|number| number.to_string()),
        (-20_i64..20).prop_map(|number| format!("{:?}", number as f64 / 4.0)),
    ];
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let text =
        prop::sample::select(vec!["mode == 'auto'", "'b' > mode", "mode != ''"]).prop_map(str::to_owned);
    let number = (name, sign, number, any::<bool>()).prop_map(|(name, sign, number, mirrored)| {
        if mirrored { format!("{number} {sign} {name}") } else { format!("{name} {sign} {number}") }
    });
    prop_oneof![5 => number, 1 => text]
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => comparison(), 1 => Just("on".to_owned())];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-5_i64..5).prop_map(Value::Integer),
        (-20_i64..20).prop_map(|number| Value::Float(number as f64 / 4.0)),
    ]
}

/// What CEL's own interpreter says.
fn by_cel(source: &str, values: &[(&str, Value)]) -> bool {
    let mut context = cel::Context::default();
    for (name, value) in values {
        let value = match value {
            Value::Boolean(value) => cel::Value::Bool(*value),
            Value::Integer(value) => cel::Value::Int(*value),
            Value::Float(value) => cel::Value::Float(*value),
            Value::Text(text) => cel::Value::String(text.clone().into()),
        };
        context.add_variable_from_value(*name, value);
    }
    match cel::Program::compile(source).unwrap().execute(&context).unwrap() {
        cel::Value::Bool(value) => value,
        other => panic!("{source}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_native_condition_agrees_with_cel_and_with_the_tree(
        source in condition(), a in number(), b in number(), c in number(), on in any::<bool>(), mode in "auto|b|",
    ) {
        let values = [("a", a), ("b", b), ("c", c), ("on", Value::Boolean(on)), ("mode", Value::Text(mode))];
        let native = truth(&source);
        prop_assert!(native.is_native());
        let outcome = native.evaluate(&Known::new(&native, &values, &[]));
        let expected = Ok(Outcome::Value(Value::Boolean(by_cel(&source, &values))));
        prop_assert_eq!(&outcome, &expected);
        // As a value it is not native.
        let tree = Condition::compile(&source, Kind::Value).unwrap();
        prop_assert!(!tree.is_native());
        prop_assert_eq!(tree.evaluate(&Known::new(&tree, &values, &[])), expected);
    }

    #[test]
    fn native_and_tree_agree_on_what_is_missing_or_broken(
        source in condition(), a in prop::option::of(number()), broken in any::<bool>(), on in any::<Option<bool>>(),
    ) {
        let mut values = vec![("b", if broken { Value::Float(f64::NAN) } else { Value::Text("x".to_owned()) })];
        values.extend(a.map(|a| ("a", a)));
        values.extend(on.map(|on| ("on", Value::Boolean(on))));
        let native = truth(&source);
        let tree = Condition::compile(&source, Kind::Value).unwrap();
        let native = native.evaluate(&Known::new(&native, &values, &[]));
        let tree = match source.as_str() {
            // A value of any type.
            "on" => native.clone(),
            _ => tree.evaluate(&Known::new(&tree, &values, &[])),
        };
        prop_assert_eq!(native.clone().ok(), tree.clone().ok());
        prop_assert_eq!(native.is_err(), tree.is_err());
    }

    #[test]
    fn no_text_makes_the_compiler_panic(source in "\\PC{0,60}") {
        let _refused = Condition::compile(&source, Kind::Truth).is_err();
    }

    #[test]
    fn no_likely_text_makes_the_compiler_panic_or_take_long(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "1", "2.5", "'x'", "\"", "(", ")", "[", "]", "{", "}", "&&", "||", "!", "-", "+", "*", "/", "%", "<",
            "==", "in", "?", ":", ",", ".", "avg", "avg(a, '5m')", "x.all(y, y)", "map", "r'", "\\", "//", "\n", "has(",
            "0x", "1e999", "u", "ä", "null", "true", "device('d').x",
        ]), 0..80),
    ) {
        let source = words.join(" ");
        // The best of some, since the machine does other things too.
        let quickest = (0..3).map(|_| {
            let begin = std::time::Instant::now();
            let _refused = Condition::compile(&source, Kind::Value).is_err();
            begin.elapsed()
        });
        prop_assert!(quickest.min().is_some_and(|time| time < Duration::from_millis(50)), "{source}");
    }
}

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

/// Arithmetic of floats, which CEL does in the same way.
fn arithmetic() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        (-20_i64..20).prop_map(|number| format!("{:?}", number as f64 / 4.0)),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let sign = prop::sample::select(vec!["+", "-", "*", "/"]);
        prop_oneof![
            4 => (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} < {b} ? {b} : {c})")),
        ]
    })
}

/// Anything that has the form of an expression, of any type.
fn anything() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "0",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0.0",
        "'x'",
        "''",
        "true",
        "[]",
        "x",
        "avg(a, '5m')",
        "changed(b)",
        "nothing",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 40, 3, |inner| {
        let sign =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "<", "==", "!=", ">=", "in", "&&", "||"]);
        let function = prop::sample::select(vec!["size", "int", "double", "string", "abs", "sqrt", "round", "floor"]);
        let fold = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            3 => (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => (function, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}][{b}]")),
            1 => (fold, inner.clone(), inner.clone()).prop_map(|(name, a, b)| format!("[{a}, b].{name}(x, {b})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        prop::num::f64::ANY.prop_map(Value::Float),
        prop::sample::select(vec![String::new(), "ä".repeat(512), "7".to_owned()]).prop_map(Value::Text),
    ]
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
        let tree = Condition::as_tree(&source, Kind::Truth);
        prop_assert!(!tree.is_native());
        prop_assert_eq!(tree.evaluate(&Known::new(&tree, &values, &[])), expected);
    }

    #[test]
    fn native_and_tree_agree_on_whatever_the_values_are(
        source in prop_oneof![
            condition(),
            (arithmetic(), arithmetic()).prop_map(|(a, b)| format!("{a} > {b}")),
            (anything(), anything()).prop_map(|(a, b)| format!("{a} < {b}")),
            anything(),
        ],
        a in prop::option::of(prop_oneof![number(), any_value()]),
        b in prop_oneof![number(), any_value()],
        c in number(),
        on in any::<Option<bool>>(),
        feature in prop::option::of(prop::num::f64::ANY),
    ) {
        let mut values = vec![("b", b), ("c", c)];
        values.extend(a.map(|a| ("a", a)));
        values.extend(on.map(|on| ("on", Value::Boolean(on))));
        let features: Vec<(&str, f64)> =
            feature.into_iter().flat_map(|f| [("avg(a, \"5m\")", f), ("changed(b)", f)]).collect();
        for kind in [Kind::Truth, Kind::Value] {
            let Ok(quick) = Condition::compile(&source, kind) else { continue };
            let tree = Condition::as_tree(&source, kind);
            let quick = quick.evaluate(&Known::new(&quick, &values, &features));
            let tree = tree.evaluate(&Known::new(&tree, &values, &features));
            // They may differ in which words tell of a wrong type.
            prop_assert_eq!(quick.clone().ok(), tree.clone().ok(), "{:?} {:?}", quick, tree);
            prop_assert_eq!(
                quick.err().map(|error| std::mem::discriminant(&error)),
                tree.err().map(|error| std::mem::discriminant(&error))
            );
        }
    }

    #[test]
    fn arithmetic_agrees_with_cel(source in arithmetic(), a in -9.0..9.0, b in -9.0..9.0, c in -9.0..9.0) {
        let values = [("a", a), ("b", b), ("c", c)].map(|(name, value)| (name, Value::Float(value)));
        let mut context = cel::Context::default();
        for (name, value) in [("a", a), ("b", b), ("c", c)] {
            context.add_variable_from_value(name, value);
        }
        let by_cel: cel::Value = cel::Program::compile(&source).unwrap().execute(&context).unwrap();
        let condition = Condition::compile(&source, Kind::Value).unwrap();
        let outcome = condition.evaluate(&Known::new(&condition, &values, &[]));
        match by_cel {
            // CEL divides floats by zero without a word.
            cel::Value::Float(value) if outcome.is_ok() => {
                prop_assert_eq!(outcome, Ok(Outcome::Value(Value::Float(value))));
            }
            cel::Value::Float(_) => prop_assert!(source.contains('/'), "{source}: {outcome:?}"),
            other => prop_assert!(false, "{source}: {other:?}"),
        }
    }

    #[test]
    fn whatever_compiles_is_evaluated_without_panic_and_in_time(
        source in anything(), a in any_value(), b in any_value(), feature in prop::num::f64::ANY,
    ) {
        let Ok(condition) = Condition::compile(&source, Kind::Value) else { return Ok(()) };
        let values = [("a", a), ("b", b)];
        let features = [("avg(a, \"5m\")", feature), ("changed(b)", feature)];
        let known = Known::new(&condition, &values, &features);
        let outcome = condition.evaluate(&known);
        let quickest = (0..3).map(|_| {
            let begin = std::time::Instant::now();
            let _again = condition.evaluate(&known).is_err();
            begin.elapsed()
        });
        prop_assert!(quickest.min().is_some_and(|time| time < Duration::from_millis(10)), "{source}");
        if let Ok(Outcome::Value(Value::Float(value))) = outcome {
            prop_assert!(value.is_finite(), "{source}: {value}");
        }
        prop_assert_eq!(condition.explain(&known).len(), condition.leaves.len());
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

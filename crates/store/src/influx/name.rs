//! Metrics as measurements.
//!
//! A measurement is the metric's name as it is. Only what line protocol cannot carry, or what a
//! database keeps for itself, is written otherwise: `\` as `%5C` (line protocol has no way to end a
//! name with one), a `_` at the beginning as `%5F` (reserved by InfluxDB 2 and 3), and `%` as `%25`
//! where it would be taken for one of these.

use fieldline_model::Metric;

const CODES: [(&str, char); 3] = [("25", '%'), ("5C", '\\'), ("5F", '_')];

/// The measurement of a metric.
pub(super) fn measurement(metric: &str) -> String {
    let mut out = String::with_capacity(metric.len() + 8);
    for (at, character) in metric.char_indices() {
        let behind = metric.get(at + 1..).unwrap_or_default();
        match character {
            '\\' => out.push_str("%5C"),
            '_' if at == 0 => out.push_str("%5F"),
            '%' if CODES.iter().any(|(code, _)| behind.starts_with(code)) => out.push_str("%25"),
            other => out.push(other),
        }
    }
    out
}

/// The metric of a measurement; `None` if no metric has it.
pub(super) fn metric(name: &str) -> Option<Metric> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((head, tail)) = rest.split_once('%') {
        out.push_str(head);
        let code = CODES.iter().find_map(|(code, is)| Some((tail.strip_prefix(code)?, is)));
        match code {
            Some((behind, is)) => {
                out.push(*is);
                rest = behind;
            }
            None => {
                out.push('%');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    // What others write may look like an escape of ours without being one.
    (measurement(&out) == name).then(|| Metric::new(&out).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["temperature", "cpu.usage{cpu=0}", "Außen °C", "load %", "a b,c\"d\"'", "100%2"] {
            assert_eq!(measurement(name), name);
        }
        let table = [("a\\", "a%5C"), ("_x_", "%5Fx_"), ("%5C", "%255C"), ("%25", "%2525"), ("%\\", "%%5C")];
        for (name, expected) in table {
            assert_eq!(measurement(name), expected);
            assert_eq!(metric(expected).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_no_metric_has_is_not_ours() {
        for foreign in ["", "_internal", "a%5Fb", "a\\b", "a/b", "x\ny"] {
            assert_eq!(metric(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn every_metric_comes_back(name in "[%25CF\\\\_a ]{1,12}|\\PC{1,40}") {
            if let Ok(known) = Metric::new(&name) {
                let written = measurement(&name);
                prop_assert!(!written.contains('\\') && !written.starts_with('_'));
                prop_assert_eq!(metric(&written), Some(known));
            }
        }
    }
}

//! Figures and the table of them.

use std::fmt;

/// One measured figure; smaller is better where it has a target.
#[derive(Debug)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    target: Option<f64>,
    values: Vec<f64>,
}

impl Figure {
    /// A figure with a target, or with none where none is set.
    pub(crate) fn new(name: &str, unit: &'static str, target: Option<f64>, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { name: name.to_owned(), unit, target, values }
    }

    fn median(&self) -> f64 {
        self.values.get(self.values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        self.0.extend(figures);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<52} {:>12} {:>10} {:>10} {:>10} {:>8} {:>7}",
            "figure", "unit", "min", "median", "max", "target", "ratio"
        )?;
        for figure in &self.0 {
            let least = figure.values.first().copied().unwrap_or(f64::NAN);
            let most = figure.values.last().copied().unwrap_or(f64::NAN);
            let median = figure.median();
            write!(f, "{:<52} {:>12} {least:>10.3} {median:>10.3} {most:>10.3}", figure.name, figure.unit)?;
            match figure.target {
                Some(target) => writeln!(f, " {target:>8.2} {:>6.2}x", median / target)?,
                None => writeln!(f, " {:>8} {:>7}", "-", "-")?,
            }
        }
        writeln!(f, "ratio = median / target; at most 1 is on target")
    }
}

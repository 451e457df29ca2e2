//! The picture in characters: Braille dots, and a line of marks below.

use std::fmt::Write as _;

use textplots::{AxisBuilder, LabelBuilder, LabelFormat, LineStyle, Plot, Shape};

use crate::Chart;
use crate::axis::{Axes, thin, time_label};

pub(crate) fn draw(chart: &Chart, columns: u32, rows: u32) -> String {
    let (columns, rows) = (columns.clamp(40, 400), rows.clamp(4, 100));
    let axes = Axes::of(chart);
    let mut text = String::new();
    if !chart.title.is_empty() {
        text = format!("{}\n", chart.title);
    }
    text.push_str(&curve(chart, &axes, columns, rows));
    let range = axes.time.1.saturating_sub(axes.time.0);
    let (left, right) = (time_label(axes.time.0, range), time_label(axes.time.1, range));
    let gap = (columns as usize).saturating_sub(left.len() + right.len());
    text.push_str(&format!("{left}{:gap$}{right}\n", ""));
    for span in &chart.spans {
        let column = |at: i64| {
            let share = (at as f64 - axes.time.0 as f64) / (axes.time.1 as f64 - axes.time.0 as f64);
            ((share * f64::from(columns)) as usize).min(columns as usize - 1)
        };
        let (from, to) = (column(span.from.millis()), column(span.to.millis()));
        let bar = "▔".repeat(to.saturating_sub(from) + 1);
        // A failed write into a String cannot be.
        let _written = writeln!(text, "{:from$}{bar} {}", "", span.label);
    }
    text
}

/// Two dots in the width and four in the height make a character.
fn curve(chart: &Chart, axes: &Axes, columns: u32, rows: u32) -> String {
    let zero = axes.time.0;
    let runs: Vec<Vec<(f32, f32)>> = chart
        .lines
        .iter()
        .flat_map(|line| thin(&line.points, axes, columns * 2))
        .map(|run| {
            run.into_iter().map(|(at, value)| ((at.saturating_sub(zero)) as f32, value as f32)).collect()
        })
        .collect();
    let shapes: Vec<Shape<'_>> = runs.iter().map(|run| Shape::Lines(run)).collect();
    let width = axes.time.1.saturating_sub(zero) as f32;
    let bounded = |value: f64| value.clamp(f64::from(f32::MIN) / 4.0, f64::from(f32::MAX) / 4.0) as f32;
    let (low, high) = (bounded(axes.value.0), bounded(axes.value.1));
    let high = if low < high { high } else { low + low.abs().max(1.0) * 1e-6 };
    let mut plot = textplots::Chart::new_with_y_range(columns * 2, rows * 4, 0.0, width, low, high);
    let mut plot = plot
        .x_axis_style(LineStyle::None)
        .y_axis_style(LineStyle::None)
        .x_label_format(LabelFormat::None)
        .y_label_format(LabelFormat::Value);
    for shape in &shapes {
        plot = plot.lineplot(shape);
    }
    plot.axis();
    plot.figures();
    // What it adds below is the axis of time, which is drawn in words of ours.
    let drawn = plot.to_string();
    let kept: Vec<&str> = drawn.lines().take(rows as usize + 1).collect();
    format!("{}\n", kept.join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    use fieldline_model::Timestamp;

    use crate::{Chart, Line, Span};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn marks_stand_below_the_time_they_mean() {
        let points =
            (0..3600).map(|n| (at(n), if (1800..2400).contains(&n) { 90.0 } else { 20.0 })).collect();
        let spans = vec![Span { from: at(1800), to: at(2399), label: "hot".into() }];
        let chart = Chart { title: "press-4".into(), lines: vec![Line { name: "x".into(), points }], spans };
        let text = chart.to_text(60, 8);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "press-4");
        assert!(lines[1].ends_with("93.5") && text.contains("16.5"), "{text}");
        let mark = lines.last().unwrap();
        assert!(mark.starts_with(&" ".repeat(30)) && mark.ends_with("▔▔ hot"), "{text}");
        assert_eq!(mark.matches('▔').count(), 10, "{text}");
        assert!(text.contains("00:00:00") && text.contains("00:59:59"), "{text}");
    }

    #[test]
    fn any_size_and_any_values_are_drawn() {
        let values = [f64::NAN, f64::MAX, f64::MIN, 0.0, 1e-300, -0.0];
        for (columns, rows) in [(0, 0), (40, 4), (10_000, 10_000)] {
            assert!(!Chart::default().to_text(columns, rows).is_empty());
            for pair in values.windows(2) {
                let points = vec![(at(0), pair[0]), (at(1), pair[1])];
                let chart = Chart { lines: vec![Line { name: "x".into(), points }], ..Chart::default() };
                assert!(chart.to_text(columns, rows).lines().count() >= 5);
            }
        }
    }
}

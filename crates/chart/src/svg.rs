//! The picture as SVG.

use std::fmt::Display;

use plotters::prelude::*;

use crate::axis::{Axes, thin, time_label};
use crate::{Chart, Error, PIXELS};

/// Colours that stay apart for the colour-blind (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const MARK: RGBColor = RGBColor(213, 94, 0);

pub(crate) fn draw(chart: &Chart, width: u32, height: u32) -> Result<String, Error> {
    if !PIXELS.contains(&width) || !PIXELS.contains(&height) {
        return Err(Error::Size { width, height });
    }
    let mut svg = String::new();
    paint(chart, &mut svg, width, height)?;
    Ok(svg)
}

fn failed(error: impl Display) -> Error {
    Error::Drawing(error.to_string())
}

fn paint(chart: &Chart, svg: &mut String, width: u32, height: u32) -> Result<(), Error> {
    let axes = Axes::of(chart);
    let (from, to) = axes.time;
    let root = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let mut plot = ChartBuilder::on(&root)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(from..to, axes.value.0..axes.value.1)
        .map_err(failed)?;
    plot.configure_mesh()
        .light_line_style(WHITE)
        .x_labels((width / 120).max(2) as usize)
        .y_labels((height / 40).max(2) as usize)
        .x_label_formatter(&|at| time_label(*at, to.saturating_sub(from)))
        .draw()
        .map_err(failed)?;
    for span in &chart.spans {
        let (from, to) = (span.from.millis(), span.to.millis());
        let corners = [(from, axes.value.0), (to.max(from.saturating_add(1)), axes.value.1)];
        plot.draw_series([Rectangle::new(corners, MARK.mix(0.25).filled())]).map_err(failed)?;
        let label = Text::new(span.label.clone(), corners[1], ("sans-serif", 11).into_font().color(&MARK));
        plot.draw_series([label]).map_err(failed)?;
    }
    for (line, colour) in chart.lines.iter().zip(COLOURS.iter().cycle()) {
        for (nth, run) in thin(&line.points, &axes, width).into_iter().enumerate() {
            let drawn = plot.draw_series(LineSeries::new(run, colour)).map_err(failed)?;
            if nth == 0 {
                drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
            }
        }
    }
    plot.configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
        .map_err(failed)?;
    root.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use fieldline_model::Timestamp;

    use super::*;
    use crate::{Line, Span};

    fn chart() -> Chart {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        Chart {
            title: "a < b & \"c\"".into(),
            lines: vec![Line {
                name: "<x>".into(),
                points: (0..50).map(|n| (at(n * 1000), n as f64)).collect(),
            }],
            spans: vec![Span { from: at(1000), to: at(9000), label: "hot & high".into() }],
        }
    }

    #[test]
    fn texts_are_escaped() {
        let svg = chart().to_svg(600, 200).unwrap();
        assert!(svg.contains("a &lt; b &amp; "), "{svg}");
        assert!(svg.contains("hot &amp; high") && svg.contains("&lt;x&gt;"), "{svg}");
        assert!(svg.contains("<polyline") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn a_picture_has_a_size() {
        assert!(matches!(chart().to_svg(99, 200), Err(Error::Size { .. })));
        assert!(chart().to_svg(100, 100).is_ok());
        assert!(chart().to_svg(8_001, 200).is_err());
    }

    #[test]
    fn a_chart_of_nothing_and_one_of_extremes_are_drawn() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        Chart::default().to_svg(300, 200).unwrap();
        let points = vec![(at(0), f64::MAX), (at(i64::MAX / 2_000_000), f64::MIN), (at(5), f64::NAN)];
        Chart { lines: vec![Line { name: "x".into(), points }], ..Chart::default() }
            .to_svg(300, 200)
            .unwrap();
    }
}

//! Charts of series: as SVG for documents and browsers, and as text for the terminal.
//!
//! What it is not: it reads no store and writes no file.
//!
//! Invariants: values that are no numbers leave a gap and break nothing; a chart of no points is a chart; the
//! size of the output depends on the size of the picture, not on the number of points.
//!
//! ```
//! use fieldline_chart::{Chart, Line, Span};
//! use fieldline_model::Timestamp;
//!
//! let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
//! let points = (0..600).map(|second| (at(second), f64::from(second as i32).sin())).collect();
//! let chart = Chart {
//!     title: "press-4 temperature".into(),
//!     lines: vec![Line { name: "temperature".into(), points }],
//!     spans: vec![Span { from: at(100), to: at(160), label: "press-overheats".into() }],
//! };
//! assert!(chart.to_svg(900, 300)?.starts_with("<svg"));
//! assert!(chart.to_text(80, 12).lines().count() >= 12);
//! # Ok::<(), fieldline_chart::Error>(())
//! ```

mod axis;
mod svg;
mod text;

use fieldline_model::Timestamp;

/// The least and the greatest width and height of an SVG, in pixels.
pub const PIXELS: std::ops::RangeInclusive<u32> = 100..=8_000;

/// A chart cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The picture is too small or too large.
    #[error("a chart is {} to {} pixels wide and high, not {width} × {height}", PIXELS.start(), PIXELS.end())]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// The drawing failed.
    #[error("the chart cannot be drawn: {0}")]
    Drawing(String),
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// Stands above it.
    pub title: String,
    /// Over one and the same axes.
    pub lines: Vec<Line>,
    /// Marked along the axis of time, such as alarms.
    pub spans: Vec<Span>,
}

/// A series of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// By time, ascending.
    pub points: Vec<(Timestamp, f64)>,
}

/// A time that is marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// What it says.
    pub label: String,
}

impl Chart {
    /// An SVG document of this size in pixels.
    ///
    /// # Errors
    /// The size is not one, see [`PIXELS`].
    pub fn to_svg(&self, width: u32, height: u32) -> Result<String, Error> {
        svg::draw(self, width, height)
    }

    /// Lines of text of this size in characters, the marks below the curve. Each dimension is kept within
    /// 40 to 400 columns and 4 to 100 rows.
    pub fn to_text(&self, columns: u32, rows: u32) -> String {
        text::draw(self, columns, rows)
    }
}

//! The newest points of each series, in memory, as the log holds them.

use std::sync::Arc;

use fieldline_wire::Column;

use crate::aggregate::Summary;
use crate::points::Points;

/// A part of a head with so many points takes no more.
const SEGMENT_POINTS: usize = 512;

/// A part of a head that does not change any more.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) points: Points,
    /// If the points are tidy.
    pub(super) summary: Option<Summary>,
    pub(super) span: (i64, i64),
}

impl Segment {
    pub(super) fn new(points: Points) -> Option<Self> {
        let span = points.span()?;
        let summary = points.is_tidy().then(|| Summary::of(&points, 0..points.len()));
        Some(Self { points, summary, span })
    }
}

/// The head of one series. Cloning it shares the points.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) sealed: Vec<Arc<Segment>>,
    pub(super) open: Arc<Points>,
    /// Whether the last run of `open` was accepted in order while no stream had a gap. Such runs can
    /// be joined: whatever comes later sorts behind both.
    plain: bool,
}

impl Head {
    fn append(&mut self, column: &Column, order: u64, plain: bool) {
        // A query may hold the points; then, and only then, they are copied.
        let open = Arc::make_mut(&mut self.open);
        open.append_column(column, order, plain && self.plain);
        self.plain = plain;
        if open.len() >= SEGMENT_POINTS {
            let mut points = std::mem::take(open);
            points.shrink();
            self.sealed.extend(Segment::new(points).map(Arc::new));
            self.plain = false;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_empty()
    }

    /// All points, tidy.
    pub(super) fn collect(&self) -> Points {
        let mut all = Points::default();
        for segment in &self.sealed {
            all.append(&segment.points);
        }
        all.append(&self.open);
        all.make_tidy();
        all
    }
}

/// Heads by series.
#[derive(Debug, Default)]
pub(super) struct Heads {
    heads: Vec<Head>,
    points: usize,
}

impl Heads {
    /// All points in them.
    pub(super) fn points(&self) -> usize {
        self.points
    }

    pub(super) fn get(&self, series: u32) -> Option<&Head> {
        self.heads.get(series as usize).filter(|head| !head.is_empty())
    }

    /// The heads with points, by series.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Head)> {
        (0..).zip(&self.heads).filter(|(_, head)| !head.is_empty())
    }

    /// Appends a column of a block with its place in the order. `plain`: see [`Head`].
    pub(super) fn append(&mut self, series: u32, column: &Column, order: u64, plain: bool) {
        let at = series as usize;
        if self.heads.len() <= at {
            self.heads.resize_with(at + 1, Head::default);
        }
        if let Some(head) = self.heads.get_mut(at) {
            head.append(column, order, plain);
            self.points += column.times.len();
        }
    }
}

//! What is usual at this hour of the week, or else of the day.

use serde::{Deserialize, Serialize};

use super::robust::{Deviation, median};
use super::{LIMIT, score};

/// Hours of a week.
const CELLS: usize = 168;
/// Weeks that a cell remembers.
const WEEKS: usize = 6;
/// Hourly means that a comparison needs.
const MEANS_MIN: usize = 3;
/// Weight of the newest distance in the spread within an hour.
const SPREAD_WEIGHT: f64 = 1.0 / 512.0;
const HOUR_NANOS: i64 = 3_600_000_000_000;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The first of January 1970 was a Thursday.
const EPOCH_DAY: i64 = 3;

/// What is written each time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Now {
    /// Hours since the epoch; none before the first sample.
    hour: Option<i64>,
    sum: f64,
    count: u32,
    /// How far samples are from the mean of their hour.
    spread: f64,
    /// In deviations, signed.
    distance: Option<f64>,
    /// By hour of the week, not only of the day.
    weekly: bool,
}

/// The usual of each hour of the week (UTC), as the means of that hour in the last six weeks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seasonal {
    now: Now,
    /// The newest last.
    cells: Vec<Vec<f64>>,
    cells_changed: bool,
}

impl Default for Seasonal {
    fn default() -> Self {
        Self { now: Now::default(), cells: vec![Vec::new(); CELLS], cells_changed: false }
    }
}

fn cell_of(hour: i64) -> usize {
    usize::try_from((hour + EPOCH_DAY * 24).rem_euclid(CELLS as i64)).unwrap_or_default()
}

impl Seasonal {
    /// Takes the newest sample.
    pub(crate) fn observe(&mut self, time: i64, value: f64) {
        let hour = time.div_euclid(HOUR_NANOS);
        if self.now.hour != Some(hour) {
            self.close();
            self.now = Now { hour: Some(hour), spread: self.now.spread, ..Now::default() };
        }
        // What it is compared with does not hold it yet.
        let cell = cell_of(hour);
        let weekly = self.cells.get(cell).is_some_and(|means| means.len() >= MEANS_MIN);
        self.now.weekly = weekly;
        self.now.distance = self.usual(cell, weekly).map(|usual| usual.distance(value));
        self.now.sum += value;
        self.now.count = self.now.count.saturating_add(1);
        let from_mean = (value - self.now.sum / f64::from(self.now.count)).abs();
        if from_mean.is_finite() {
            self.now.spread += (from_mean - self.now.spread) * SPREAD_WEIGHT;
        }
    }

    /// The hour that is over goes to its cell.
    fn close(&mut self) {
        let Some(hour) = self.now.hour.filter(|_| self.now.count > 0) else { return };
        let mean = self.now.sum / f64::from(self.now.count);
        if let Some(cell) = self.cells.get_mut(cell_of(hour)).filter(|_| mean.is_finite()) {
            if cell.len() >= WEEKS {
                cell.remove(0);
            }
            cell.push(mean);
            self.cells_changed = true;
        }
    }

    fn usual(&self, cell: usize, weekly: bool) -> Option<Deviation> {
        let mut means: Vec<f64> = if weekly {
            self.cells.get(cell)?.clone()
        } else {
            self.cells.iter().skip(cell % 24).step_by(24).flatten().copied().collect()
        };
        if means.len() < MEANS_MIN {
            return None;
        }
        let middle = median(&mut means)?;
        let mut distances: Vec<f64> = means.iter().map(|mean| (mean - middle).abs()).collect();
        let between = median(&mut distances)? * 1.4826;
        // Few weeks tell little of the spread between them: that within the hour is the least.
        Some(Deviation { median: middle, sigma: between.max(self.now.spread * 1.2533) })
    }

    pub(crate) fn score(&self) -> Option<f64> {
        self.now.distance.map(|distance| score(distance, LIMIT))
    }

    pub(crate) fn explain(&self) -> Option<String> {
        let (distance, cell) = (self.now.distance?, cell_of(self.now.hour?));
        let side = if distance < 0.0 { "below" } else { "above" };
        let day = if self.now.weekly { DAYS.get(cell / 24).copied().unwrap_or_default() } else { "day" };
        Some(format!("{:.1} MAD {side} the usual {day} {:02}:00 UTC", distance.abs(), cell % 24))
    }

    /// The small part that changes with each sample, and the large one that changes by the hour, if it has.
    pub(crate) fn changes(&mut self) -> [Option<Vec<u8>>; 2] {
        let cells = std::mem::take(&mut self.cells_changed).then(|| postcard::to_stdvec(&self.cells).ok());
        [postcard::to_stdvec(&self.now).ok(), cells.flatten()]
    }

    /// What [`Seasonal::changes`] gave last of each part.
    pub(crate) fn restore(&mut self, part: u32, bytes: &[u8]) -> Option<()> {
        if part == 0 {
            self.now = postcard::from_bytes(bytes).ok()?;
        } else {
            let cells: Vec<Vec<f64>> = postcard::from_bytes(bytes).ok()?;
            let fits = cells.len() == CELLS && cells.iter().all(|cell| cell.len() <= WEEKS);
            self.cells = fits.then_some(cells)?;
        }
        Some(())
    }
}

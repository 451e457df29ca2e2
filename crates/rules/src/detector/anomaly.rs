//! Unlike anything before: inductive conformal detection with the distance to the nearest neighbours.
//!
//! What is compared is the course of the last 48 samples, as the means of its two halves. How unlike the past it
//! is, is its distance to the nearest of the courses kept; what is usual of that distance is told by those kept of
//! the past: Laxhammar and Falkman, Annals of Mathematics and Artificial Intelligence 74 (2015); Burnaev and
//! Ishimtsev, arXiv:1608.04585 (2016).

use serde::{Deserialize, Serialize};

use super::{robust::median, score};

/// Samples of half a course.
const HALF: usize = 24;
/// A course and a distance are kept every so many samples: a number that no usual period of samples divides by, so
/// that every hour of the day is kept in time.
const STRIDE: u64 = 23;
/// Courses and distances that are kept.
const KEPT: usize = 512;
/// As many are needed before anything is said.
const KEPT_MIN: usize = 32;
/// Courses that share samples with the newest one are no past.
const OVERLAPPING: usize = 3;
/// Nearest neighbours.
const NEIGHBOURS: usize = 4;
/// The share of the past whose distances count as usual.
const USUAL: f64 = 0.98;
/// Of so many distances the median counts: one wild value is a spike.
const SMOOTHED: usize = 12;
/// The limit: so many times the usual distance.
const LIMIT: f64 = 1.3;

/// The means of the newer and the older half.
type Course = [f32; 2];

/// What changes with each sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Now {
    count: u64,
    /// The newest last; at most two halves.
    recent: Vec<f64>,
    /// Distances in usual ones, the newest last.
    ratios: Vec<f64>,
}

/// What is kept, in rings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Past {
    courses: Ring<Course>,
    distances: Ring<f32>,
}

/// The last so many, where the oldest gives way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ring<T> {
    items: Vec<T>,
    next: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: 0 }
    }
}

impl<T: Copy> Ring<T> {
    fn push(&mut self, item: T) {
        match self.items.get_mut(self.next) {
            Some(oldest) => *oldest = item,
            None => self.items.push(item),
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// All but the newest so many, in any order.
    fn before(&self, newest: usize) -> impl Iterator<Item = T> {
        let (older, newer) = self.items.split_at(self.next.min(self.items.len()));
        let count = self.items.len().saturating_sub(newest);
        newer.iter().chain(older).take(count).copied()
    }

    fn fits(&self) -> bool {
        self.items.len() <= KEPT
            && self.next < KEPT
            && (self.items.len() == KEPT || self.next == self.items.len())
    }
}

/// See the module. At most 7 KiB when it is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Anomaly {
    now: Now,
    past: Past,
    past_changed: bool,
}

impl Anomaly {
    /// Takes the newest sample.
    pub(crate) fn observe(&mut self, value: f64) {
        let now = &mut self.now;
        now.count += 1;
        if now.recent.len() >= 2 * HALF {
            now.recent.remove(0);
        }
        now.recent.push(value);
        let Some(course) = course(&now.recent) else { return };
        let is_kept = now.count.is_multiple_of(STRIDE);
        if let Some(distance) = distance(&course, self.past.courses.before(OVERLAPPING)) {
            if let Some(usual) = usual(&self.past.distances.items) {
                if now.ratios.len() >= SMOOTHED {
                    now.ratios.remove(0);
                }
                now.ratios.push(ratio(distance, usual));
            }
            if is_kept {
                self.past.distances.push(distance);
            }
        }
        if is_kept {
            self.past.courses.push(course);
            self.past_changed = true;
        }
    }

    /// In usual distances.
    fn ratio(&self) -> Option<f64> {
        median(&mut self.now.ratios.clone())
    }

    pub(crate) fn score(&self) -> Option<f64> {
        self.ratio().map(|ratio| score(ratio, LIMIT))
    }

    pub(crate) fn explain(&self) -> Option<String> {
        let [newer, older] = course(&self.now.recent)?;
        let far = match self.ratio()? {
            ratio if ratio.is_finite() => format!("{ratio:.1} times"),
            _ => "infinitely".to_owned(),
        };
        let past = self.past.courses.items.len() as u64 * STRIDE;
        Some(format!(
            "{far} as far from anything like it as is usual in the last {past} samples: {newer:.4} after {older:.4}"
        ))
    }

    /// The small part that changes with each sample, and the large one, if it has changed.
    pub(crate) fn changes(&mut self) -> [Option<Vec<u8>>; 2] {
        let past = std::mem::take(&mut self.past_changed).then(|| postcard::to_stdvec(&self.past).ok());
        [postcard::to_stdvec(&self.now).ok(), past.flatten()]
    }

    /// What [`Anomaly::changes`] gave last of each part.
    pub(crate) fn restore(&mut self, part: u32, bytes: &[u8]) -> Option<()> {
        if part == 0 {
            let now: Now = postcard::from_bytes(bytes).ok()?;
            let fits = now.recent.len() <= 2 * HALF && now.ratios.len() <= SMOOTHED;
            self.now = fits.then_some(now)?;
        } else {
            let past: Past = postcard::from_bytes(bytes).ok()?;
            self.past = (past.courses.fits() && past.distances.fits()).then_some(past)?;
        }
        Some(())
    }
}

/// None before there are samples enough.
fn course(recent: &[f64]) -> Option<Course> {
    if recent.len() < 2 * HALF {
        return None;
    }
    let (older, newer) = recent.split_at(HALF);
    let mean = |half: &[f64]| (half.iter().map(|value| value / HALF as f64).sum::<f64>()) as f32;
    Some([mean(newer), mean(older)])
}

/// To the nearest neighbours, on average (of squares).
fn distance(course: &Course, past: impl Iterator<Item = Course>) -> Option<f32> {
    let between = |other: Course| {
        let (a, b) = (f64::from(course[0]) - f64::from(other[0]), f64::from(course[1]) - f64::from(other[1]));
        a * a + b * b
    };
    let mut squares: Vec<f64> = past.map(between).collect();
    if squares.len() < KEPT_MIN {
        return None;
    }
    let (nearer, last, _) = squares.select_nth_unstable_by(NEIGHBOURS - 1, f64::total_cmp);
    // In order, so that the sum has the same bits whichever way they were found.
    nearer.sort_unstable_by(f64::total_cmp);
    let sum = nearer.iter().sum::<f64>() + *last;
    Some((sum / NEIGHBOURS as f64).sqrt() as f32)
}

fn usual(distances: &[f32]) -> Option<f32> {
    if distances.len() < KEPT_MIN {
        return None;
    }
    let mut distances = distances.to_vec();
    let place = ((distances.len() - 1) as f64 * USUAL) as usize;
    Some(*distances.select_nth_unstable_by(place, f32::total_cmp).1)
}

/// Nothing is as usual as nothing, and beyond what floats hold it is infinitely far.
fn ratio(distance: f32, usual: f32) -> f64 {
    let ratio = f64::from(distance) / f64::from(usual);
    match (distance == 0.0, ratio.is_nan()) {
        (true, _) => 0.0,
        (_, true) => f64::INFINITY,
        _ => ratio,
    }
}

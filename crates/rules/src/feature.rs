//! The features of a series: its samples, and every function that rules ask of them.

use fieldline_model::Timestamp;

use crate::window::{ChunkError, Observed, Retention, Run, Samples};
use crate::{Extent, FeatureSpec, Function};

/// This function is not to be had with these arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be calculated with these arguments")]
pub struct FeatureError(pub Function);

/// One function of a series.
#[derive(Debug, Clone)]
enum Feature {
    /// Over a run of samples.
    Window(Run),
    /// Seconds since the newest sample.
    Age,
    /// Whether the newest sample is as old as this, in nanoseconds.
    Missing(i64),
    /// Whether the last two differ.
    Changed,
}

impl Feature {
    fn new(spec: &FeatureSpec) -> Result<Self, FeatureError> {
        match (spec.function, spec.extent) {
            (Function::Age, _) => Ok(Self::Age),
            (Function::Changed, _) => Ok(Self::Changed),
            (Function::Missing, Some(Extent::Duration(long))) => {
                Ok(Self::Missing(i64::try_from(long.as_nanos()).unwrap_or(i64::MAX)))
            }
            (function, Some(extent)) if is_window(function) => Ok(Self::Window(Run::new(function, extent))),
            (function, _) => Err(FeatureError(function)),
        }
    }

    fn value(&mut self, samples: &Samples, at: i64) -> Option<f64> {
        let newest = || samples.after(at).checked_sub(1).and_then(|index| Some((index, samples.get(index)?)));
        match self {
            Self::Window(run) => run.value(samples, at),
            Self::Age => newest().map(|(_, (time, _))| at.abs_diff(time) as f64 / 1e9),
            Self::Missing(nanos) => {
                newest().map(|(_, (time, _))| f64::from(at.saturating_sub(time) >= *nanos))
            }
            Self::Changed => {
                let (index, (_, value)) = newest()?;
                let (_, before) = samples.get(index.checked_sub(1)?)?;
                Some(f64::from(value != before))
            }
        }
    }
}

fn is_window(function: Function) -> bool {
    use Function::{Avg, Count, Delta, Max, Min, P50, P95, P99, Rate, Stddev, Sum};
    matches!(function, Avg | Min | Max | Sum | Count | Rate | Delta | Stddev | P50 | P95 | P99)
}

fn runs(features: &mut [(FeatureSpec, Feature)]) -> impl Iterator<Item = &mut Run> {
    features.iter_mut().filter_map(|(_, feature)| match feature {
        Feature::Window(run) => Some(run),
        _ => None,
    })
}

/// A series of one metric of one device: its samples once, and the functions of them.
///
/// Durable are the samples: [`Series::changes`] and [`Series::restore`]. What the functions hold is made of them
/// again, to the same bits.
#[derive(Debug, Clone)]
pub struct Series {
    samples: Samples,
    features: Vec<(FeatureSpec, Feature)>,
}

impl Series {
    /// A series without samples and functions, which will keep at most so many samples.
    pub fn new(samples_max: usize) -> Self {
        let retention = Retention { nanos: 0, count: 2, samples_max };
        Self { samples: Samples::new(retention), features: Vec::new() }
    }

    /// Makes a function available, and keeps samples as long as it needs them; its number for [`Series::value`].
    /// Equal specifications share one. To be called for all before [`Series::restore`], which forgets what
    /// nobody needs.
    pub fn require(&mut self, spec: &FeatureSpec) -> Result<usize, FeatureError> {
        if let Some(number) = self.features.iter().position(|(known, _)| known == spec) {
            return Ok(number);
        }
        let feature = Feature::new(spec)?;
        match (&feature, spec.extent) {
            (Feature::Window(_), Some(Extent::Count(count))) => {
                self.samples.widen(0, usize::try_from(count).unwrap_or(usize::MAX));
            }
            (Feature::Window(_), Some(Extent::Duration(long))) => {
                self.samples.widen(i64::try_from(long.as_nanos()).unwrap_or(i64::MAX), 0);
            }
            _ => {}
        }
        self.features.push((spec.clone(), feature));
        Ok(self.features.len() - 1)
    }

    /// Takes a sample, in any order of time. The last value of a time stands.
    pub fn observe(&mut self, time: Timestamp, value: f64) -> Observed {
        let (observed, former) = self.samples.observe(time, value);
        if matches!(observed, Observed::Late | Observed::Replaced) {
            for run in runs(&mut self.features) {
                run.late(time.nanos(), former, value);
            }
        }
        while let Some(sample) = self.samples.pop_expired() {
            let next = self.samples.get(0);
            for run in runs(&mut self.features) {
                run.expired(sample, next);
            }
        }
        observed
    }

    /// A function's value at this time, of the samples up to it: numbers as documented, truths as 0 and 1. None
    /// without samples enough, beyond the range of floats, and of an unknown number. Quick where times do not
    /// fall from call to call.
    pub fn value(&mut self, number: usize, at: Timestamp) -> Option<f64> {
        let (_, feature) = self.features.get_mut(number)?;
        feature.value(&self.samples, at.nanos())
    }

    /// The samples.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The chunks that have changed since the last call, see [`Samples::changes`].
    pub fn changes(&mut self) -> Vec<(u32, Option<Vec<u8>>)> {
        self.samples.changes()
    }

    /// Takes all chunks back, see [`Samples::restore`].
    pub fn restore(&mut self, chunks: &[(u32, Vec<u8>)]) -> Result<(), ChunkError> {
        self.samples.restore(chunks)
    }
}

//! The features of a series: its samples, and every function that rules ask of them.

use fieldline_model::Timestamp;

use crate::detector::{self, Learned, Trend};
use crate::window::{ChunkError, Observed, Retention, Run, Samples};
use crate::{Extent, FeatureSpec, Function};

/// Chunks from here on belong to what a function has learned, not to the samples.
const LEARNED: u32 = 1 << 31;
/// Samples that [`Function::Spike`] looks at.
const SPIKE_SAMPLES: u32 = 64;

/// This function is not to be had with these arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be calculated with these arguments, or not yet", .0.name())]
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
    /// A score of the samples of a window.
    Scored(Scored, Extent),
    /// The slope per hour, or the hours until a value is reached.
    Trend(Extent, Option<f64>),
    /// What a detector has learned.
    Learned(Learned),
}

/// How the samples of a window are scored.
#[derive(Debug, Clone, Copy)]
enum Scored {
    RobustZ,
    Spike,
    Stuck,
    Ewma(f64),
    Cusum,
}

impl Scored {
    /// The score, and the distance in the words of [`Scored::told`].
    fn of(self, samples: &[(i64, f64)], extent: Extent) -> Option<(f64, f64)> {
        let values = || samples.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        match self {
            Self::RobustZ => detector::robust_z(&values()),
            Self::Spike => detector::spike(&values()),
            Self::Ewma(weight) => detector::ewma(&values(), weight),
            Self::Cusum => detector::cusum(&values()),
            Self::Stuck => match extent {
                Extent::Duration(long) => detector::stuck(samples, nanos(long)),
                Extent::Count(_) => None,
            },
        }
    }

    fn told(self, distance: f64) -> String {
        let side = if distance < 0.0 { "below" } else { "above" };
        let far = distance.abs();
        match self {
            Self::RobustZ => format!("{far:.1} MAD {side} the median"),
            Self::Spike => {
                format!("a step of {far:.1} MAD of its steps, {}", if distance < 0.0 { "down" } else { "up" })
            }
            Self::Stuck => format!("has not moved for {distance:.0} s"),
            Self::Ewma(_) => format!("its average is {far:.1} sigma {side} the reference"),
            Self::Cusum => format!("has drifted {side} the reference by {far:.1} sigma in all"),
        }
    }
}

fn nanos(long: std::time::Duration) -> i64 {
    i64::try_from(long.as_nanos()).unwrap_or(i64::MAX)
}

impl Feature {
    fn new(spec: &FeatureSpec) -> Result<Self, FeatureError> {
        let parameter = spec.parameters.first().copied();
        match (spec.function, spec.extent) {
            (Function::Age, _) => Ok(Self::Age),
            (Function::Changed, _) => Ok(Self::Changed),
            (Function::Seasonal, _) => Ok(Self::Learned(Learned::seasonal())),
            (Function::Anomaly, _) => Ok(Self::Learned(Learned::anomaly())),
            (Function::Missing, Some(Extent::Duration(long))) => Ok(Self::Missing(nanos(long))),
            (Function::RobustZ, Some(extent)) => Ok(Self::Scored(Scored::RobustZ, extent)),
            (Function::Stuck, Some(extent)) => Ok(Self::Scored(Scored::Stuck, extent)),
            (Function::Spike, _) => Ok(Self::Scored(Scored::Spike, Extent::Count(SPIKE_SAMPLES))),
            (Function::Cusum, _) => Ok(Self::Scored(Scored::Cusum, Extent::Count(detector::DRIFT_SAMPLES))),
            (Function::Ewma, _) => {
                let weight = parameter.ok_or(FeatureError(Function::Ewma))?;
                Ok(Self::Scored(Scored::Ewma(weight), Extent::Count(detector::DRIFT_SAMPLES)))
            }
            (Function::Trend, Some(extent)) => Ok(Self::Trend(extent, None)),
            (Function::HoursTo, Some(extent)) if parameter.is_some() => Ok(Self::Trend(extent, parameter)),
            (function, Some(extent)) if is_window(function) => Ok(Self::Window(Run::new(function, extent))),
            (function, _) => Err(FeatureError(function)),
        }
    }

    /// The samples that it needs.
    fn extent(&self, spec: &FeatureSpec) -> Option<Extent> {
        match self {
            Self::Window(_) => spec.extent,
            Self::Scored(_, extent) | Self::Trend(extent, _) => Some(*extent),
            _ => None,
        }
    }

    /// The score or slope, and in words why.
    fn explain(&self, samples: &Samples, at: i64) -> Option<String> {
        match self {
            Self::Scored(scored, extent) => {
                let (_, distance) = scored.of(&samples.within(*extent, at), *extent)?;
                Some(scored.told(distance))
            }
            Self::Trend(extent, reach) => {
                let trend = Trend::of(&samples.within(*extent, at))?;
                let slope = format!("{:.3} per hour ({:.3} to {:.3})", trend.slope, trend.least, trend.most);
                let hours = reach.and_then(|value| Some((value, trend.hours_to(value)?)));
                Some(hours.map_or(slope.clone(), |(value, hours)| {
                    format!("reaches {value} in about {hours:.0} h, at {slope}")
                }))
            }
            Self::Learned(learned) => learned.explain(),
            _ => None,
        }
    }

    fn value(&mut self, samples: &Samples, at: i64) -> Option<f64> {
        let newest = || samples.after(at).checked_sub(1).and_then(|index| Some((index, samples.get(index)?)));
        match self {
            Self::Window(run) => run.value(samples, at),
            Self::Scored(scored, extent) => {
                scored.of(&samples.within(*extent, at), *extent).map(|(score, _)| score)
            }
            Self::Trend(extent, reach) => {
                let trend = Trend::of(&samples.within(*extent, at))?;
                reach.map_or(Some(trend.slope), |value| trend.hours_to(value))
            }
            Self::Learned(learned) => learned.score(),
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
        match feature.extent(spec) {
            Some(Extent::Count(count)) => self.samples.widen(0, usize::try_from(count).unwrap_or(usize::MAX)),
            Some(Extent::Duration(long)) => self.samples.widen(nanos(long), 0),
            None => {}
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
        if observed == Observed::Newest {
            for (_, feature) in &mut self.features {
                if let Feature::Learned(learned) = feature {
                    learned.observe(time.nanos(), value);
                }
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

    /// How many samples [`Series::value`] would read through, where it looks at each of them every time.
    pub(crate) fn reads(&self, number: usize, at: Timestamp) -> usize {
        match self.features.get(number) {
            Some((_, Feature::Scored(_, extent) | Feature::Trend(extent, _))) => {
                let (start, end) = self.samples.bounds(*extent, at.nanos());
                end.saturating_sub(start)
            }
            _ => 0,
        }
    }

    /// Bytes of what is held for functions and of the samples, and of the copies that one function makes at a time.
    #[cfg(test)]
    pub(crate) fn held_bytes(&mut self) -> usize {
        let held: usize = runs(&mut self.features).map(|run| run.held_bytes()).sum();
        let reads = (0..self.features.len()).map(|number| self.reads(number, Timestamp::MAX)).max();
        // The samples of a window, their values, and twice as many for the median and the distances from it.
        held + self.samples.len() * 16 + reads.unwrap_or_default() * (16 + 8 + 2 * 8)
    }

    /// Gives the oldest sample up, although a window holds it still.
    pub(crate) fn shed(&mut self) {
        if let Some(sample) = self.samples.pop_oldest() {
            let next = self.samples.get(0);
            for run in runs(&mut self.features) {
                run.expired(sample, next);
            }
        }
    }

    /// The samples.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Why a detector scores as it does, in words; none for other functions.
    pub fn explain(&self, number: usize, at: Timestamp) -> Option<String> {
        let (_, feature) = self.features.get(number)?;
        feature.explain(&self.samples, at.nanos())
    }

    /// The chunks that have changed since the last call, see [`Samples::changes`], and what functions have learned.
    pub fn changes(&mut self) -> Vec<(u32, Option<Vec<u8>>)> {
        let mut changes = self.samples.changes();
        if changes.is_empty() {
            return changes;
        }
        for (spec, feature) in &mut self.features {
            if let Feature::Learned(learned) = feature {
                let parts = (0_u32..).zip(learned.changes());
                changes.extend(parts.filter_map(|(part, bytes)| Some((chunk(spec, part), Some(bytes?)))));
            }
        }
        changes
    }

    /// The numbers of all chunks that [`Series::changes`] has given out and not taken back.
    pub fn chunks(&self) -> Vec<u32> {
        let parts = self.features.iter().filter(|(_, feature)| matches!(feature, Feature::Learned(_)));
        let learned = parts.flat_map(|(spec, _)| [chunk(spec, 0), chunk(spec, 1)]);
        self.samples.chunk_numbers().chain(learned).collect()
    }

    /// Forgets all samples, and what was learned of them.
    pub fn clear(&mut self) {
        self.samples.clear();
        for (_, feature) in &mut self.features {
            match feature {
                Feature::Window(run) => run.clear(),
                Feature::Learned(learned) => learned.forget(),
                _ => {}
            }
        }
    }

    /// Takes all chunks back, see [`Samples::restore`]. What a function learned that is no longer asked for is left out.
    pub fn restore(&mut self, chunks: &[(u32, Vec<u8>)]) -> Result<(), ChunkError> {
        let (learned_chunks, samples): (Vec<_>, Vec<_>) =
            chunks.iter().cloned().partition(|(number, _)| *number >= LEARNED);
        self.samples.restore(&samples)?;
        for (spec, feature) in &mut self.features {
            let Feature::Learned(learned) = feature else { continue };
            for part in 0..2 {
                let number = chunk(spec, part);
                if let Some((_, bytes)) = learned_chunks.iter().find(|(known, _)| *known == number) {
                    learned.restore(part, bytes).ok_or(ChunkError)?;
                }
            }
        }
        Ok(())
    }
}

/// The chunk of a part of what a function has learned: the same after rules have come and gone.
fn chunk(spec: &FeatureSpec, part: u32) -> u32 {
    LEARNED | ((spec.function as u32) << 8) | part
}

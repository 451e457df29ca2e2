//! The series this gateway knows, with their filters; bounded per device and in all.

use std::collections::{BTreeSet, HashMap};

use fieldline_filter::{Filter, Output, Rule, SeriesFilter, Verdict};
use fieldline_model::{Class, Quality, ReadingRef, Timestamp, ValueRef};

use super::counts::KeptWindow;

/// What becomes of a reading after its series is known.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision<'a> {
    /// Keep it, in this class.
    Keep(Class, ValueRef<'a>, Quality),
    /// See [`Verdict`].
    Filtered(fieldline_filter::Filtered),
    /// It went into a new window; keep these figures of the one before.
    WindowClosed(Class, Vec<Output>),
    /// See [`Verdict::OutOfRange`].
    OutOfRange,
    /// The device or the gateway has too many series.
    Cardinality,
}

/// All series of the gateway.
#[derive(Debug)]
pub(crate) struct Registry {
    filter: Filter,
    devices: HashMap<Box<str>, HashMap<Box<str>, Series>>,
    /// Series with an open window, so that a tick need not walk all series.
    windowed: BTreeSet<(Box<str>, Box<str>)>,
    devices_max: usize,
    metrics_per_device_max: usize,
    windows_max: usize,
}

#[derive(Debug)]
struct Series {
    rule: Option<u16>,
    filter: SeriesFilter,
}

impl Registry {
    pub(crate) fn new(filter: Filter, limits: &crate::config::Limits) -> Self {
        Self {
            filter,
            devices: HashMap::new(),
            windowed: BTreeSet::new(),
            devices_max: limits.devices_max,
            metrics_per_device_max: limits.metrics_per_device_max,
            windows_max: limits.windows_max,
        }
    }

    /// Judges a reading by its series' filter.
    pub(crate) fn decide<'a>(&mut self, reading: ReadingRef<'a>) -> Decision<'a> {
        if !self.ensure(reading.device, reading.metric) {
            return Decision::Cardinality;
        }
        let Some(series) = self.devices.get_mut(reading.device).and_then(|d| d.get_mut(reading.metric))
        else {
            return Decision::Cardinality;
        };
        let rule = series.rule.and_then(|index| self.filter.at(usize::from(index)));
        let class = rule.and_then(|rule| rule.class).unwrap_or_default();
        if rule.is_some_and(|rule| rule.window.is_some())
            && series.filter.open_window().is_none()
            && self.windowed.len() >= self.windows_max
        {
            return Decision::Keep(class, reading.value, reading.quality);
        }
        let verdict = series.filter.observe(rule, reading);
        if rule.is_some_and(|rule| rule.window.is_some()) && series.filter.open_window().is_some() {
            let key = (Box::from(reading.device), Box::from(reading.metric));
            self.windowed.insert(key);
        }
        match verdict {
            Verdict::Pass((value, quality)) => Decision::Keep(class, value, quality),
            Verdict::Filtered(reason) => Decision::Filtered(reason),
            Verdict::WindowClosed(figures) => Decision::WindowClosed(class, figures),
            Verdict::OutOfRange => Decision::OutOfRange,
        }
    }

    /// Closes windows whose end has passed for as long again, or at least five seconds; `keep` gets
    /// device, metric, class and the figures.
    pub(crate) fn close_windows(
        &mut self,
        now: Timestamp,
        mut keep: impl FnMut(&str, &str, Class, Vec<Output>),
    ) {
        let Self { filter, devices, windowed, .. } = self;
        windowed.retain(|(device, metric)| {
            let Some(series) = devices.get_mut(device).and_then(|device| device.get_mut(metric)) else {
                return false;
            };
            let Some(rule) = series.rule.and_then(|index| filter.at(usize::from(index))) else {
                return false;
            };
            let figures = series.filter.close_window_before(Some(rule), patience(rule, now));
            let open = figures.is_empty() && series.filter.open_window().is_some();
            if !figures.is_empty() {
                keep(device, metric, rule.class.unwrap_or_default(), figures);
            }
            open
        });
    }

    /// The open windows, to be made durable.
    pub(crate) fn open_windows(&self) -> Vec<KeptWindow> {
        self.windowed
            .iter()
            .filter_map(|(device, metric)| {
                let series = self.devices.get(device)?.get(metric)?;
                let rule = self.filter.at(usize::from(series.rule?))?.window.clone()?;
                let window = series.filter.open_window()?.clone();
                Some(KeptWindow { device: device.to_string(), metric: metric.to_string(), rule, window })
            })
            .collect()
    }

    /// Puts a window back; `Some` figures are to be kept at once because today's rules have no such
    /// window.
    pub(crate) fn restore(&mut self, kept: KeptWindow) -> Option<(Class, Vec<Output>)> {
        if !self.ensure(&kept.device, &kept.metric) {
            return Some((Class::default(), kept.window.close(&kept.rule)));
        }
        let series =
            self.devices.get_mut(kept.device.as_str()).and_then(|d| d.get_mut(kept.metric.as_str()))?;
        let rule = series.rule.and_then(|index| self.filter.at(usize::from(index)));
        let class = rule.and_then(|rule| rule.class).unwrap_or_default();
        if rule.and_then(|rule| rule.window.as_ref()) != Some(&kept.rule) {
            return Some((class, kept.window.close(&kept.rule)));
        }
        series.filter.restore_window(kept.window);
        self.windowed.insert((Box::from(kept.device), Box::from(kept.metric)));
        None
    }

    /// Uses other rules and limits. A series whose rule is the same, wherever it stands now, goes on as it is;
    /// the figures of windows that have another rule now are given back, to be kept.
    pub(crate) fn reconfigure(
        &mut self,
        filter: Filter,
        limits: &crate::config::Limits,
    ) -> Vec<(String, String, Class, Vec<Output>)> {
        let before = std::mem::replace(&mut self.filter, filter);
        self.devices_max = limits.devices_max;
        self.metrics_per_device_max = limits.metrics_per_device_max;
        self.windows_max = limits.windows_max;
        let mut closed = Vec::new();
        for (device, metrics) in &mut self.devices {
            for (metric, series) in metrics {
                let old = series.rule.and_then(|index| before.at(usize::from(index)));
                series.rule = self.filter.index(device, metric).and_then(|index| u16::try_from(index).ok());
                if old == series.rule.and_then(|index| self.filter.at(usize::from(index))) {
                    continue;
                }
                let gone = std::mem::take(&mut series.filter);
                self.windowed.remove(&(device.clone(), metric.clone()));
                if let (Some(window), Some(rule)) =
                    (gone.open_window(), old.and_then(|rule| rule.window.as_ref()))
                {
                    let class = old.and_then(|rule| rule.class).unwrap_or_default();
                    closed.push((device.to_string(), metric.to_string(), class, window.close(rule)));
                }
            }
        }
        closed
    }

    /// How many series there are.
    pub(crate) fn series_count(&self) -> usize {
        self.devices.values().map(HashMap::len).sum()
    }

    fn ensure(&mut self, device: &str, metric: &str) -> bool {
        if !self.devices.contains_key(device) {
            if self.devices.len() >= self.devices_max {
                return false;
            }
            self.devices.insert(Box::from(device), HashMap::new());
        }
        let Some(metrics) = self.devices.get_mut(device) else { return false };
        if metrics.contains_key(metric) {
            return true;
        }
        if metrics.len() >= self.metrics_per_device_max {
            return false;
        }
        let rule = self.filter.index(device, metric).and_then(|index| u16::try_from(index).ok());
        metrics.insert(Box::from(metric), Series { rule, filter: SeriesFilter::default() });
        true
    }
}

/// A window is closed by the clock only when it has been over for a while: devices' clocks differ.
fn patience(rule: &Rule, now: Timestamp) -> Timestamp {
    let every =
        rule.window.as_ref().map_or(0, |window| i64::try_from(window.every.as_nanos()).unwrap_or(i64::MAX));
    now.saturating_add_nanos(-every.max(5_000_000_000))
}

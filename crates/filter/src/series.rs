use std::time::Duration;

use fieldline_model::{Quality, ReadingRef, Timestamp, Value, ValueRef};

use crate::window::{OpenWindow, Output, figure_of, start_of};
use crate::{Outside, Rule};

/// Why a reading was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filtered {
    /// It differs too little from the last one sent.
    Deadband,
    /// It came too soon after the last one sent.
    Period,
    /// It went into an aggregate.
    Window,
}

impl Filtered {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadband => "deadband",
            Self::Period => "period",
            Self::Window => "window",
        }
    }
}

/// What becomes of a reading.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<'a> {
    /// Send it, with this value and quality.
    Pass((ValueRef<'a>, Quality)),
    /// Leave it out.
    Filtered(Filtered),
    /// It went into a new window; the window before it is over and these are its figures.
    WindowClosed(Vec<Output>),
    /// Its value is impossible: set it aside.
    OutOfRange,
}

/// The filter's memory of one series.
#[derive(Debug, Clone, Default)]
pub struct SeriesFilter {
    sent: Option<Sent>,
    window: Option<OpenWindow>,
}

#[derive(Debug, Clone)]
struct Sent {
    time: Timestamp,
    value: Value,
    quality: Quality,
}

impl SeriesFilter {
    /// Judges one reading of the series and remembers what it needs to judge the next.
    pub fn observe<'a>(&mut self, rule: Option<&Rule>, reading: ReadingRef<'a>) -> Verdict<'a> {
        let Some(rule) = rule else { return Verdict::Pass((reading.value, reading.quality)) };
        let (value, quality) = match in_range(rule, reading.value, reading.quality) {
            Some(possible) => possible,
            None => return Verdict::OutOfRange,
        };
        if rule.window.is_some()
            && let Some(figure) = figure_of(value)
        {
            return self.aggregate(rule, reading.time, (value, quality), figure);
        }
        if let Some(reason) = self.reason_to_leave_out(rule, reading.time, value, quality) {
            return Verdict::Filtered(reason);
        }
        let newest = self.sent.as_ref().is_none_or(|sent| sent.time <= reading.time);
        if newest && rule.remembers() {
            self.sent = Some(Sent { time: reading.time, value: value.to_value(), quality });
        }
        Verdict::Pass((value, quality))
    }

    /// Closes the window if it ended at or before `now`; for series that have fallen silent.
    pub fn close_window_before(&mut self, rule: Option<&Rule>, now: Timestamp) -> Vec<Output> {
        match (rule.and_then(|rule| rule.window.as_ref()), &self.window) {
            (Some(window_rule), Some(open)) if open.end(window_rule) <= now => {
                let figures = open.close(window_rule);
                self.window = None;
                figures
            }
            _ => Vec::new(),
        }
    }

    /// The window that is open, to make it durable.
    pub fn open_window(&self) -> Option<&OpenWindow> {
        self.window.as_ref()
    }

    /// Puts a window back that an earlier process had open.
    pub fn restore_window(&mut self, window: OpenWindow) {
        self.window = Some(window);
    }

    fn aggregate<'a>(
        &mut self,
        rule: &Rule,
        time: Timestamp,
        (value, quality): (ValueRef<'a>, Quality),
        figure: f64,
    ) -> Verdict<'a> {
        let Some(window_rule) = &rule.window else { return Verdict::Pass((value, quality)) };
        let start = start_of(window_rule, time);
        match &mut self.window {
            Some(open) if start == open.start_nanos() => {
                open.add(time, figure, quality);
                Verdict::Filtered(Filtered::Window)
            }
            // Late for a window that has been sent: it goes out as it is, so that nothing is lost.
            Some(open) if start < open.start_nanos() => Verdict::Pass((value, quality)),
            open => {
                let figures = open.as_ref().map(|over| over.close(window_rule));
                *open = Some(OpenWindow::open(window_rule, time, figure, quality));
                figures.map_or(Verdict::Filtered(Filtered::Window), Verdict::WindowClosed)
            }
        }
    }

    fn reason_to_leave_out(
        &self,
        rule: &Rule,
        time: Timestamp,
        value: ValueRef<'_>,
        quality: Quality,
    ) -> Option<Filtered> {
        let sent = self.sent.as_ref()?;
        let since = time.nanos().checked_sub(sent.time.nanos())?;
        if since < 0 || quality != sent.quality {
            return None;
        }
        if rule.period_min.is_some_and(|period| since < nanos(period)) {
            return Some(Filtered::Period);
        }
        if rule.silence_max.is_some_and(|silence| since >= nanos(silence)) {
            return None;
        }
        let judged = rule.deadband.is_some() || rule.deadband_percent.is_some();
        (judged && within_deadband(rule, sent.value.as_ref(), value)).then_some(Filtered::Deadband)
    }
}

impl Rule {
    fn remembers(&self) -> bool {
        self.deadband.is_some() || self.deadband_percent.is_some() || self.period_min.is_some()
    }
}

fn in_range<'a>(rule: &Rule, value: ValueRef<'a>, quality: Quality) -> Option<(ValueRef<'a>, Quality)> {
    let (Some(range), Some(number)) = (rule.range, value.as_number()) else { return Some((value, quality)) };
    if number >= range.min && number <= range.max {
        return Some((value, quality));
    }
    match range.outside {
        Outside::Clamp if !number.is_nan() => {
            Some((ValueRef::Float(number.clamp(range.min, range.max)), doubted(quality)))
        }
        Outside::Reject | Outside::Clamp => None,
    }
}

/// A value that was moved is never better than uncertain.
fn doubted(quality: Quality) -> Quality {
    if quality == Quality::Bad { Quality::Bad } else { Quality::Uncertain }
}

/// With both bands given, a value has to leave both.
fn within_deadband(rule: &Rule, sent: ValueRef<'_>, value: ValueRef<'_>) -> bool {
    match (sent.as_number(), value.as_number()) {
        (Some(old), Some(new)) => {
            let distance = (new - old).abs();
            let same = new == old || (new.is_nan() && old.is_nan());
            let absolute = rule.deadband.is_some_and(|band| distance <= band);
            let percent =
                rule.deadband_percent.is_some_and(|percent| distance <= percent / 100.0 * old.abs());
            same || absolute || percent
        }
        _ => sent == value,
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

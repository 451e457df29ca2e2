//! Filters at the gateway: deadband, silence, period, range and window aggregates.
//!
//! Pure: a [`Filter`] holds the rules, a [`SeriesFilter`] the state of one series; time comes in
//! with each reading and nothing here looks at a clock. What a filter leaves out is told to the
//! caller by reason ([`Verdict`]), never silently.
//!
//! Not here: which readings exist (the parsers), where they are kept (the journal).
//!
//! Invariants
//! - A reading older than the last one sent of its series is never judged by newer state: it passes.
//! - A change of quality or of the kind of value always passes.
//! - Every reading that a window takes in is in exactly one aggregate.
//!
//! ```
//! use fieldline_filter::{Filter, Rule, SeriesFilter, Verdict};
//! use fieldline_model::{DeviceId, Metric, Quality, Reading, Timestamp, Value};
//!
//! let rules: Vec<Rule> = vec![Rule { deadband: Some(0.5), ..Rule::default() }];
//! let filter = Filter::new(rules)?;
//! let mut state = SeriesFilter::default();
//! let reading = |seconds: i64, value| Reading {
//!     device: DeviceId::new("press-4").unwrap(),
//!     metric: Metric::new("temperature").unwrap(),
//!     time: Timestamp::from_nanos(seconds * 1_000_000_000),
//!     value: Value::Float(value),
//!     quality: Quality::Good,
//! };
//! let rule = filter.rule("press-4", "temperature");
//! assert!(matches!(state.observe(rule, reading(0, 20.0).as_ref()), Verdict::Pass(_)));
//! assert!(matches!(state.observe(rule, reading(1, 20.4).as_ref()), Verdict::Filtered(_)));
//! assert!(matches!(state.observe(rule, reading(2, 20.6).as_ref()), Verdict::Pass(_)));
//! # Ok::<(), fieldline_filter::RuleError>(())
//! ```

mod rule;
mod series;
mod window;

pub use rule::{Aggregate, Filter, Outside, Range, Rule, RuleError, WindowRule};
pub use series::{Filtered, SeriesFilter, Verdict};
pub use window::{OpenWindow, Output};

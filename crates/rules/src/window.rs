//! Windows over the past of a series: the samples, kept once, and what is calculated from runs of them.
//!
//! Every value is a function of the set of samples alone. How they came (in order or not), and whether the
//! process was restarted in between, changes no bit of it.

mod exact;
mod run;
mod samples;
#[cfg(test)]
mod tests;

pub use samples::{ChunkError, Observed, Retention, Samples};

pub(crate) use run::Run;

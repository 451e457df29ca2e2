//! Measures the path of a reading with the real programs, and prints each figure beside its target.

mod cloud;
mod figure;
mod idle;
mod load;
mod path;
mod query;
mod rules;
mod shadows;
mod store;
mod walk;

use anyhow::{Result, ensure};
use clap::Parser;

use figure::{Figure, Report};

/// What to measure.
#[derive(Debug, Parser)]
struct Options {
    /// How often each figure is measured.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Measure only what contains this in its name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// One thing to measure; gives one figure or several.
type Measurement = fn(u32) -> Result<Vec<Figure>>;

const MEASUREMENTS: [(&str, Measurement); 9] = [
    ("batched", path::batched),
    ("single", path::single),
    ("uplink", path::uplink),
    ("idle", idle::idle),
    ("backlog", idle::backlog),
    ("store", store::store),
    ("shadows", shadows::shadows),
    ("rules", rules::rules),
    ("cloud", cloud::cloud),
];

fn main() -> Result<()> {
    ensure!(!cfg!(debug_assertions), "figures of a debug build mean nothing: use `cargo xtask bench`");
    let options = Options::parse();
    let mut report = Report::default();
    for (name, measure) in MEASUREMENTS {
        if options.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            eprintln!("measuring: {name}");
            report.add(measure(options.runs)?);
        }
    }
    print!("{report}");
    Ok(())
}

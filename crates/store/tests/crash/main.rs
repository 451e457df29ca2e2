//! Crashes of a whole process: killed at random, and cut off at every disk operation of a recorded
//! workload with unsynced data kept, dropped and torn.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod disk;
mod kill;
mod power;
mod record;
mod workload;

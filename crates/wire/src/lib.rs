//! crates/wire

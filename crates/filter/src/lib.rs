//! crates/filter

//! crates/mqtt

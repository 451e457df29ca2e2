//! crates/journal

//! Measures the path of a reading.

fn main() {}

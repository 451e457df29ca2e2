//! The messages inside a block, as in `docs/formats/block.md`.

/// What is said of a block outside the compressed part.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub(super) gateway: String,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "3")]
    pub(super) class: u32,
    #[prost(uint64, tag = "4")]
    pub(super) first_seq: u64,
    #[prost(uint64, tag = "5")]
    pub(super) last_seq: u64,
    /// The length of [`Columns`] before compression; 0 when it is not compressed.
    #[prost(uint32, tag = "6")]
    pub(super) columns_bytes: u32,
}

/// All columns of a block, field by field, so that like stands beside like.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Columns {
    #[prost(string, repeated, tag = "1")]
    pub(super) devices: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) metrics: Vec<String>,
    /// For each column, steps through `devices`.
    #[prost(sint32, repeated, tag = "3")]
    pub(super) device_steps: Vec<i32>,
    /// For each column, steps through `metrics`.
    #[prost(sint32, repeated, tag = "4")]
    pub(super) metric_steps: Vec<i32>,
    /// For each column, steps through the time vectors.
    #[prost(sint32, repeated, tag = "5")]
    pub(super) time_steps: Vec<i32>,
    /// For each column, how its values are written.
    #[prost(uint32, repeated, tag = "6")]
    pub(super) encodings: Vec<u32>,
    /// Nanoseconds since the epoch; the time vectors' first times count from here.
    #[prost(sfixed64, tag = "7")]
    pub(super) base_time: i64,
    /// For each time vector, how many times it holds.
    #[prost(uint32, repeated, tag = "8")]
    pub(super) time_counts: Vec<u32>,
    /// For each time vector, the power of ten nanoseconds it counts in, and its order.
    #[prost(uint32, repeated, tag = "9")]
    pub(super) time_units: Vec<u32>,
    /// For each time vector, its first time in nanoseconds after `base_time`.
    #[prost(sint64, repeated, tag = "10")]
    pub(super) time_firsts: Vec<i64>,
    /// For each time vector, the remaining times as differences.
    #[prost(sint64, repeated, tag = "11")]
    pub(super) time_rests: Vec<i64>,
    /// For each column of scaled or whole numbers, its first value.
    #[prost(sint64, repeated, tag = "12")]
    pub(super) number_firsts: Vec<i64>,
    /// For each column of scaled or whole numbers, the remaining values as differences.
    #[prost(sint64, repeated, tag = "13")]
    pub(super) number_rests: Vec<i64>,
    /// Values of columns of doubles.
    #[prost(double, repeated, tag = "14")]
    pub(super) doubles: Vec<f64>,
    /// Values of Boolean columns, eight to a byte, lowest bit first, columns joined without a gap.
    #[prost(bytes = "vec", tag = "15")]
    pub(super) booleans: Vec<u8>,
    /// The different text values.
    #[prost(string, repeated, tag = "16")]
    pub(super) texts: Vec<String>,
    /// Values of text columns, as positions in `texts`.
    #[prost(uint32, repeated, tag = "17")]
    pub(super) text_choices: Vec<u32>,
    /// Of the columns with a quality other than good: distances from one to the next.
    #[prost(uint32, repeated, tag = "18")]
    pub(super) quality_columns: Vec<u32>,
    /// For each such column, runs of one quality: `length << 2 | quality`.
    #[prost(uint32, repeated, tag = "19")]
    pub(super) quality_runs: Vec<u32>,
    /// Of the scaled values, those that are none (negative zero, NaN, infinite): distances.
    #[prost(uint32, repeated, tag = "20")]
    pub(super) exception_steps: Vec<u32>,
    /// The bits of those.
    #[prost(fixed64, repeated, tag = "21")]
    pub(super) exception_bits: Vec<u64>,
    /// The column of each reading, where the order does not follow from the times.
    #[prost(uint32, repeated, tag = "22")]
    pub(super) order: Vec<u32>,
}

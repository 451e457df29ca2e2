/// How the points of a bucket become one value.
///
/// `Min`, `Max`, `Sum` and `Mean` look at numbers; a boolean counts as 0 or 1, a NaN is left out, and a
/// bucket without any number gives no point. Integers are summed exactly; a sum beyond 64 bits, a
/// mean, and whatever has a float among it is a float. `First` and `Last` give the value as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// The mean of the numbers.
    Mean,
    /// The least number.
    Min,
    /// The greatest number.
    Max,
    /// The sum of the numbers.
    Sum,
    /// How many points there are, of any kind.
    Count,
    /// The earliest value.
    First,
    /// The latest value.
    Last,
}

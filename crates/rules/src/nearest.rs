//! The known name that somebody may have meant.

/// `; did you mean "x"?` for the nearest of the known names, or nothing when none is near.
pub(crate) fn hint<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, known).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}

/// The nearest of the known names; none where all differ in more than half of their letters.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(unknown, known, |letters| letters.div_ceil(2))
}

/// The known name that this one is a slip of the pen of: at most every fourth letter differs.
pub(crate) fn misspelt<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(unknown, known, |letters| letters / 4)
}

fn within<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: impl Fn(usize) -> usize,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= most(known.len()) && *distance < unknown.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

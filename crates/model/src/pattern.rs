use std::fmt;

use serde::{Deserialize, Serialize};

/// A text with `*` for any run of characters, matched against the whole of an id.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// The pattern `*`.
    pub fn any() -> Self {
        Self { text: "*".to_owned() }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `id` matches. Greedy with backtracking to the last `*` only: `O(pattern × id)`.
    pub fn matches(&self, id: &str) -> bool {
        let (pattern, id) = (self.text.as_bytes(), id.as_bytes());
        let (mut at, mut from) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while from < id.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(byte) if Some(byte) == id.get(from) => {
                    at += 1;
                    from += 1;
                }
                _ => match star {
                    Some((star_at, star_from)) => {
                        at = star_at + 1;
                        from = star_from + 1;
                        star = Some((star_at, from));
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(at).all(|byte| *byte == b'*')
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self::any()
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model(pattern: &[u8], id: &[u8]) -> bool {
        match pattern.split_first() {
            None => id.is_empty(),
            Some((b'*', rest)) => (0..=id.len()).any(|skip| model(rest, &id[skip..])),
            Some((byte, rest)) => {
                id.split_first().is_some_and(|(first, left)| first == byte && model(rest, left))
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_the_recursive_definition_says(pattern in "[ab*]{0,8}", id in "[ab]{0,10}") {
            prop_assert_eq!(Pattern::from(pattern.as_str()).matches(&id), model(pattern.as_bytes(), id.as_bytes()));
        }
    }
}

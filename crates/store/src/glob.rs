use std::fmt;

/// A name, or a pattern in which `*` stands for any text, also none. Case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    /// Any text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Self { pattern: pattern.to_owned() }
    }

    /// The one name that it matches, if it has no `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.pattern.contains('*')).then_some(self.pattern.as_str())
    }

    /// Whether `name` matches. Takes `O(name × pattern)` time at worst.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let Some(mut rest) = parts.next().and_then(|head| name.strip_prefix(head)) else { return false };
        let Some(tail) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(tail)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let table = [
            ("*", "", true),
            ("*", "press-4", true),
            ("press-*", "press-4", true),
            ("press-*", "pump-4", false),
            ("*-4", "press-4", true),
            ("p*s*4", "press-4", true),
            ("p*4*4", "press-4", false),
            ("ab*ba", "aba", false),
            ("press", "press-4", false),
            ("press-4", "press-4", true),
            ("**", "x", true),
            ("a*b*c", "abbc", true),
            ("a*bb", "abb", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }
}

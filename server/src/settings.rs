//! Reads a TOML file of settings so that a mistake in it is found at once: which file, which line,
//! which key, and the nearest key that exists.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {explanation}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, key and, for an unknown key, the nearest known one.
        explanation: String,
    },
}

/// Reads the file at `path`.
///
/// # Errors
/// [`SettingsError`]: unreadable, or not what `T` takes.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|explanation| SettingsError::Content { path: path.to_owned(), explanation })
}

/// Reads settings from a text.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().trim();
        let hint = nearest_known_key(message)
            .map_or_else(String::new, |key| format!("; the nearest known key is `{key}`"));
        match error.span() {
            Some(span) => {
                let line = 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
                format!("line {line}: {message}{hint}")
            }
            None => format!("{message}{hint}"),
        }
    })
}

/// serde says "unknown field `a`, expected one of `b`, `c`": picks the likeliest of those.
fn nearest_known_key(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted.min_by_key(|known| strsim::damerau_levenshtein(unknown, known))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the names of the fields matter")]
    struct Sample {
        listen: Option<String>,
        retention: Option<u64>,
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
        let error = parse::<Sample>("# sample\nlisten = \"x\"\nretentoin = 3\n").unwrap_err();
        assert!(error.starts_with("line 3: unknown field `retentoin`"), "{error}");
        assert!(error.ends_with("the nearest known key is `retention`"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_line() {
        let error = parse::<Sample>("\nretention = \"long\"").unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Sample>(Path::new("/nowhere/fieldline.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/fieldline.toml");
    }
}

//! Reads a TOML file of settings so that a mistake in it is found at once: which file, which line,
//! which key, and the nearest key that exists.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be. The text names line, key and, for an unknown key, the
    /// nearest known one.
    #[error("{path}: {explanation}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, where.
        explanation: String,
    },
}

/// Reads the file at `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|explanation| SettingsError::Content { path: path.to_owned(), explanation })
}

/// Reads settings from a text; the error says what is wrong and where.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        let message = error.message().trim();
        let hint =
            nearest_known_key(message).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
        match line {
            Some(line) => format!("line {line}: {message}{hint}"),
            None => format!("{message}{hint}"),
        }
    })
}

/// Reads settings out of JSON; the error says what is wrong.
pub fn of_json<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| {
        let message = error.to_string();
        let hint = nearest_known_key(&message).map(|key| format!("; did you mean `{key}`?"));
        format!("{message}{}", hint.unwrap_or_default())
    })
}

/// serde says "unknown field `a`, expected one of `b`, `c`": picks the likeliest of those.
fn nearest_known_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown ") {
        return None;
    }
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its name matters")]
        listen: Option<String>,
        #[expect(dead_code, reason = "only its name matters")]
        bytes_max: Option<u64>,
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
        let error = parse::<Sample>("# sample\nlisten = \"x\"\nbyte_max = 3\n").unwrap_err();
        assert!(error.starts_with("line 3: unknown field `byte_max`"), "{error}");
        assert!(error.ends_with("did you mean `bytes_max`?"), "{error}");
    }

    #[test]
    fn a_key_like_no_other_gets_no_guess() {
        let error = parse::<Sample>("colour = 1").unwrap_err();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_line() {
        let error = parse::<Sample>("\nbytes_max = \"many\"").unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Sample>(Path::new("/nowhere/agent.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/agent.toml");
    }
}

//! Reads documents, and says what is wrong with them so that it can be put right.

use crate::Documents;
use crate::nearest::nearest;

/// The largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// A text is no document of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{text}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct DocumentError {
    /// Line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong: it names the key and, for an unknown one, the nearest known one.
    pub text: String,
}

impl Documents {
    /// Reads TOML.
    ///
    /// # Errors
    /// It is not TOML, or has a key that is unknown, missing or of the wrong type. What the values mean is for
    /// [`crate::check()`].
    pub fn from_toml(text: &str) -> Result<Self, DocumentError> {
        bounded(text)?;
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map(|span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
            DocumentError { line, text: explained(error.message().trim()) }
        })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// As [`Documents::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, DocumentError> {
        bounded(text)?;
        serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            // serde_json ends with the place, which we give apart.
            let plain = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
            DocumentError { line: Some(error.line()).filter(|line| *line > 0), text: explained(plain) }
        })
    }
}

fn bounded(text: &str) -> Result<(), DocumentError> {
    if text.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    let text = format!("the document has {} bytes, the limit is {DOCUMENT_BYTES_MAX}", text.len());
    Err(DocumentError { line: None, text })
}

/// serde says "unknown field `a`, expected one of `b`, `c`": adds the likeliest of those.
fn explained(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let likely = match (message.starts_with("unknown "), quoted.next()) {
        (true, Some(unknown)) => nearest(unknown, quoted),
        _ => None,
    };
    likely.map_or_else(|| message.to_owned(), |known| format!("{message}; did you mean `{known}`?"))
}

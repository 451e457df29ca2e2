//! Cutting line protocol where it is neither escaped nor quoted.

use std::borrow::Cow;

/// The first line, and what comes after it. A line end inside a quoted text belongs to the text; but
/// where the quote is never closed, the line ends at its first line end, so that it alone is lost.
pub(super) fn end_of_line(text: &str) -> (&str, &str) {
    let raw = text.find('\n').unwrap_or(text.len());
    let comment = text.trim_ascii_start().starts_with('#');
    let quoted = text.get(..raw).is_some_and(|line| line.contains('"'));
    let end = if comment || !quoted { raw } else { quoted_end(text).unwrap_or(raw) };
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (line, rest.strip_prefix('\n').unwrap_or(rest))
}

/// Where a line with quotes ends; `None` if a quote stays open.
fn quoted_end(text: &str) -> Option<usize> {
    // Quotes are syntax in the fields only: after the first plain space.
    let mut in_fields = false;
    let mut in_quotes = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            // Of an escaped line end the backslash is plain.
            b'\\' if text.as_bytes().get(at + 1) != Some(&b'\n') => {
                bytes.next();
            }
            b'"' if in_fields => in_quotes = !in_quotes,
            b'\n' if !in_quotes => return Some(at),
            b' ' => in_fields = true,
            _ => {}
        }
    }
    (!in_quotes).then_some(text.len())
}

/// What stands before and after the first `separator` that is not escaped and, if `quotes` are
/// syntax here, not quoted.
pub(super) fn split_at(text: &str, separator: u8, quotes: bool) -> (&str, Option<&str>) {
    let mut in_quotes = false;
    let mut escaped = false;
    // The bytes that matter are ASCII, so they never stand inside another character.
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if quotes && byte == b'"' {
            in_quotes = !in_quotes;
        } else if byte == separator && !in_quotes {
            return (text.get(..at).unwrap_or_default(), text.get(at + 1..));
        }
    }
    (text, None)
}

/// Takes the backslash off the characters that it may stand before; elsewhere it is itself.
pub(super) fn unescape<'a>(text: &'a str, escapable: &[char]) -> Cow<'a, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next_if(|next| escapable.contains(next)) } else { None };
        out.push(escaped.unwrap_or(c));
    }
    Cow::Owned(out)
}

/// The text between quotes; `None` if it does not end with a quote of its own.
pub(super) fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?;
    let (inner, after) = split_at(inner, b'"', false);
    (after == Some("")).then(|| unescape(inner, &['"', '\\']))
}

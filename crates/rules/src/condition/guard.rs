//! What is refused before the parser sees it: the parser recurses, and its stack is finite.

use super::error::{ConditionError, Position};

/// The longest condition, in bytes.
pub(super) const SOURCE_BYTES_MAX: usize = 4096;
/// The most nodes of a condition: names, constants, operators and calls, macros after their expansion.
pub(super) const NODES_MAX: usize = 200;
/// The deepest nesting of brackets.
const NESTING_MAX: usize = 24;
/// The most choices `a ? b : c`; the parser recurses into each.
const CHOICES_MAX: usize = 24;
/// The most words and signs; 200 nodes need no more.
const TOKENS_MAX: usize = 600;
/// The most signs `!` or `-` in a row.
const PREFIXES_MAX: usize = 8;

/// Reads the text as the lexer does, as far as is needed to count.
///
/// # Errors
/// Too long, too many tokens, nested too deeply, empty.
pub(super) fn check(source: &str) -> Result<(), ConditionError> {
    if source.trim().is_empty() {
        return Err(ConditionError::at_start("the condition is empty"));
    }
    if source.len() > SOURCE_BYTES_MAX {
        let bytes = source.len();
        return Err(ConditionError::at_start(format!(
            "the condition has {bytes} bytes, the limit is {SOURCE_BYTES_MAX}"
        )));
    }
    let mut counts = Counts::default();
    let mut scanner = Scanner { rest: source.chars().collect(), at: 0 };
    while let Some((offset, token)) = scanner.next_token() {
        let place = || Position::of_character(source, offset);
        counts.take(token).map_err(|reason| ConditionError::new(place(), reason))?;
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    tokens: usize,
    nesting: usize,
    choices: usize,
    prefixes: usize,
}

impl Counts {
    fn take(&mut self, token: char) -> Result<(), String> {
        self.tokens += 1;
        self.prefixes = if matches!(token, '!' | '-') { self.prefixes + 1 } else { 0 };
        match token {
            '(' | '[' | '{' => self.nesting += 1,
            ')' | ']' | '}' => self.nesting = self.nesting.saturating_sub(1),
            '?' => self.choices += 1,
            '\0' => return Err("there is a control character".to_owned()),
            _ => {}
        }
        let limits = [
            (self.tokens, TOKENS_MAX, "words and signs"),
            (self.nesting, NESTING_MAX, "brackets within each other"),
            (self.choices, CHOICES_MAX, "choices (`? :`)"),
            (self.prefixes, PREFIXES_MAX, "signs in a row"),
        ];
        match limits.into_iter().find(|(count, limit, _)| count > limit) {
            None => Ok(()),
            Some((_, limit, what)) => Err(format!("the condition has more than {limit} {what}")),
        }
    }
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    /// The next token by its first character, and where it begins; words are `a`, texts are `"`.
    fn next_token(&mut self) -> Option<(usize, char)> {
        loop {
            let first = self.peek(0)?;
            let start = self.at;
            if first == '/' && self.peek(1) == Some('/') {
                self.skip_while(|c| c != '\n');
            } else if matches!(first, '"' | '\'') {
                self.skip_text(first, false);
                return Some((start, '"'));
            } else if is_word(first) {
                self.skip_while(is_word);
                let raw =
                    self.rest.get(start..self.at).is_some_and(|w| w.iter().any(|c| matches!(c, 'r' | 'R')));
                match self.peek(0) {
                    // The prefixes of a text: `r"…"`, `b"…"`, `br"…"`.
                    Some(quote @ ('"' | '\'')) if self.at - start <= 2 => self.skip_text(quote, raw),
                    _ => {}
                }
                return Some((start, 'a'));
            } else {
                self.at += 1;
                if first.is_control() && !first.is_whitespace() {
                    return Some((start, '\0'));
                }
                if !first.is_whitespace() {
                    return Some((start, first));
                }
            }
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// Over a text; one that is not closed ends with the line, as the lexer has it, so that nothing hides in it.
    fn skip_text(&mut self, quote: char, raw: bool) {
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let width = if triple { 3 } else { 1 };
        self.at += width;
        while let Some(character) = self.peek(0) {
            let closes = (0..width).all(|ahead| self.peek(ahead) == Some(quote));
            if closes {
                self.at += width;
                return;
            }
            if character == '\n' && !triple {
                return;
            }
            self.at += if character == '\\' && !raw { 2 } else { 1 };
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

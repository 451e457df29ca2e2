//! Text with wildcards and variables, compiled once.

use crate::Error;
use crate::variable::{Variable, Variables};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// These characters.
    Text(Box<str>),
    /// `?`: exactly one character.
    One,
    /// `*`: any run of characters, also none.
    Run,
    /// The characters of a variable's value, whatever they are.
    Value(Variable),
}

/// A compiled pattern. Variables are put in when it is matched, as characters and not as pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Token>);

/// A place in a pattern: the token, and how many bytes of it are behind.
#[derive(Clone, Copy)]
struct Place {
    token: usize,
    byte: usize,
}

/// What stands at a place.
enum Step {
    Byte(u8),
    One,
    Run,
}

impl Pattern {
    /// With `*`, `?` and variables.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Self::compile(text, true)
    }

    /// With variables only: `*` and `?` are characters as others are.
    pub(crate) fn parse_literal(text: &str) -> Result<Self, Error> {
        Self::compile(text, false)
    }

    fn compile(text: &str, wildcards: bool) -> Result<Self, Error> {
        let unknown = || Error::Variable { text: text.to_owned() };
        let mut tokens = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(inside) = rest.strip_prefix("${") {
                let (name, after) = inside.split_once('}').ok_or_else(unknown)?;
                rest = after;
                // IAM, "Policy variables: special characters".
                if matches!(name, "*" | "?" | "$") {
                    plain.push_str(name);
                } else {
                    flush(&mut plain, &mut tokens);
                    tokens.push(Token::Value(Variable::parse(name).ok_or_else(unknown)?));
                }
                continue;
            }
            match first {
                '*' | '?' if wildcards => {
                    flush(&mut plain, &mut tokens);
                    tokens.push(if first == '*' { Token::Run } else { Token::One });
                }
                other => plain.push(other),
            }
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
        flush(&mut plain, &mut tokens);
        tokens.dedup_by(|next, before| *next == Token::Run && *before == Token::Run);
        Ok(Self(tokens))
    }

    /// Whether all of `text` matches. With `one_level`, values that could reach beyond one level of a topic
    /// match nothing. Steps: at most length of the pattern × length of the text.
    pub(crate) fn matches(&self, text: &str, variables: &Variables, one_level: bool) -> bool {
        self.ends_fit(text) && self.resolved(variables, one_level) && self.run(text, variables)
    }

    /// Most patterns of a document differ from a text in how they begin or end: that is seen at once.
    fn ends_fit(&self, text: &str) -> bool {
        let begins = |token: &Token| !matches!(token, Token::Text(own) if !text.starts_with(&**own));
        let ends = |token: &Token| !matches!(token, Token::Text(own) if !text.ends_with(&**own));
        self.0.first().is_none_or(begins) && self.0.last().is_none_or(ends)
    }

    fn resolved(&self, variables: &Variables, one_level: bool) -> bool {
        self.0.iter().all(|token| match token {
            Token::Value(variable) => match variable.value(variables) {
                Some(value) => !one_level || !value.contains(['+', '#', '/', '$']),
                None => false,
            },
            _ => true,
        })
    }

    /// Greedy, with one way back: to the last `*`, which takes one character more. Earlier ones need not be
    /// tried again, for the last one can take whatever they would.
    fn run(&self, text: &str, variables: &Variables) -> bool {
        let bytes = text.as_bytes();
        let mut place = Place { token: 0, byte: 0 };
        let mut at = 0;
        let mut back: Option<(Place, usize)> = None;
        loop {
            let (step, next) = self.step(place, variables);
            match step {
                Some(Step::Run) => {
                    back = Some((next, at));
                    place = next;
                    continue;
                }
                Some(Step::One) if at < bytes.len() => {
                    (place, at) = (next, after(bytes, at));
                    continue;
                }
                Some(Step::Byte(byte)) if bytes.get(at) == Some(&byte) => {
                    (place, at) = (next, at + 1);
                    continue;
                }
                None if at == bytes.len() => return true,
                _ => {}
            }
            match back {
                Some((after_run, taken)) if taken < bytes.len() => {
                    at = after(bytes, taken);
                    back = Some((after_run, at));
                    place = after_run;
                }
                _ => return false,
            }
        }
    }

    /// What stands at `place`, and the place behind it; nothing at the end.
    fn step(&self, mut place: Place, variables: &Variables) -> (Option<Step>, Place) {
        while let Some(token) = self.0.get(place.token) {
            let next = Place { token: place.token + 1, byte: 0 };
            let text = match token {
                Token::One => return (Some(Step::One), next),
                Token::Run => return (Some(Step::Run), next),
                Token::Text(text) => text,
                Token::Value(variable) => variable.value(variables).unwrap_or_default(),
            };
            if let Some(byte) = text.as_bytes().get(place.byte) {
                return (Some(Step::Byte(*byte)), Place { byte: place.byte + 1, ..place });
            }
            place = next;
        }
        (None, place)
    }
}

fn flush(plain: &mut String, tokens: &mut Vec<Token>) {
    if !plain.is_empty() {
        tokens.push(Token::Text(std::mem::take(plain).into_boxed_str()));
    }
}

/// The index behind the character that begins at `at`.
fn after(text: &[u8], at: usize) -> usize {
    let continues = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    at + 1 + text.iter().skip(at + 1).take_while(continues).count()
}

#[cfg(test)]
mod tests;

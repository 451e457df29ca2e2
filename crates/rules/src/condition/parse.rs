//! CEL's parser, on a thread with a stack that is large enough, and nothing of it lasts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use cel::common::ast::{Expr, SourceInfo};
use cel::parser::{Expression, ParseErrors, Parser};

use super::Kind;
use super::error::{ConditionError, Position};
use super::guard;
use super::lower::{Lowered, lower};

/// The parser takes some 50 KiB for a level of nesting in a debug build.
const STACK_BYTES: usize = 16 << 20;

/// Parses and lowers texts, all on one thread. What the guard refuses costs no thread.
pub(super) fn parse_all(sources: &[(&str, Kind)]) -> Vec<Result<Lowered, ConditionError>> {
    let guarded: Vec<_> = sources.iter().map(|(source, _)| guard::check(source)).collect();
    if guarded.iter().all(Result::is_err) {
        return guarded.into_iter().filter_map(Result::err).map(Err).collect();
    }
    let work = || -> Vec<_> {
        let pairs = sources.iter().zip(&guarded);
        pairs.map(|((source, kind), guarded)| guarded.clone().and_then(|()| parse(source, *kind))).collect()
    };
    let done = thread::scope(|scope| {
        let builder = thread::Builder::new().name("rule-conditions".to_owned()).stack_size(STACK_BYTES);
        builder.spawn_scoped(scope, work).map(|handle| handle.join())
    });
    match done {
        Ok(Ok(lowered)) => lowered,
        _ => sources.iter().map(|_| Err(ConditionError::at_start("no thread to compile it"))).collect(),
    }
}

fn parse(source: &str, kind: Kind) -> Result<Lowered, ConditionError> {
    // The parser is generated code of others: should a text make it panic, that text is refused, and no other.
    let done = catch_unwind(AssertUnwindSafe(|| {
        match Parser::new().error_recovery_limit(1).parse_with_source_info(source) {
            Ok((expression, info)) => lower(&expression, &Places { source, info: &info }, kind),
            Err(errors) => Err(syntax(source, &errors)),
        }
    }));
    done.unwrap_or_else(|_| Err(ConditionError::at_start("this is not CEL")))
}

/// The first of the errors, in one line.
fn syntax(source: &str, errors: &ParseErrors) -> ConditionError {
    let Some(error) = errors.errors.first() else {
        return ConditionError::at_start("this is not CEL");
    };
    let (line, column) = error.pos;
    let position = Position {
        line: usize::try_from(line).unwrap_or(1).max(1),
        column: usize::try_from(column).unwrap_or(1).max(1),
    };
    let text = error.msg.lines().next().unwrap_or_default();
    let text = text.strip_prefix("Syntax error: ").unwrap_or(text);
    // The parser lists every token that might follow.
    let text = text.split(" expecting {").next().unwrap_or(text);
    let text = text.replace("'<EOF>'", "the end").replace("<EOF>", "the end");
    let hint = if source.contains(" and ") || source.contains(" or ") { "; write && and ||" } else { "" };
    let hint = if has_lone_equals(source) { "; equality is written ==" } else { hint };
    ConditionError::new(position, format!("{text}{hint}"))
}

fn has_lone_equals(source: &str) -> bool {
    let bytes = source.as_bytes();
    let other = |index: Option<usize>| index.and_then(|index| bytes.get(index)).copied().unwrap_or(b' ');
    bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'='
            && other(at.checked_add(1)) != b'='
            && !matches!(other(at.checked_sub(1)), b'=' | b'!' | b'<' | b'>')
    })
}

/// Where nodes stand in the text.
pub(super) struct Places<'a> {
    source: &'a str,
    info: &'a SourceInfo,
}

impl Places<'_> {
    pub(super) fn of(&self, expression: &Expression) -> Position {
        // The parser counts bytes.
        let offset = self.info.offset_for(expression.id).map_or(0, |(start, _)| start as usize);
        let before = self.source.get(..offset).unwrap_or_default();
        let before = match &expression.expr {
            // It puts a call where its bracket is.
            Expr::Call(call) => before.trim_end().strip_suffix(call.func_name.as_str()).unwrap_or(before),
            _ => before,
        };
        Position::of_character(self.source, before.chars().count())
    }
}

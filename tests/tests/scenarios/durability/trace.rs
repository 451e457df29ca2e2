//! Reads what `strace -f -ttt -y` writes.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// What matters of a trace; times in seconds.
#[derive(Debug)]
pub(super) enum Event {
    /// Bytes went to a segment.
    Written { file: String, ended: f64, data: String },
    /// A segment was synced, successfully.
    Synced { file: String, began: f64, ended: f64 },
    /// PUBACKs began to leave on a socket.
    Acknowledged { began: f64, count: usize },
}

/// Makes events of the lines of a trace.
pub(super) fn read(text: &str) -> Result<Vec<Event>> {
    let mut unfinished: HashMap<&str, (f64, String)> = HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let Some((time, call)) = rest.trim_start().split_once(' ') else { continue };
        let time: f64 = time.parse().with_context(|| format!("no time in {line:.80}"))?;
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(process, (time, start.trim_end().to_owned()));
        } else if let Some(end) = call.strip_prefix("<... ") {
            let Some((began, start)) = unfinished.remove(process) else { continue };
            let end = end.split_once("resumed>").map_or("", |(_, end)| end);
            events.extend(event(&format!("{start}{end}"), began, time));
        } else {
            events.extend(event(call, time, time));
        }
    }
    Ok(events)
}

/// `name(fd<what>, …) = result`. A call on one line returned before the next line of its thread, and
/// strace gives its start; that it is short is why it stands on one line.
fn event(call: &str, began: f64, ended: f64) -> Option<Event> {
    let (name, arguments) = call.split_once('(')?;
    let (head, result) = arguments.rsplit_once(" = ")?;
    let result: i64 = result.split(' ').next()?.parse().ok()?;
    let (_, rest) = head.split_once('<')?;
    let (target, data) = split_target(rest)?;
    let segment = target.ends_with(".seg");
    match name {
        "fdatasync" | "fsync" if segment && result == 0 => {
            Some(Event::Synced { file: target.to_owned(), began, ended })
        }
        "write" | "writev" | "pwrite64" | "pwritev" if segment && result > 0 => {
            Some(Event::Written { file: target.to_owned(), ended, data: data.to_owned() })
        }
        "write" | "writev" | "sendto" | "sendmsg" if is_socket(target) && data.contains("\"@\\2") => {
            // Four bytes each: type, length 2, packet identifier.
            Some(Event::Acknowledged { began, count: usize::try_from(result).ok()? / 4 })
        }
        _ => None,
    }
}

fn is_socket(target: &str) -> bool {
    target.starts_with("socket:") || target.starts_with("TCP")
}

/// A socket's description holds `->`, so its end is the first `>` that a comma, a parenthesis or
/// nothing follows.
fn split_target(text: &str) -> Option<(&str, &str)> {
    let ends = text.match_indices('>').map(|(at, _)| at);
    let end = ends
        .into_iter()
        .find(|at| text.get(at + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ')'])))?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

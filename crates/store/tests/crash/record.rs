//! The disk operations of a process, as `strace` tells them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workload;

/// Something that happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Write {
        file: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        length: usize,
    },
    /// The file's bytes are durable.
    Sync {
        file: String,
    },
    /// The names in the folder are durable.
    SyncFolder,
    Unlink {
        file: String,
    },
    Acknowledged(usize),
}

/// Runs the workload in a folder under `strace`; `None` if there is none.
pub(crate) fn record(folder: &Path, count: usize) -> Option<Vec<Event>> {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return None;
    }
    let trace = folder.with_extension("trace");
    let program = std::env::current_exe().unwrap();
    let calls = "trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink,unlinkat,rename,renameat,renameat2";
    let status = workload::command("strace", folder, 0, count)
        .args(["-f", "-y", "-xx", "-s", "10000000", "-e", calls, "-o"])
        .arg(&trace)
        .arg(program)
        .args(workload::ARGUMENTS)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the workload failed under strace");
    let text = std::fs::read_to_string(&trace).unwrap();
    Some(
        text.lines().scan(HashMap::new(), |begun, line| Some(event(folder, line, begun))).flatten().collect(),
    )
}

/// One line: `1234 pwrite64(7</folder/store.db-wal>, "\x01\x02", 2, 32) = 2`. A call during which
/// another thread was heard has two lines; a write counts from its beginning, a sync from its end.
fn event(folder: &Path, line: &str, begun: &mut HashMap<String, String>) -> Option<Event> {
    let (thread, rest) = line.trim_start().split_once(' ')?;
    let rest = rest.trim_start();
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let call = begun.remove(thread)?;
        assert!(result(resumed).is_some_and(|result| !result.starts_with('-')), "{line}");
        return sync(folder, &call);
    }
    let (call, unfinished) = match rest.strip_suffix(" <unfinished ...>") {
        Some(call) => (call, true),
        None => (rest, false),
    };
    if result(call).is_some_and(|result| result.starts_with('-')) {
        return None;
    }
    let (name, _) = call.split_once('(')?;
    if matches!(name, "fdatasync" | "fsync") {
        if unfinished {
            begun.insert(thread.to_owned(), call.to_owned());
            return None;
        }
        return sync(folder, call);
    }
    write(folder, name, call)
}

/// What the call gave back; before it there may be spaces for alignment.
fn result(call: &str) -> Option<&str> {
    call.rsplit_once(" = ").map(|(_, result)| result)
}

/// The path between `<` and `>` behind a descriptor, if it is in the folder: its name there.
fn file_of(folder: &Path, call: &str) -> Option<String> {
    let (_, rest) = call.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    name_in(folder, &path_of(path))
}

fn name_in(folder: &Path, path: &Path) -> Option<String> {
    Some(path.strip_prefix(folder).ok()?.to_str()?.to_owned())
}

/// With `-xx` paths, too, are hexadecimal in some versions.
fn path_of(text: &str) -> PathBuf {
    if text.starts_with("\\x") {
        PathBuf::from(String::from_utf8(unhex(text)).unwrap())
    } else {
        PathBuf::from(text)
    }
}

fn sync(folder: &Path, call: &str) -> Option<Event> {
    match file_of(folder, call)? {
        file if file.is_empty() => Some(Event::SyncFolder),
        file => Some(Event::Sync { file }),
    }
}

fn write(folder: &Path, name: &str, call: &str) -> Option<Event> {
    let quoted = || call.split('"').nth(1).map(unhex);
    let behind = || call.rsplit_once('"').map_or("", |(_, rest)| rest).trim_start_matches(", ");
    let number = |text: &str| text.trim().trim_end_matches(')').parse::<usize>().ok();
    match name {
        "write" => {
            let text = String::from_utf8(quoted()?).ok()?;
            text.lines().find_map(workload::acknowledged).map(Event::Acknowledged)
        }
        "pwrite64" => {
            let arguments = behind().split_once(')').map_or(behind(), |(arguments, _)| arguments);
            let offset = number(arguments.split(", ").nth(1)?)?;
            Some(Event::Write { file: file_of(folder, call)?, offset, bytes: quoted()? })
        }
        "ftruncate" => {
            let arguments = call.rsplit_once(')').map_or(call, |(arguments, _)| arguments);
            let length = number(arguments.rsplit_once(", ")?.1)?;
            Some(Event::Truncate { file: file_of(folder, call)?, length })
        }
        "unlink" | "unlinkat" => {
            let path = PathBuf::from(String::from_utf8(quoted()?).ok()?);
            Some(Event::Unlink { file: name_in(folder, &path)? })
        }
        _ => {
            assert!(file_of(folder, call).is_none() && !call.contains("store.db"), "not known here: {call}");
            None
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

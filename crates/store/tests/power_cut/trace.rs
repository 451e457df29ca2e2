//! Disk operations of a process, as `strace -f -y -xx` tells them.

use std::collections::HashMap;

/// What a process did to the files of a folder; names are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Create {
        name: String,
        truncate: bool,
    },
    Write {
        name: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        name: String,
        length: u64,
    },
    Sync {
        name: String,
    },
    SyncFolder,
    Unlink {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    /// Not a disk operation: the process said that a block had been acknowledged.
    Acknowledged {
        block: usize,
    },
}

/// The calls that change files; a call of this kind that [`Reader`] does not know is a failure of
/// the test, not something to pass over.
pub(crate) const CALLS: &str = "openat,open,creat,lseek,read,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
fallocate,fsync,fdatasync,sync_file_range,unlink,unlinkat,rename,renameat,renameat2";

/// Reads the lines of a trace.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    folder: &'a str,
    /// A file outside the folder to which the process writes a line for each acknowledged block.
    acknowledgements: &'a str,
    unfinished: HashMap<&'a str, &'a str>,
    offsets: HashMap<u32, u64>,
    pub(crate) operations: Vec<Operation>,
}

impl<'a> Reader<'a> {
    pub(crate) fn read(trace: &'a str, folder: &'a str, acknowledgements: &'a str) -> Vec<Operation> {
        let mut reader = Self {
            folder,
            acknowledgements,
            unfinished: HashMap::new(),
            offsets: HashMap::new(),
            operations: Vec::new(),
        };
        for line in trace.lines() {
            reader.line(line);
        }
        reader.operations
    }

    /// A call counts from when it returned: what was not finished has promised nothing.
    fn line(&mut self, line: &'a str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(thread, begun);
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let begun = self.unfinished.remove(thread).unwrap_or_default();
            let (_, end) = rest.split_once("resumed>").expect("the end of a call");
            self.call(&format!("{begun}{end}"));
        } else {
            self.call(call);
        }
    }

    fn call(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        let parts: Vec<&str> = arguments.split(", ").collect();
        match name {
            "openat" => self.open(&parts, result),
            "lseek" => {
                if let Some((fd, _)) = descriptor(parts[0]) {
                    self.offsets.insert(fd, number(result));
                }
            }
            "read" => self.advance(parts[0], number(result)),
            "write" => self.write(parts[0], parts[1], None, number(result)),
            "pwrite64" => self.write(parts[0], parts[1], Some(number(parts[3])), number(result)),
            "ftruncate" => self.on(parts[0], |name| Operation::Truncate { name, length: number(parts[1]) }),
            "fsync" | "fdatasync" => self.sync(parts[0]),
            "unlink" => self.unlink(&text(parts[0])),
            "unlinkat" => self.unlink(&text(parts[1])),
            "rename" => self.rename(&text(parts[0]), &text(parts[1])),
            "renameat" | "renameat2" => self.rename(&text(parts[1]), &text(parts[3])),
            _ => assert!(!call.contains(self.folder), "a call that the replay does not know: {name}"),
        }
    }

    fn inside(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix(self.folder)?.strip_prefix('/')?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn on(&mut self, fd: &str, make: impl FnOnce(String) -> Operation) {
        let name = descriptor(fd).and_then(|(_, path)| self.inside(&path));
        self.operations.extend(name.map(make));
    }

    fn open(&mut self, parts: &[&str], result: &str) {
        let Some((fd, _)) = descriptor(result) else { return };
        self.offsets.insert(fd, 0);
        let (path, flags) = (text(parts[1]), parts[2]);
        if let (Some(name), true) = (self.inside(&path), flags.contains("O_CREAT")) {
            self.operations.push(Operation::Create { name, truncate: flags.contains("O_TRUNC") });
        }
    }

    fn advance(&mut self, fd: &str, length: u64) {
        if let Some((fd, _)) = descriptor(fd) {
            *self.offsets.entry(fd).or_default() += length;
        }
    }

    fn write(&mut self, fd: &str, bytes: &str, at: Option<u64>, length: u64) {
        let Some((number, path)) = descriptor(fd) else { return };
        let offset = at.unwrap_or_else(|| self.offsets.get(&number).copied().unwrap_or(0));
        if at.is_none() {
            self.advance(fd, length);
        }
        let mut bytes = unescape(bytes);
        bytes.truncate(length as usize);
        if path == self.acknowledgements {
            let lines = String::from_utf8(bytes).expect("acknowledgements are text");
            let blocks = lines.lines().map(|line| line.parse().expect("a block's number"));
            self.operations.extend(blocks.map(|block| Operation::Acknowledged { block }));
        } else if let Some(name) = self.inside(&path) {
            assert_eq!(bytes.len() as u64, length, "the trace cuts strings short");
            self.operations.push(Operation::Write { name, offset, bytes });
        }
    }

    fn sync(&mut self, fd: &str) {
        let Some((_, path)) = descriptor(fd) else { return };
        if path == self.folder {
            self.operations.push(Operation::SyncFolder);
        } else if let Some(name) = self.inside(&path) {
            self.operations.push(Operation::Sync { name });
        }
    }

    fn unlink(&mut self, path: &str) {
        if let Some(name) = self.inside(path) {
            self.operations.push(Operation::Unlink { name });
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let (Some(from), Some(to)) = (self.inside(from), self.inside(to)) {
            self.operations.push(Operation::Rename { from, to });
        }
    }
}

/// `5</path>` or, since `-xx` escapes paths too, `5<\x2f…>`.
fn descriptor(text: &str) -> Option<(u32, String)> {
    let (fd, path) = text.trim().split_once('<')?;
    let path = path.rsplit_once('>').map_or(path, |(path, _)| path);
    let path = String::from_utf8(unescape(path)).ok()?;
    Some((fd.parse().ok()?, path.trim_end_matches(" (deleted)").to_owned()))
}

fn text(quoted: &str) -> String {
    String::from_utf8(unescape(quoted)).expect("a path is text")
}

fn number(text: &str) -> u64 {
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

fn unescape(text: &str) -> Vec<u8> {
    let text = text.trim_matches('"');
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let Some(byte) = rest.first() {
        if rest.starts_with(b"\\x") && rest.len() >= 4 {
            let digits = std::str::from_utf8(&rest[2..4]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
            rest = &rest[4..];
        } else {
            bytes.push(*byte);
            rest = &rest[1..];
        }
    }
    bytes
}

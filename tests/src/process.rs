//! One child process: its lines, its death, its memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    log: PathBuf,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts `command`. Lines on its standard output are kept for [`Process::wait_for_line`]; its
    /// standard error is appended to the file `log`.
    ///
    /// # Errors
    /// The program or the file cannot be opened.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).context("cannot open the log")?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let output = Arc::<Output>::default();
        let sink = Arc::clone(&output);
        std::thread::spawn(move || sink.collect(BufReader::new(stdout)));
        Ok(Self { name: name.to_owned(), child, output, log: log.to_owned() })
    }

    /// The first line of standard output that begins with `prefix`, without it.
    ///
    /// # Errors
    /// The program ended, or the time passed, without such a line.
    pub fn wait_for_line(&self, prefix: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let mut state = self.output.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(rest) = state.lines.iter().find_map(|line| line.strip_prefix(prefix)) {
                return Ok(rest.trim().to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let how = if state.ended { "ended" } else { "was silent" };
                bail!("{} {how} before it said \"{prefix}\"; its log ends:\n{}", self.name, self.log_tail());
            }
            state = self.output.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything said on standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.state.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The process that it runs itself, such as the program under `strace`.
    ///
    /// # Errors
    /// There is none.
    pub fn child_id(&self) -> Result<u32> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children.split_whitespace().next().context("the process has no child")?;
        Ok(first.parse()?)
    }

    /// Asks it, or the process that it runs, to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub fn terminate(&mut self, instead: Option<u32>, patience: Duration) -> Result<ExitStatus> {
        let id = instead.unwrap_or(self.child.id());
        let pid = Pid::from_raw(id.cast_signed()).context("a process id is never 0")?;
        kill_process(pid, Signal::TERM)?;
        self.wait(patience)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = crate::wait::until("the end of a process", patience, || Ok(self.child.try_wait()?));
        ended.with_context(|| format!("{}; its log ends:\n{}", self.name, self.log_tail()))
    }

    /// The last lines of its standard error.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

/// The last lines of a text file; empty when there is none.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; there is nothing more to do then.
        drop(self.kill());
    }
}

impl Output {
    fn collect(&self, reader: impl BufRead) {
        for line in reader.lines().map_while(Result::ok) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
            self.changed.notify_all();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }
}

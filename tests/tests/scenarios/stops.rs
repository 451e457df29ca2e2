//! Being told to stop: who may connect may also say SIGTERM, and then the stop is in order.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fieldline_tests::clients::may_trace;
use fieldline_tests::{Site, machine};

#[test]
fn the_agent_minds_signals_before_it_listens() -> Result<()> {
    let _machine = machine::shared();
    if !may_trace() {
        return Ok(());
    }
    let mut site = Site::prepare()?;
    let trace = site.folder().join("trace.txt");
    let path = trace.to_string_lossy().into_owned();
    site.agent.set_uplink(None);
    site.agent.set_wrapper(&["strace", "-f", "-e", "trace=rt_sigaction,listen", "-o", &path]);
    site.agent.start()?;
    // strace writes the rest of the trace when the agent has ended.
    site.agent.stop()?;
    for signal in ["SIGINT", "SIGTERM"] {
        ensure!(handled_before_listen(&trace, signal)?, "it listens before it minds {signal}");
    }
    site.finish()
}

fn handled_before_listen(trace: &Path, signal: &str) -> Result<bool> {
    let text = std::fs::read_to_string(trace).context("no trace")?;
    // A call that only asks has NULL in the place of the handler.
    let handled = format!("rt_sigaction({signal}, {{");
    let handles = text.lines().position(|line| line.contains(&handled));
    let listens = text.lines().position(|line| line.contains("listen(")).context("it never listened")?;
    Ok(handles.is_some_and(|handles| handles < listens))
}

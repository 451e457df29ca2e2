//! The order of system calls: a PUBACK is written only after an `fdatasync` that covers the reading.

mod trace;

use anyhow::{Result, ensure};
use bytes::Bytes;
use fieldline_tests::clients::may_trace;
use fieldline_tests::publisher::publish;
use fieldline_tests::{Site, machine};

use trace::Event;

const MESSAGES: usize = 200;
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fdatasync,fsync";

/// Text that is found again in the bytes that are written to the journal.
fn marker(number: usize) -> String {
    format!("marker-{number:06}")
}

#[test]
fn a_puback_is_written_after_the_fdatasync_that_covers_its_reading() -> Result<()> {
    let _machine = machine::shared();
    if !may_trace() {
        return Ok(());
    }
    let mut site = Site::prepare()?;
    let file = site.folder().join("trace.txt");
    let path = file.to_string_lossy().into_owned();
    site.agent.set_uplink(None);
    site.agent.set_wrapper(&[
        "strace",
        "-f",
        "-ttt",
        "-y",
        "-s",
        "65536",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
        &path,
    ]);
    site.agent.start()?;
    let messages: Vec<_> = (0..MESSAGES)
        .map(|number| {
            ("telemetry/traced".to_owned(), Bytes::from(format!("{{\"text\": \"{}\"}}", marker(number))))
        })
        .collect();
    publish(site.agent.mqtt_address(), "traced", &messages)?;
    // strace writes the rest of the trace when the agent has ended.
    site.agent.stop()?;
    let events = trace::read(&std::fs::read_to_string(&file)?)?;
    check(&events)?;
    site.finish()
}

/// One connection: its n-th PUBACK answers the n-th message.
fn check(events: &[Event]) -> Result<()> {
    let mut acknowledged = 0;
    for event in events {
        let Event::Acknowledged { began, count } = event else { continue };
        for number in acknowledged..acknowledged + count {
            let marker = marker(number);
            let covered = events.iter().any(|written| match written {
                Event::Written { file, ended, data } if data.contains(&marker) => {
                    events.iter().any(|synced| {
                        matches!(synced, Event::Synced { file: same, began: sync_began, ended: sync_ended }
                        if same == file && sync_began >= ended && sync_ended <= began)
                    })
                }
                _ => false,
            });
            ensure!(
                covered,
                "message {number} was acknowledged at {began} without an fdatasync that covers it"
            );
        }
        acknowledged += count;
    }
    ensure!(acknowledged == MESSAGES, "the trace shows {acknowledged} acknowledgements of {MESSAGES}");
    Ok(())
}

#[test]
fn the_check_finds_an_early_acknowledgement() -> Result<()> {
    let trace = |lines: [&str; 4]| trace::read(&lines.join("\n"));
    let write = "7 1.000001 write(5</d/live/0000000001.seg>, \"..marker-000000..\", 17) = 17";
    let sync = "7 2.000001 fdatasync(5</d/live/0000000001.seg> <unfinished ...>";
    let done = "7 2.900001 <... fdatasync resumed>) = 0";
    let ack = |time| {
        format!("8 {time} sendto(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"@\\2\\0\\1\", 4, 0, NULL, 0) = 4")
    };
    for (time, good) in [("3.000001", true), ("2.500001", false), ("1.500001", false)] {
        let result = check(&trace([write, sync, done, &ack(time)])?);
        let message = result.err().map(|error| error.to_string()).unwrap_or_default();
        // A good trace fails later, because it holds one message only.
        assert_eq!(message.contains("without an fdatasync"), !good, "{time}: {message}");
    }
    Ok(())
}

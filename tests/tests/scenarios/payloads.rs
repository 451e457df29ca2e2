//! Bad payloads: each is refused or quarantined with its reason, is counted, and harms nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_model::{Books, Reason};
use fieldline_mqtt::PublishError;
use fieldline_tests::ledger::{of_agent, settle};
use fieldline_tests::oracle::fresh_reading_passes;
use fieldline_tests::publisher::{offer, publish};
use fieldline_tests::wait::PATIENCE;
use fieldline_tests::{Site, machine};
use serde_json::json;

const PATIENT: Duration = Duration::from_secs(60);

fn count(books: &Books, reason: Reason) -> u64 {
    books.quarantined.get(&reason).copied().unwrap_or(0)
}

#[test]
fn bad_payloads_are_counted_by_reason_and_good_ones_still_pass() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let long_text = format!("{{\"v\": \"{}\"}}", "x".repeat(1025));
    let table: [(&str, &[u8], Reason); 13] = [
        ("telemetry/bad", b"{\"v\": 1", Reason::Malformed),
        ("telemetry/bad", b"{\"v\": NaN}", Reason::Malformed),
        ("telemetry/bad", b"{\"v\": Infinity}", Reason::Malformed),
        ("telemetry/bad", b"{\"v\": \"\xff\xfe\"}", Reason::Malformed),
        ("telemetry/bad", b"[{\"bn\":\"a\"", Reason::Malformed),
        ("telemetry/bad/v", b"\xff\xfe", Reason::Malformed),
        ("telemetry/bad", b"{\"v\": null}", Reason::BadValue),
        ("telemetry/bad", b"{\"v\": {\"deep\": 1}}", Reason::BadValue),
        ("telemetry/bad", b"{\"v\": 9223372036854775808}", Reason::IntegerRange),
        ("telemetry/bad", long_text.as_bytes(), Reason::TextTooLong),
        ("telemetry/bad", b"{\"v\": 1, \"ts\": \"yesterday\"}", Reason::BadTime),
        ("telemetry/bad", b"{\"v\": 1, \"ts\": \"1970-01-01T00:00:00Z\"}", Reason::TooOld),
        ("telemetry/bad", b"{\"v\": 1, \"ts\": \"2200-01-01T00:00:00Z\"}", Reason::TooNew),
    ];
    for (topic, payload, reason) in table {
        let shown = String::from_utf8_lossy(payload).chars().take(40).collect::<String>();
        let before = of_agent(site.agent.http())?;
        let answer = offer(site.agent.mqtt_address(), topic, payload).with_context(|| shown.clone())?;
        ensure!(matches!(answer, None | Some(PublishError::PayloadFormatInvalid)), "{shown}: {answer:?}");
        let after = of_agent(site.agent.http())?;
        ensure!(
            count(&after, reason) == count(&before, reason) + 1,
            "{shown} is not counted as {reason}: {after:?}"
        );
        ensure!(after.balance() == 0, "{shown}: the books are off by {}", after.balance());
    }
    fresh_reading_passes(site.agent.http(), site.server.http())?;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENT)?;
    ensure!(site.server.http().series("bad", "v")?.is_empty(), "something bad was stored");
    site.finish()
}

#[test]
fn one_bad_reading_among_a_hundred_leaves_ninety_nine() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let base = 1_767_225_600_000_i64;
    let object =
        |n: i64| if n == 41 { json!({"v": null, "ts": base + n}) } else { json!({"v": n, "ts": base + n}) };
    let list: Vec<_> = (0..100).map(object).collect();
    let payload = Bytes::from(serde_json::to_vec(&list)?);
    publish(site.agent.mqtt_address(), "batch", &[("telemetry/batch".to_owned(), payload)])?;
    let bad = b"cpu,device=lines n=1i 1767225600000000000\nthis is no line\ncpu,device=lines n=2i 1767225601000000000";
    let answer = site.agent.http().post("/api/v2/write", "text/plain", bad)?;
    ensure!(answer.status == 400 && answer.body.contains('2'), "the bad line is not named: {answer:?}");
    let answer = site.server.http().post(
        "/api/v2/write",
        "text/plain",
        &String::from_utf8_lossy(bad).replace("lines", "direct").into_bytes(),
    )?;
    ensure!(answer.status == 400 && answer.body.contains('2'), "the bad line is not named: {answer:?}");
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENT)?;
    let stored = site.server.http().series("batch", "v")?;
    let expected: Vec<_> = (0..100).filter(|n| *n != 41).map(|n| (base + n, json!(n))).collect();
    assert_eq!(stored, expected);
    for device in ["lines", "direct"] {
        assert_eq!(site.server.http().series(device, "cpu.n")?.len(), 2, "{device}");
    }
    site.finish()
}

#[test]
fn a_payload_of_ten_mebibytes_is_refused_everywhere() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let payload = format!("{{\"v\": \"{}\"}}", "x".repeat(10 << 20)).into_bytes();
    for (name, listener) in [("agent", site.agent.http()), ("server", site.server.http())] {
        let answer = listener.post("/telemetry/huge", "application/json", &payload)?;
        ensure!(answer.status == 413, "the {name} answers {} to 10 MiB: {:.200}", answer.status, answer.body);
        let lines = listener.post("/api/v2/write", "text/plain", &payload)?;
        ensure!(lines.status == 413, "the {name} answers {} to 10 MiB of lines", lines.status);
    }
    for (name, address) in [("agent", site.agent.mqtt_address()), ("server", site.server.mqtt_address())] {
        // Refused by the packet limit: the connection ends, or the client knows the limit already.
        let answer = offer(address, "telemetry/huge", &payload);
        ensure!(answer.is_err(), "the {name} took 10 MiB by MQTT: {answer:?}");
    }
    let memory = site.agent.memory_bytes_max()?;
    ensure!(memory < 48 << 20, "10 MiB payloads have cost the agent {} MiB", memory >> 20);
    fresh_reading_passes(site.agent.http(), site.server.http())?;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENT)?;
    site.finish()
}

#[test]
fn a_hundred_thousand_metric_names_are_limited_per_device_and_counted() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.set("limits.metrics_per_device_max", "1000");
    site.server.start()?;
    site.agent.start()?;
    let messages: Vec<_> = (0..100)
        .map(|message| {
            let object: serde_json::Map<_, _> =
                (0..1_000).map(|n| (format!("metric-{}", message * 1_000 + n), json!(n))).collect();
            ("telemetry/flood".to_owned(), Bytes::from(serde_json::Value::Object(object).to_string()))
        })
        .collect();
    publish(site.agent.mqtt_address(), "flood", &messages)?;
    let books = settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    assert_eq!((books.accepted, count(&books, Reason::Cardinality)), (100_000, 99_000));
    fresh_reading_passes(site.agent.http(), site.server.http())?;
    site.finish()
}

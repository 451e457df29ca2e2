//! A status in Prometheus' text format (version 0.0.4).

use std::fmt::Write as _;

use super::Status;
use crate::things::Shadows;

/// Writes the metrics of a status.
pub(crate) fn render(status: &Status) -> String {
    let mut page = Page::default();
    if let Some(books) = &status.books {
        page.one(
            "fieldline_agent_accepted_readings_total",
            "counter",
            "Readings acknowledged to devices.",
            books.accepted,
        );
        page.head("fieldline_agent_quarantined_readings_total", "counter", "Readings set aside, by reason.");
        for (reason, count) in &books.quarantined {
            page.labelled(
                "fieldline_agent_quarantined_readings_total",
                &[("reason", reason.as_str())],
                *count,
            );
        }
        page.head(
            "fieldline_agent_lane_readings",
            "gauge",
            "Readings of a lane of the journal, by where they are.",
        );
        for lane in &books.lanes {
            let dropped = lane.dropped.values().map(|ranges| ranges.count()).sum();
            let places = [
                ("buffered", lane.buffered.count()),
                ("stored", lane.stored.count()),
                ("dropped", dropped),
                ("damaged", lane.damaged.count()),
            ];
            let epoch = format!("{:014x}", lane.epoch);
            for (place, count) in places {
                let labels = [("class", lane.class.as_str()), ("epoch", &epoch), ("place", place)];
                page.labelled("fieldline_agent_lane_readings", &labels, count);
            }
        }
    }
    page.head("fieldline_agent_filtered_readings_total", "counter", "Readings left out, by reason.");
    for (reason, count) in &status.filtered {
        page.labelled("fieldline_agent_filtered_readings_total", &[("reason", reason.as_str())], *count);
    }
    let uplink = &status.uplink;
    page.one("fieldline_agent_journal_bytes", "gauge", "Bytes of the journal on disk.", status.journal_bytes);
    page.one("fieldline_agent_series", "gauge", "Series known since the start.", status.series as u64);
    page.one("fieldline_agent_connections", "gauge", "Devices connected by MQTT.", status.connections);
    page.one(
        "fieldline_agent_committing",
        "gauge",
        "1 while readings can be committed.",
        u64::from(status.trouble.is_none()),
    );
    page.one(
        "fieldline_agent_uplink_connected",
        "gauge",
        "1 while the link is up.",
        u64::from(uplink.connected_since.is_some()),
    );
    page.one("fieldline_agent_uplink_blocks_total", "counter", "Blocks sent.", uplink.blocks_sent);
    page.one(
        "fieldline_agent_uplink_blocks_again_total",
        "counter",
        "Blocks taken back to be sent again.",
        uplink.blocks_sent_again,
    );
    page.one("fieldline_agent_uplink_readings_total", "counter", "Readings sent.", uplink.readings_sent);
    page.one("fieldline_agent_uplink_bytes_total", "counter", "Bytes of blocks sent.", uplink.bytes_sent);
    page.one(
        "fieldline_agent_uplink_in_flight",
        "gauge",
        "Blocks that wait for the store.",
        uplink.in_flight as u64,
    );
    if let Some(things) = &status.things {
        shadows(&mut page, things);
    }
    page.text
}

fn shadows(page: &mut Page, things: &Shadows) {
    page.head("fieldline_agent_shadows", "gauge", "Shadows of devices, by how they do.");
    let counts = [
        ("known", things.known),
        ("waiting", things.waiting),
        ("refused", things.refused),
        ("unheard_filters", things.unheard),
    ];
    for (state, count) in counts {
        page.labelled("fieldline_agent_shadows", &[("state", state)], count as u64);
    }
    let (name, help) = ("fieldline_agent_shadows_damaged_total", "Files of shadows that were set aside.");
    page.one(name, "counter", help, things.damaged);
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    /// The label values here are words of ours or hexadecimal, and need no escaping.
    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a String takes everything");
        self.text.push('\n');
    }
}

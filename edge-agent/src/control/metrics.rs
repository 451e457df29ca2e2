//! A status in Prometheus' text format (version 0.0.4).

use std::fmt::Write as _;

use fieldline_model::Books;

use super::Status;
use crate::rules::{RuleShown, Rules};
use crate::things::Shadows;

/// Writes the metrics of a status.
pub(crate) fn render(status: &Status) -> String {
    let mut page = Page::default();
    if let Some(books) = &status.books {
        page.books(books);
    }
    page.by_reason(
        "fieldline_agent_filtered_readings_total",
        "Readings left out, by reason.",
        status.filtered.iter().map(|(reason, count)| (reason.as_str(), *count)),
    );
    let uplink = &status.uplink;
    let gauges = [
        ("journal_bytes", "Bytes of the journal on disk.", status.journal_bytes),
        ("series", "Series known since the start.", status.series as u64),
        ("connections", "Devices connected by MQTT.", status.connections),
        ("committing", "1 while readings can be committed.", u64::from(status.trouble.is_none())),
        ("uplink_connected", "1 while the link is up.", u64::from(uplink.connected_since.is_some())),
        ("uplink_in_flight", "Blocks that wait for the store.", uplink.in_flight as u64),
    ];
    for (name, help, value) in gauges {
        page.one(name, "gauge", help, value);
    }
    let counters = [
        ("uplink_blocks_total", "Blocks sent.", uplink.blocks_sent),
        ("uplink_blocks_again_total", "Blocks taken back to be sent again.", uplink.blocks_sent_again),
        ("uplink_readings_total", "Readings sent.", uplink.readings_sent),
        ("uplink_bytes_total", "Bytes of blocks sent.", uplink.bytes_sent),
    ];
    for (name, help, value) in counters {
        page.one(name, "counter", help, value);
    }
    if let Some(things) = &status.things {
        page.shadows(things);
    }
    if let Some(rules) = &status.rules {
        page.rules(rules);
    }
    page.text
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn books(&mut self, books: &Books) {
        self.one("accepted_readings_total", "counter", "Readings acknowledged to devices.", books.accepted);
        self.by_reason(
            "fieldline_agent_quarantined_readings_total",
            "Readings set aside, by reason.",
            books.quarantined.iter().map(|(reason, count)| (reason.as_str(), *count)),
        );
        let name = "fieldline_agent_lane_readings";
        self.head(name, "gauge", "Readings of a lane of the journal, by where they are.");
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
                self.labelled(name, &labels, count);
            }
        }
    }

    fn shadows(&mut self, things: &Shadows) {
        let name = "fieldline_agent_shadows";
        self.head(name, "gauge", "Shadows of devices, by how they do.");
        let counts = [
            ("known", things.known),
            ("waiting", things.waiting),
            ("refused", things.refused),
            ("unheard_filters", things.unheard),
        ];
        for (state, count) in counts {
            self.labelled(name, &[("state", state)], count as u64);
        }
        let help = "Files of shadows that were set aside.";
        self.one("shadows_damaged_total", "counter", help, things.damaged);
    }

    fn rules(&mut self, rules: &Rules) {
        let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&RuleShown) -> u64| {
            let name = format!("fieldline_agent_{name}");
            self.head(&name, kind, help);
            for rule in &rules.rules {
                self.labelled(&name, &[("rule", &rule.name)], value(rule));
            }
        };
        each("rule_instances", "gauge", "Instances of a rule.", &|rule| rule.instances as u64);
        each("rule_evaluations_total", "counter", "Evaluations of a rule.", &|rule| rule.evaluations);
        let help = "Nanoseconds that evaluations of a rule took, extrapolated from samples.";
        each("rule_nanoseconds_total", "counter", help, &|rule| rule.nanos);
        each("rule_errors_total", "counter", "Evaluations of a rule that failed.", &|rule| rule.errors);
        let disabled = |rule: &RuleShown| u64::from(rule.disabled.is_some());
        each("rule_disabled", "gauge", "1 where a rule was disabled.", &disabled);
        self.one("alarms_active", "gauge", "Alarms whose condition holds.", rules.active as u64);
        self.one("rules_waiting", "gauge", "Effects of rules yet to be carried out.", rules.waiting as u64);
        let help = "Effects of rules that were given up.";
        self.one("rules_undelivered_total", "counter", help, rules.undelivered);
    }

    fn by_reason<'a>(&mut self, name: &str, help: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
        self.head(name, "counter", help);
        for (reason, count) in counts {
            self.labelled(name, &[("reason", reason)], count);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// `name` without what all names begin with.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        let name = &format!("fieldline_agent_{name}");
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

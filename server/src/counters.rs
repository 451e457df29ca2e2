//! What the server counts, for `GET /metrics`.
//!
//! The recorder belongs to one server and is not installed globally: an agent in the same process
//! (`fieldline up`) keeps its own.

use std::sync::Arc;

use fieldline_model::Reason;
use fieldline_mqtt::Stats;
use fieldline_rules::{Crowding, RuleState};
use metrics::{Counter, Gauge, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use rules::Undelivered;

/// Rules that have counters of their own.
const RULES_SHOWN: usize = 200;

/// The server's counters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Counters {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// Blocks of gateways that are stored.
    pub(crate) blocks: Counter,
    /// Blocks whose every reading was stored already.
    pub(crate) duplicates: Counter,
    /// Readings that came in blocks of gateways and are stored.
    pub(crate) block_readings: Counter,
    /// Readings that came without a gateway and are stored.
    pub(crate) direct_readings: Counter,
    /// Messages that were not stored and come again: store failing or too much waiting.
    pub(crate) deferred: Counter,
    /// Books that gateways have reported.
    pub(crate) books: Counter,
    /// Messages to rules that this server does not have.
    pub(crate) ignored: Counter,
    /// Readings that came without a gateway from devices that are no things, and were refused.
    pub(crate) unknown_devices: Counter,
    /// Messages whose event a function elsewhere has taken.
    pub(crate) invoked: Counter,
    /// Invocations that failed and were tried again, or given up.
    pub(crate) retried: Counter,
    /// Shadows that the server has brought up to date by itself.
    pub(crate) shadows_updated: Counter,
    /// Updates of those that failed and are tried again.
    pub(crate) shadows_failed: Counter,
    /// Values that were not shown, since more devices came than can be remembered.
    pub(crate) shadow_values_lost: Counter,
    broker: BrokerGauges,
}

#[derive(Clone)]
struct BrokerGauges {
    connections: Gauge,
    sessions: Gauge,
    messages_in: Counter,
    messages_out: Counter,
    messages_dropped: Counter,
    messages_refused: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
        with_local_recorder(recorder.as_ref(), || Self {
            handle: recorder.handle(),
            recorder: Arc::clone(&recorder),
            blocks: counter!("fieldline_blocks_total"),
            duplicates: counter!("fieldline_blocks_duplicate_total"),
            block_readings: counter!("fieldline_readings_total", "source" => "gateway"),
            direct_readings: counter!("fieldline_readings_total", "source" => "direct"),
            deferred: counter!("fieldline_deferred_total"),
            books: counter!("fieldline_books_total"),
            ignored: counter!("fieldline_ignored_total"),
            unknown_devices: counter!("fieldline_refused_total", "reason" => "unknown-device"),
            invoked: counter!("fieldline_invoked_total"),
            retried: counter!("fieldline_invoke_failures_total"),
            shadows_updated: counter!("fieldline_shadows_updated_total"),
            shadows_failed: counter!("fieldline_shadow_failures_total"),
            shadow_values_lost: counter!("fieldline_shadow_values_lost_total"),
            broker: BrokerGauges {
                connections: gauge!("fieldline_mqtt_connections"),
                sessions: gauge!("fieldline_mqtt_sessions"),
                messages_in: counter!("fieldline_mqtt_messages_in_total"),
                messages_out: counter!("fieldline_mqtt_messages_out_total"),
                messages_dropped: counter!("fieldline_mqtt_messages_dropped_total"),
                messages_refused: counter!("fieldline_mqtt_messages_refused_total"),
                bytes_in: counter!("fieldline_mqtt_bytes_in_total"),
                bytes_out: counter!("fieldline_mqtt_bytes_out_total"),
            },
        })
    }

    /// Counts readings, or a message, set aside for a reason.
    pub(crate) fn quarantined(&self, reason: Reason, count: u64) {
        with_local_recorder(self.recorder.as_ref(), || {
            counter!("fieldline_quarantined_total", "reason" => reason.as_str()).increment(count);
        });
    }

    /// Counts a block that `storage` has settled.
    pub(crate) fn block(&self, outcome: Option<&storage::Outcome>, readings: u64) {
        match outcome {
            Some(storage::Outcome::Stored { .. }) => {
                self.blocks.increment(1);
                self.block_readings.increment(readings);
            }
            Some(storage::Outcome::Duplicate) => self.duplicates.increment(1),
            Some(storage::Outcome::Quarantined) => self.quarantined(Reason::Malformed, 1),
            None => {}
        }
    }

    /// Shows how rules fare: each of the first ones by its name, the others together.
    pub(crate) fn rules(&self, states: &[RuleState], outbox: usize) {
        with_local_recorder(self.recorder.as_ref(), || {
            let (shown, others) = states.split_at(states.len().min(RULES_SHOWN));
            for state in shown {
                let rule = || state.rule.name.clone();
                counter!("fieldline_rule_evaluations_total", "rule" => rule()).absolute(state.evaluations);
                counter!("fieldline_rule_nanoseconds_total", "rule" => rule()).absolute(state.nanos);
                counter!("fieldline_rule_errors_total", "rule" => rule()).absolute(state.errors);
                let disabled = f64::from(u8::from(state.disabled.is_some()));
                gauge!("fieldline_rule_disabled", "rule" => rule()).set(disabled);
                let disabled = state.instances_disabled as f64;
                gauge!("fieldline_rule_instances_disabled", "rule" => rule()).set(disabled);
            }
            if !others.is_empty() {
                let evaluations = others.iter().map(|state| state.evaluations).sum();
                counter!("fieldline_rule_evaluations_total", "rule" => "(others)").absolute(evaluations);
                let errors = others.iter().map(|state| state.errors).sum();
                counter!("fieldline_rule_errors_total", "rule" => "(others)").absolute(errors);
            }
            let instances: usize = states.iter().map(|state| state.instances).sum();
            gauge!("fieldline_rule_instances").set(instances as f64);
            gauge!("fieldline_rule_outbox").set(outbox as f64);
        });
    }

    /// Shows what rules have lost: effects that will never be delivered, and what they had no room for.
    pub(crate) fn rules_lost(&self, undelivered: Undelivered, crowding: Crowding) {
        with_local_recorder(self.recorder.as_ref(), || {
            let effects = |reason| counter!("fieldline_rules_undelivered_total", "reason" => reason);
            effects("refused").absolute(undelivered.refused);
            effects("dropped").absolute(undelivered.dropped);
            let unwatched = |what| counter!("fieldline_rules_unwatched_total", "what" => what);
            unwatched("devices").absolute(crowding.devices);
            unwatched("instances").absolute(crowding.instances);
            unwatched("samples").absolute(crowding.samples);
        });
    }

    /// Counts a notification by what became of it: `delivered`, `retried`, `refused`.
    pub(crate) fn notification(&self, result: &'static str) {
        with_local_recorder(self.recorder.as_ref(), || {
            counter!("fieldline_notifications_total", "result" => result).increment(1);
        });
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn render(&self, stats: &Stats) -> String {
        self.broker.connections.set(stats.connections as f64);
        self.broker.sessions.set(stats.sessions as f64);
        self.broker.messages_in.absolute(stats.messages_in);
        self.broker.messages_out.absolute(stats.messages_out);
        self.broker.messages_dropped.absolute(stats.messages_dropped);
        self.broker.messages_refused.absolute(stats.messages_refused);
        self.broker.bytes_in.absolute(stats.bytes_in);
        self.broker.bytes_out.absolute(stats.bytes_out);
        self.handle.render()
    }
}

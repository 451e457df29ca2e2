//! A status in words: where data is waiting, and why.

use fieldline_model::Timestamp;

use super::Status;
use crate::remote::RemoteState;
use crate::rules::Rules;
use crate::things::Shadows;

/// Tells a person what the agent is doing, a line for each thing worth knowing.
pub fn explain(status: &Status) -> String {
    let mut lines = vec![format!("gateway {}", status.gateway)];
    if let Some(trouble) = &status.trouble {
        lines.push(format!("TROUBLE: readings are not accepted at the moment, because: {trouble}"));
    }
    if let Some(books) = &status.books {
        let buffered: u64 = books.lanes.iter().map(|lane| lane.buffered.count()).sum();
        let stored: u64 = books.lanes.iter().map(|lane| lane.stored.count()).sum();
        let dropped: u64 =
            books.lanes.iter().flat_map(|lane| lane.dropped.values()).map(|ranges| ranges.count()).sum();
        let damaged: u64 = books.lanes.iter().map(|lane| lane.damaged.count()).sum();
        let quarantined = books.quarantined_count() + damaged;
        lines.push(format!(
            "readings: {} accepted = {} filtered + {buffered} buffered + {stored} stored + {dropped} dropped + {quarantined} quarantined",
            books.accepted, books.filtered
        ));
        lines.push(match books.balance() {
            0 => "the books balance".to_owned(),
            off => format!("the books do NOT balance: {off} readings are not accounted for"),
        });
        lines.push(why_waiting(status, buffered));
    }
    lines.push(link(status));
    lines.push(format!(
        "journal: {} of {} on disk",
        bytesize::ByteSize::b(status.journal_bytes),
        bytesize::ByteSize::b(status.journal_bytes_max)
    ));
    lines.push(format!("{} series, {} devices connected", status.series, status.connections));
    lines.extend(status.remote.as_ref().and_then(configuration));
    lines.extend(status.things.as_ref().filter(|things| **things != Shadows::default()).map(shadows));
    lines.extend(status.rules.as_ref().map(rules));
    lines.join("\n")
}

fn why_waiting(status: &Status, buffered: u64) -> String {
    if buffered == 0 {
        return "nothing is waiting: the store has acknowledged everything".to_owned();
    }
    let since = status.oldest_waiting.map(|oldest| format!(", the oldest for {}", ago(status.at, oldest)));
    let uplink = &status.uplink;
    let reason = if uplink.server.is_none() {
        "no server is configured (sync.server)"
    } else if uplink.connected_since.is_none() {
        "there is no link to the server"
    } else if uplink.pacing {
        "the backlog keeps to its pace (sync.bytes_per_second, sync.messages_per_second)"
    } else if uplink.in_flight > 0 {
        "they are on their way and the store has not acknowledged them yet"
    } else {
        "they are about to be sent"
    };
    format!("{buffered} readings are waiting{}, because {reason}", since.unwrap_or_default())
}

/// Nothing where nothing came from afar.
fn configuration(remote: &RemoteState) -> Option<String> {
    let short = |sha256: &String| sha256.chars().take(12).collect::<String>();
    let used = remote.sha256.as_ref().map(|sha256| match remote.is_trial {
        true => format!("{} from afar, which has yet to reach the server", short(sha256)),
        false => format!("{} from afar", short(sha256)),
    });
    let refused =
        remote.refused.as_ref().map(|(sha256, why)| format!("{} is not used: {why}", short(sha256)));
    let said: Vec<String> = used.into_iter().chain(refused).chain(remote.trouble.clone()).collect();
    (!said.is_empty()).then(|| format!("configuration: {}", said.join("; ")))
}

fn shadows(shadows: &Shadows) -> String {
    let Shadows { known, waiting, refused, unheard, damaged } = shadows;
    let troubles = [
        (*refused as u64, "that the server refuses"),
        (*unheard as u64, "filters that the server does not let us hear (see things.subscriptions_max)"),
        (*damaged, "damaged files set aside"),
    ];
    let troubles = troubles.iter().filter(|(count, _)| *count > 0);
    let troubles: String = troubles.map(|(count, what)| format!(", {count} {what}")).collect();
    format!("shadows: {known}, {waiting} of them not compared with the server's yet{troubles}")
}

fn rules(rules: &Rules) -> String {
    let disabled = rules.rules.iter().filter_map(|rule| Some((&rule.name, rule.disabled.as_ref()?)));
    let in_force = rules.rules.len() - disabled.clone().count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (rules_s, alarms_s) = (plural(in_force), plural(rules.active));
    let mut said =
        vec![format!("{in_force} rule{rules_s} in force, {} alarm{alarms_s} active", rules.active)];
    if rules.waiting > 0 {
        said.push(format!("{} effects not carried out yet", rules.waiting));
    }
    if rules.undelivered > 0 {
        said.push(format!("{} effects given up", rules.undelivered));
    }
    said.extend(disabled.map(|(name, reason)| format!("{name} is disabled: {reason}")));
    said.extend(rules.trouble.clone());
    said.join("; ")
}

fn link(status: &Status) -> String {
    let uplink = &status.uplink;
    let Some(server) = &uplink.server else { return "uplink: none configured".to_owned() };
    match uplink.connected_since {
        Some(since) => {
            let ack =
                uplink.last_ack.map_or("none yet".to_owned(), |ack| format!("{} ago", ago(status.at, ack)));
            format!(
                "uplink: connected to {server} for {}; last acknowledgement from the store: {ack}",
                ago(status.at, since)
            )
        }
        None => {
            let error = uplink.last_error.as_deref().unwrap_or("not tried yet");
            let down =
                uplink.down_since.map(|since| format!(" for {}", ago(status.at, since))).unwrap_or_default();
            let next = uplink.next_attempt.map(|next| format!("; next attempt in {}", ago(next, status.at)));
            format!(
                "uplink: no link to {server}{down} ({error}); {} attempts{}",
                uplink.attempts,
                next.unwrap_or_default()
            )
        }
    }
}

/// The time from `earlier` to `later`, rounded to seconds.
fn ago(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = later.nanos().saturating_sub(earlier.nanos()).max(0) / 1_000_000_000;
    humantime::format_duration(std::time::Duration::from_secs(seconds.unsigned_abs())).to_string()
}

#[cfg(test)]
mod tests {
    use fieldline_model::{Books, GatewayId, LaneBooks, RangeSet, SeqRange};

    use super::*;
    use crate::sync::UplinkState;

    fn status(buffered: &[(u64, u64)], uplink: UplinkState) -> Status {
        let buffered: RangeSet = buffered.iter().map(|(first, last)| SeqRange::new(*first, *last)).collect();
        let lane = LaneBooks { epoch: 1, last_seq: buffered.count(), buffered, ..LaneBooks::default() };
        Status {
            gateway: GatewayId::new("hall-7").unwrap(),
            at: Timestamp::from_nanos(100_000_000_000),
            books: Some(Books { accepted: lane.last_seq, lanes: vec![lane], ..Books::default() }),
            filtered: Default::default(),
            journal_bytes: 4096,
            journal_bytes_max: 1 << 30,
            oldest_waiting: Some(Timestamp::from_nanos(40_000_000_000)),
            series: 3,
            connections: 1,
            trouble: None,
            uplink,
            remote: None,
            things: None,
            rules: None,
        }
    }

    #[test]
    fn a_missing_link_is_named_as_the_reason() {
        let down = UplinkState {
            server: Some("mqtt://x:1884".into()),
            last_error: Some("refused".into()),
            ..UplinkState::default()
        };
        let text = explain(&status(&[(1, 50)], down));
        assert!(
            text.contains(
                "50 readings are waiting, the oldest for 1m, because there is no link to the server"
            ),
            "{text}"
        );
        assert!(text.contains("no link to mqtt://x:1884 (refused)"), "{text}");
        assert!(text.contains("the books balance"), "{text}");
    }

    #[test]
    fn pace_and_an_empty_journal_are_told_apart() {
        let up = UplinkState {
            server: Some("mqtt://x:1884".into()),
            connected_since: Some(Timestamp::EPOCH),
            pacing: true,
            ..UplinkState::default()
        };
        assert!(explain(&status(&[(1, 50)], up.clone())).contains("keeps to its pace"));
        assert!(explain(&status(&[], up)).contains("nothing is waiting"));
    }
}

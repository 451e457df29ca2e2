//! What the topic rules make of a message: the event of `ingest`.
//!
//! `SELECT encode(*, 'base64') AS block, topic(1) AS gateway, timestamp() AS received`, and the same
//! with `books` for the rule of that name. With Basic Ingest `topic(1)` is the gateway.

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fieldline_model::{GatewayId, Timestamp};
use serde_json::json;

use super::line::Rule;

/// The event's JSON.
pub(super) fn of_rule(rule: Rule, gateway: &GatewayId, payload: &[u8], received: Timestamp) -> Bytes {
    let name = match rule {
        Rule::Ingest => "block",
        Rule::Books => "books",
    };
    let event = json!({ name: STANDARD.encode(payload), "gateway": gateway, "received": received.millis() });
    Bytes::from(event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_columns_of_the_rule() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let received = Timestamp::from_nanos(1_767_225_600_123_456_789);
        let event = of_rule(Rule::Ingest, &gateway, &[0xff, 0, 1], received);
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event, json!({"block": "/wAB", "gateway": "gw-1", "received": 1_767_225_600_123_i64}));
        let event = of_rule(Rule::Books, &gateway, b"{}", received);
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event["books"], "e30=");
    }
}

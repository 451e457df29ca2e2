//! What the shadow is told in `reported.config`.

use serde_json::{Value, json};

use super::state::{Known, Refused};

/// A reason is no longer, in bytes: the shadow that it goes into holds 8 KiB, the document included.
const REASON_BYTES_MAX: usize = 512;

/// `{"status", "version", "sha256", "reason"}`; a reason that is null takes away the one before.
pub(super) fn report(status: &str, known: &Known, reason: Option<&str>) -> Value {
    let reason = reason.map(brief);
    json!({ "status": status, "version": known.version, "sha256": known.sha256, "reason": reason })
}

/// The same of a configuration that was not used.
pub(super) fn refusal(refused: &Refused) -> Value {
    json!({
        "status": refused.verdict, "version": refused.version, "sha256": refused.sha256,
        "reason": brief(&refused.reason),
    })
}

/// A reason that fits, whatever a document has in it.
pub(super) fn brief(reason: &str) -> String {
    // In JSON a control character takes six bytes.
    let reason: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if reason.len() <= REASON_BYTES_MAX {
        return reason;
    }
    const MORE: &str = " …";
    let end = reason.floor_char_boundary(REASON_BYTES_MAX - MORE.len());
    format!("{}{MORE}", reason.get(..end).unwrap_or_default())
}

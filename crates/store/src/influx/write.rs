//! Writing lines, in requests of bounded size; one bad line never takes the others with it.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::config::InfluxDialect;
use super::entry::Entry;
use super::http::{Call, Failure, Http, encode};
use super::line::Lines;
use super::reason::{Reason, line_refusal};
use crate::StoreError;

/// Smaller bodies gain nothing.
const GZIP_BYTES_MIN: usize = 256;

/// What became of a request.
enum Outcome {
    Taken,
    TooLarge,
    Refused { reason: Reason, dropped: Option<usize> },
}

/// Writes the lines of `entries`; gives those that the database never takes.
pub(super) async fn write(
    http: &Http,
    lines: &mut Lines<'_>,
    entries: &[Entry],
) -> Result<Vec<(Entry, Reason)>, StoreError> {
    let mut refused = Vec::new();
    let mut waiting: Vec<Range<usize>> = Vec::new();
    if !entries.is_empty() {
        waiting.push(0..entries.len());
    }
    while let Some(range) = waiting.pop() {
        let (body, end) = body(http, lines, entries, range.clone());
        if end < range.end {
            waiting.push(end..range.end);
        }
        let sent = range.start..end;
        let reason = match request(http, &body).await? {
            Outcome::Taken => continue,
            Outcome::TooLarge if sent.len() == 1 => Reason::TooLarge,
            Outcome::Refused { reason, dropped } if sent.len() == 1 || dropped == Some(sent.len()) => reason,
            // What was taken already is taken again, which changes nothing.
            Outcome::TooLarge | Outcome::Refused { .. } => {
                let middle = sent.start + sent.len() / 2;
                waiting.extend([middle..sent.end, sent.start..middle]);
                continue;
            }
        };
        refused.extend(entries.get(sent).unwrap_or_default().iter().map(|entry| (*entry, reason)));
    }
    Ok(refused)
}

/// As many lines of the range as a request may hold, and where the next one begins.
fn body(http: &Http, lines: &mut Lines<'_>, entries: &[Entry], range: Range<usize>) -> (String, usize) {
    let (lines_max, bytes_max) = (http.config().lines_max, http.config().bytes_max);
    let mut body = String::new();
    let mut end = range.start;
    for entry in entries.get(range).unwrap_or_default().iter().take(lines_max) {
        let before = body.len();
        lines.push(*entry, &mut body);
        if body.len() > bytes_max && before > 0 {
            body.truncate(before);
            break;
        }
        end += 1;
    }
    (body, end)
}

async fn request(http: &Http, body: &str) -> Result<Outcome, StoreError> {
    let gzip = body.len() >= GZIP_BYTES_MIN;
    let body = if gzip { compress(body.as_bytes()) } else { Bytes::copy_from_slice(body.as_bytes()) };
    let call = Call { path: path(http), content_type: "text/plain; charset=utf-8", gzip, body };
    let reply = http.call(&call).await?;
    let status = reply.status.as_u16();
    if reply.status.is_success() {
        return Ok(Outcome::Taken);
    }
    if status == 413 {
        return Ok(Outcome::TooLarge);
    }
    let message = http.message(&reply.body);
    match line_refusal(status, &message) {
        Some(refusal) => {
            tracing::debug!(status, message, "the database does not take some of the lines");
            Ok(Outcome::Refused { reason: refusal.reason, dropped: refusal.dropped })
        }
        None => {
            let hint = "check the settings".to_owned();
            Err(http.rejected(Failure::Status { status: reply.status, message, hint }))
        }
    }
}

fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Bytes::from(packed.expect("a Vec takes all that is written to it"))
}

fn path(http: &Http) -> String {
    let config = http.config();
    let mut path = match config.dialect {
        InfluxDialect::V1 => "/write?precision=ns&db=",
        InfluxDialect::V2 | InfluxDialect::V3 => "/api/v2/write?precision=ns&bucket=",
        InfluxDialect::VictoriaMetrics if config.database.is_empty() => {
            return "/write?precision=ms".to_owned();
        }
        InfluxDialect::VictoriaMetrics => "/write?precision=ms&db=",
    }
    .to_owned();
    encode(&config.database, &mut path);
    if config.dialect == InfluxDialect::V2 {
        path.push_str("&org=");
        encode(&config.org, &mut path);
    }
    path
}

//! `/api/v1/alarms` and `/api/v1/rules`: what is wrong, what was done about it, and the rules that say so.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldline_model::{DeviceId, Timestamp};
use fieldline_rules::{Operation, Severity};
use query::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::{AlarmSought, Refused, RulesDesk};
use super::history::{HistoryQuery, Line};
use crate::broker::now;
use crate::data_plane::Failure;

/// The largest body, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Lines of a page, or alarms, where nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// The longest name of an operator and the longest remark, in bytes.
const BY_BYTES_MAX: usize = 128;
const COMMENT_BYTES_MAX: usize = 1_024;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// The longest that an alarm is shelved, in seconds: a year.
const SHELVED_S_MAX: u64 = 366 * 24 * 3600;

/// The routes.
pub(crate) fn router(desk: RulesDesk) -> Router {
    Router::new()
        .route("/api/v1/alarms", get(alarms))
        .route("/api/v1/alarms/history", get(history))
        .route("/api/v1/alarms/{*path}", get(alarm).post(operate))
        .route("/api/v1/rules", get(rules))
        .route("/api/v1/rules/reload", post(reload))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(no_web_page))
        .with_state(desk)
}

async fn no_web_page(request: Request, next: Next) -> Response {
    match Failure::of_web_page(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.problem().into_response(),
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the request makes no sense", detail.into())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sought {
    state: Option<String>,
    device: Option<String>,
    severity: Option<Severity>,
    limit: Option<usize>,
}

/// `{"alarms": […], "total"}`, the newest first: those that are not normal.
async fn alarms(
    State(desk): State<RulesDesk>,
    sought: Result<Query<Sought>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(sought) = sought.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = page(sought.limit)?;
    let state = sought.state.as_deref().map(str::parse::<AlarmSought>).transpose().map_err(bad)?;
    let device = sought.device.as_deref().map(device).transpose()?;
    let mut found = desk.alarms().await?;
    found.retain(|told| {
        state.is_none_or(|state| state.takes(&told.alarm))
            && device.as_ref().is_none_or(|device| told.alarm.device == *device)
            && sought.severity.is_none_or(|severity| told.alarm.severity == severity)
    });
    let total = found.len();
    found.truncate(limit);
    Ok(Json(json!({ "alarms": found, "total": total })))
}

/// One alarm, `null` when it is normal, and what the history knows of it.
async fn alarm(State(desk): State<RulesDesk>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let alarm = desk.alarms().await?.into_iter().find(|told| told.alarm.id == id);
    let query = HistoryQuery { alarm: Some(id.clone()), limit: PAGE, ..HistoryQuery::default() };
    let (lines, _more) = desk.book().history(&query).await;
    if alarm.is_none() && lines.is_empty() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not found", format!("there is no alarm {id:?}")));
    }
    Ok(Json(json!({ "alarm": alarm, "history": shown(&lines) })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    device: Option<String>,
    alarm: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    next: Option<String>,
}

/// `{"history": […], "next"?}`, the newest first.
async fn history(
    State(desk): State<RulesDesk>,
    past: Result<Query<Past>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(past) = past.map_err(|rejection| bad(rejection.body_text()))?;
    let query = HistoryQuery {
        device: past.device.as_deref().map(device).transpose()?,
        alarm: past.alarm,
        from: past.from.as_deref().map(time).transpose()?,
        to: past.to.as_deref().map(time).transpose()?,
        limit: page(past.limit)?,
        next: past.next,
    };
    let (lines, next) = desk.book().history(&query).await;
    let mut answer = json!({ "history": shown(&lines) });
    if let Some(next) = next {
        answer["next"] = json!(next);
    }
    Ok(Json(answer))
}

fn shown(lines: &[std::sync::Arc<Line>]) -> Vec<&Line> {
    lines.iter().map(AsRef::as_ref).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    by: String,
    comment: Option<String>,
    reason: Option<String>,
    /// RFC 3339.
    until: Option<Timestamp>,
    /// Instead of `until`: from now.
    #[serde(rename = "for")]
    hold: Option<String>,
}

/// `POST /api/v1/alarms/<id>/{ack,shelve,unshelve,suppress,unsuppress,comment}`: the alarm afterwards.
async fn operate(
    State(desk): State<RulesDesk>,
    Path(path): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (id, word) = path.rsplit_once('/').ok_or_else(|| bad("an alarm and a word are needed"))?;
    let body = body.map_err(|_| bad(format!("the body has {BODY_BYTES_MAX} bytes at most")))?;
    let wish: Wish = serde_json::from_slice(&body)
        .map_err(|error| bad(format!("{{\"by\", …}} is needed, so that the history says who: {error}")))?;
    within("by", &wish.by, BY_BYTES_MAX)?;
    let by = wish.by.clone();
    let operation = operation(word, wish)?;
    Ok(Json(desk.operate(id, &by, operation).await?).into_response())
}

fn operation(word: &str, wish: Wish) -> Result<Operation, Problem> {
    if let Some(comment) = &wish.comment {
        within("comment", comment, COMMENT_BYTES_MAX)?;
    }
    Ok(match word {
        "ack" => Operation::Acknowledge { comment: wish.comment },
        "shelve" => {
            let until = until(wish.until, wish.hold.as_deref())?;
            let reason = wish.reason.or(wish.comment).ok_or_else(|| bad("shelve needs a reason"))?;
            within("reason", &reason, COMMENT_BYTES_MAX)?;
            Operation::Shelve { until, reason }
        }
        "unshelve" => Operation::Unshelve,
        "suppress" => {
            let reason = wish.reason.or(wish.comment).ok_or_else(|| bad("suppress needs a reason"))?;
            within("reason", &reason, COMMENT_BYTES_MAX)?;
            Operation::Suppress { reason }
        }
        "unsuppress" => Operation::Unsuppress,
        "comment" => {
            let comment = wish.comment.ok_or_else(|| bad("comment needs a comment"))?;
            Operation::Comment { comment }
        }
        other => {
            let words = "ack, shelve, unshelve, suppress, unsuppress, comment";
            return Err(bad(format!("{other:?} is none of {words}")));
        }
    })
}

/// Until when an alarm is shelved.
fn until(until: Option<Timestamp>, hold: Option<&str>) -> Result<Timestamp, Problem> {
    let now = now();
    let latest = now.saturating_add_nanos((SHELVED_S_MAX * NANOS_PER_SECOND).cast_signed());
    let until = match (until, hold) {
        (Some(until), None) => until,
        (None, Some(hold)) => {
            let hold = humantime::parse_duration(hold)
                .map_err(|error| bad(format!("for={hold:?} is no duration such as 2h: {error}")))?;
            now.saturating_add_nanos(i64::try_from(hold.as_nanos()).unwrap_or(i64::MAX))
        }
        _ => return Err(bad("shelve needs either until (RFC 3339) or for (such as 2h)")),
    };
    match until > now && until <= latest {
        true => Ok(until),
        false => Err(bad(format!("an alarm is shelved until a time to come, a year at most; not {until}"))),
    }
}

async fn rules(State(desk): State<RulesDesk>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(desk.rules().await?)))
}

/// Reads the files again: what `GET /api/v1/rules` says afterwards.
async fn reload(State(desk): State<RulesDesk>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(desk.reload().await?)))
}

fn page(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    match (1..=PAGE_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(bad(format!("limit={limit}: must be 1 to {PAGE_MAX}"))),
    }
}

fn within(key: &str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    match (1..=bytes_max).contains(&text.trim().len()) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(bad(format!("{key} has 1 to {bytes_max} bytes and no control characters"))),
    }
}

fn device(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|error| bad(error.to_string()))
}

/// RFC 3339, or milliseconds since the epoch.
fn time(text: &str) -> Result<Timestamp, Problem> {
    let time = match text.parse::<i64>() {
        Ok(millis) => Timestamp::from_millis(millis),
        Err(_) => text.parse(),
    };
    time.map_err(|error| bad(error.to_string()))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, title) = match refused {
            Refused::Unknown(_) => (StatusCode::NOT_FOUND, "not found"),
            Refused::State(_) => (StatusCode::CONFLICT, "conflict"),
            Refused::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "not stored"),
        };
        Self::new(status, title, refused.to_string())
    }
}

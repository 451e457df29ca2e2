//! `/api/v1/things/<thing>/commands` and `/api/v1/commands`: send, watch, list and cancel commands.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldline_model::{CommandName, CommandStatus, ExecutionId, ThingName};
use query::Problem;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::desk::{CommandDesk, Which};
use super::execution::{Execution, Order};
use super::state::Refused;
use crate::data_plane::Failure;
use crate::stop;

/// The largest body: parameters, and what stands around them. AWS IoT takes payloads of 32 KiB.
const BODY_BYTES_MAX: usize = 32 * 1024;
/// How long a command is delivered where nothing is said, in seconds.
const TIMEOUT_S: u64 = 60;
/// The longest time that one may be, in seconds.
const TIMEOUT_S_MAX: u64 = 7 * 24 * 3600;
/// How long a request may wait for a change, in seconds.
const WAIT_S_MAX: u64 = 30;
/// Commands in a list where nothing is said.
const LISTED: usize = 100;
/// Commands in a list at most.
const LISTED_MAX: usize = 1000;

#[derive(Debug, Clone)]
struct Face {
    desk: CommandDesk,
    /// Requests that wait are answered when the server stops.
    closing: watch::Receiver<bool>,
}

/// The routes.
pub(crate) fn router(desk: CommandDesk, closing: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/api/v1/things/{thing}/commands", post(create).get(of_thing))
        .route("/api/v1/commands", get(list))
        .route("/api/v1/commands/{id}", get(show).delete(cancel))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Face { desk, closing })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    command: CommandName,
    parameters: Option<Value>,
    timeout_s: Option<u64>,
}

async fn create(
    State(face): State<Face>,
    Path(thing): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    not_of_web_page(&headers)?;
    let body = body.map_err(|_broken_or_too_large| {
        let detail = format!("a command has {BODY_BYTES_MAX} bytes at most, its parameters included");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body too large", detail)
    })?;
    let body: Body = serde_json::from_slice(&body).map_err(|error| {
        bad(format!("{{\"command\", \"parameters\"?, \"timeout_s\"?}} is taken: {error}"))
    })?;
    let timeout_s = body.timeout_s.unwrap_or(TIMEOUT_S);
    if !(1..=TIMEOUT_S_MAX).contains(&timeout_s) {
        return Err(bad(format!("timeout_s is 1 to {TIMEOUT_S_MAX} (7 days)")));
    }
    let order = Order {
        thing: thing_name(&thing)?,
        command: body.command,
        parameters: body.parameters,
        timeout_ms: i64::try_from(timeout_s).unwrap_or(i64::MAX).saturating_mul(1000),
        id: None,
    };
    let execution = face.desk.create(order).await?;
    let location = format!("/api/v1/commands/{}", execution.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(&*execution)).into_response())
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default, deserialize_with = "status")]
    status: Option<CommandStatus>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Watched {
    /// Seconds.
    wait: Option<u64>,
    #[serde(default, rename = "while", deserialize_with = "status")]
    status: Option<CommandStatus>,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CommandStatus>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

async fn of_thing(
    State(face): State<Face>,
    Path(thing): Path<String>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Response, Problem> {
    found(&face, Some(thing_name(&thing)?), listed).await
}

async fn list(
    State(face): State<Face>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Response, Problem> {
    found(&face, None, listed).await
}

async fn found(
    face: &Face,
    thing: Option<ThingName>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Listed { status, limit }) = listed.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = limit.unwrap_or(LISTED);
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(bad(format!("limit is 1 to {LISTED_MAX}")));
    }
    let commands = face.desk.list(Which { thing, status, limit }).await?;
    let commands: Vec<&Execution> = commands.iter().map(AsRef::as_ref).collect();
    Ok(Json(json!({ "commands": commands })).into_response())
}

async fn show(
    State(mut face): State<Face>,
    Path(id): Path<String>,
    watched: Result<Query<Watched>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Watched { wait, status }) = watched.map_err(|rejection| bad(rejection.body_text()))?;
    let (id, wait) = (execution_id(&id)?, wait.unwrap_or(0));
    if wait > WAIT_S_MAX {
        return Err(bad(format!("wait is 0 to {WAIT_S_MAX} seconds")));
    }
    let waited = match wait {
        0 => None,
        seconds => {
            let changed = face.desk.wait(id.clone(), status);
            tokio::select! {
                outcome = changed => Some(outcome),
                () = tokio::time::sleep(Duration::from_secs(seconds)) => None,
                () = stop::told(&mut face.closing) => None,
            }
        }
    };
    let execution = match waited {
        Some(outcome) => outcome?,
        None => face.desk.get(id).await?,
    };
    Ok(Json(&*execution).into_response())
}

async fn cancel(
    State(face): State<Face>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    not_of_web_page(&headers)?;
    let execution = face.desk.cancel(execution_id(&id)?).await?;
    Ok(Json(&*execution).into_response())
}

fn not_of_web_page(headers: &HeaderMap) -> Result<(), Problem> {
    Failure::of_web_page(headers).map_err(|_| {
        let detail = "a page in a browser sends no commands; use the command line or a program";
        Problem::new(StatusCode::FORBIDDEN, "requests of web pages are not taken", detail.to_owned())
    })
}

fn thing_name(text: &str) -> Result<ThingName, Problem> {
    ThingName::new(text).map_err(|error| bad(error.to_string()))
}

fn execution_id(text: &str) -> Result<ExecutionId, Problem> {
    ExecutionId::new(text).map_err(|error| bad(error.to_string()))
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the request makes no sense", detail)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, title) = match refused {
            Refused::NoSuch(_) => (StatusCode::NOT_FOUND, "not found"),
            Refused::Ended(_) => (StatusCode::CONFLICT, "the command has ended"),
            Refused::ThingFull(_) | Refused::Full(_) | Refused::NoRoom => {
                (StatusCode::TOO_MANY_REQUESTS, "too many commands wait")
            }
            Refused::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "not stored"),
        };
        Self::new(status, title, refused.to_string())
    }
}

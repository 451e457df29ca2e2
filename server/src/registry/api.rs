//! `/api/v1/things`: the registry as the other parts of the API have it, with problem documents.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fieldline_model::{ShadowId, ShadowName, ThingName};
use fieldline_registry::{AttributePayload, CreateThing, Registry, Thing, ThingFilter};
use fieldline_store::Shadows;
use query::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Keeper;
use crate::data_plane::Failure;
use crate::shadows::now_s;

/// Things of a page where nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Names of shadows that are told of a thing.
const SHADOWS_MAX: usize = 100;
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Face {
    keeper: Keeper,
    shadows: Arc<dyn Shadows>,
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Face")
    }
}

/// The routes.
pub(crate) fn router(keeper: Keeper, shadows: Arc<dyn Shadows>) -> Router {
    Router::new()
        .route("/api/v1/things", get(list).post(add))
        .route("/api/v1/things/{thing}", get(show).delete(remove))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(no_web_page))
        .with_state(Face { keeper, shadows })
}

async fn no_web_page(request: Request, next: Next) -> Response {
    match Failure::of_web_page(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.problem().into_response(),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the request cannot be answered", detail)
}

/// An error of the registry as a problem document.
fn problem(error: fieldline_registry::Error) -> Problem {
    Failure::from(error).problem()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    limit: Option<usize>,
    next: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
}

/// `{"things": [{"thing", "type"?, "attributes", "groups", "version", "shadows"}], "next"?}`, by name.
async fn list(
    State(face): State<Face>,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(params) = params.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("limit={limit}: must be 1 to {PAGE_MAX}; follow `next` for more")));
    }
    let filter = ThingFilter { type_name: params.type_name, ..ThingFilter::default() };
    let (found, next) = face.keeper.handle().read(|registry| {
        let page = registry.list_things(&filter, params.next.as_deref(), limit).map_err(problem)?;
        let found: Vec<Thing> = page.items.into_iter().cloned().collect();
        Ok::<_, Problem>((found, page.next))
    })?;
    let mut things = Vec::with_capacity(found.len());
    for thing in &found {
        let mut answer = summary(thing);
        answer["shadows"] = json!(shadows(&face, &thing.name).await?);
        things.push(answer);
    }
    let mut answer = json!({ "things": things });
    if let Some(next) = next {
        answer["next"] = json!(next);
    }
    Ok(Json(answer))
}

fn summary(thing: &Thing) -> Value {
    let mut answer = json!({
        "thing": thing.name,
        "attributes": thing.attributes,
        "groups": thing.groups,
        "version": thing.version,
    });
    if let Some(type_name) = &thing.type_name {
        answer["type"] = json!(type_name);
    }
    answer
}

/// The names of a thing's named shadows.
async fn shadows(face: &Face, thing: &str) -> Result<Vec<ShadowName>, Problem> {
    let Ok(thing) = ThingName::new(thing) else { return Ok(Vec::new()) };
    face.shadows.named_shadows(&thing, None, SHADOWS_MAX).await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a thing's shadows could not be read");
    let detail = "the store cannot be read at the moment; the server's log says why";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the store failed", detail.to_owned())
}

/// As in the list, and `"id"`, `"arn"`, `"certificates"`, and `"connected"` where presence is kept.
async fn show(State(face): State<Face>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let mut answer = face.keeper.handle().read(|registry| {
        let thing = registry.thing(&name).map_err(problem)?;
        let mut answer = summary(thing);
        answer["id"] = json!(thing.id);
        answer["arn"] = json!(thing.arn());
        answer["certificates"] = json!(certificates(registry, thing));
        Ok::<_, Problem>(answer)
    })?;
    answer["shadows"] = json!(shadows(&face, &name).await?);
    if let Some(connected) = connected(&face, &name).await? {
        answer["connected"] = connected;
    }
    Ok(Json(answer))
}

fn certificates(registry: &Registry, thing: &Thing) -> Vec<Value> {
    let found = thing.principals.iter().filter_map(|id| registry.certificate(id).ok());
    found
        .map(|certificate| {
            let policies: Vec<&str> =
                registry.policies_of(certificate).iter().map(|policy| policy.name.as_str()).collect();
            json!({
                "id": certificate.id,
                "status": certificate.status.as_str(),
                "not_before": certificate.not_before_s,
                "not_after": certificate.not_after_s,
                "policies": policies,
            })
        })
        .collect()
}

/// What the shadow `presence` reports; none where there is no such shadow.
async fn connected(face: &Face, thing: &str) -> Result<Option<Value>, Problem> {
    let (Ok(thing), Ok(name)) = (ThingName::new(thing), ShadowName::new("presence")) else {
        return Ok(None);
    };
    let shadow = ShadowId { thing, name: Some(name) };
    let stored = face.shadows.shadow(&shadow).await.map_err(|error| unreadable(&error))?;
    let document = stored.shadow(&shadow.to_string()).ok().map(|found| found.document(now_s(), None));
    Ok(document.and_then(|document| document.pointer("/state/reported/connected").cloned()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    thing: String,
    #[serde(rename = "type")]
    type_name: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// 201 with the thing; the same again is as good.
async fn add(State(face): State<Face>, body: Result<Json<New>, JsonRejection>) -> Result<Response, Problem> {
    let Json(new) = body.map_err(|rejection| bad(rejection.body_text()))?;
    let attributes = AttributePayload { attributes: Some(new.attributes), merge: false };
    let request = CreateThing { name: new.thing, type_name: new.type_name, attributes };
    let created = face.keeper.change(|registry, fresh| registry.create_thing(request, fresh)).await;
    let thing = created.map_err(Failure::problem)?;
    Ok((StatusCode::CREATED, Json(summary(&thing))).into_response())
}

/// 204; 404 where there is none.
async fn remove(State(face): State<Face>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let check = move |registry: &Registry, _| {
        registry.thing(&name)?;
        registry.delete_thing(&name, None)
    };
    face.keeper.change(check).await.map_err(Failure::problem)?;
    Ok(StatusCode::NO_CONTENT)
}

//! What is attached to what: policies to certificates and groups, certificates to things.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use fieldline_registry::{Page, Target};
use serde::Deserialize;
use serde_json::json;

use super::read::{Body, Named, Paging, Parameters, flag};
use super::{ControlPlane, Reply, done, listed};
use crate::data_plane::Failure;

/// How a principal is attached here: to as many things as there may be.
const PRINCIPAL_TYPE: &str = "NON_EXCLUSIVE_THING";
/// Where AWS's clients name a certificate by its ARN.
const PRINCIPAL: &str = "x-amzn-principal";

pub(super) fn routes() -> Router<ControlPlane> {
    Router::new()
        .route("/target-policies/{policy}", put(attach_policy).post(detach_policy))
        .route("/attached-policies/{*target}", post(attached_policies))
        .route("/policy-targets/{policy}", post(targets))
        .route("/things/{thing}/principals", get(principals).put(attach).delete(detach))
        .route("/things/{thing}/principals-v2", get(principals_with_type))
        .route("/principals/things", get(things))
        .route("/principals/things-v2", get(things_with_type))
}

#[derive(Debug, Deserialize)]
struct To {
    target: String,
}

async fn attach_policy(
    State(plane): State<ControlPlane>,
    Named(policy): Named<String>,
    Body(body): Body<To>,
) -> Reply {
    let target: Target = body.target.parse()?;
    plane.keeper.change(move |registry, _| registry.attach_policy(&policy, &target)).await?;
    done()
}

async fn detach_policy(
    State(plane): State<ControlPlane>,
    Named(policy): Named<String>,
    Body(body): Body<To>,
) -> Reply {
    let target: Target = body.target.parse()?;
    plane.keeper.change(move |registry, _| registry.detach_policy(&policy, &target)).await?;
    done()
}

#[derive(Debug, Deserialize)]
struct Recursive {
    recursive: Option<String>,
}

async fn attached_policies(
    State(plane): State<ControlPlane>,
    Named(target): Named<String>,
    Parameters(parameters): Parameters<Recursive>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let recursive = flag(parameters.recursive.as_ref())?.unwrap_or_default();
    let target: Target = target.parse()?;
    plane.keeper.handle().read(|registry| {
        let page = registry.list_attached_policies(&target, recursive, after.as_deref(), limit)?;
        let item = |policy: &&fieldline_registry::Policy| {
            json!({ "policyName": policy.name, "policyArn": policy.arn() })
        };
        Ok(Json(listed(page, "policies", "nextMarker", item)))
    })
}

async fn targets(
    State(plane): State<ControlPlane>,
    Named(policy): Named<String>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let page =
        plane.keeper.handle().read(|registry| registry.list_targets(&policy, after.as_deref(), limit))?;
    Ok(Json(listed(page, "targets", "nextMarker", |arn| json!(arn))))
}

fn principal(headers: &HeaderMap) -> Result<String, Failure> {
    let named = headers.get(PRINCIPAL).and_then(|value| value.to_str().ok());
    named.map(str::to_owned).ok_or_else(|| Failure::invalid(format!("the header {PRINCIPAL} is needed")))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalType {
    thing_principal_type: Option<String>,
}

async fn attach(
    State(plane): State<ControlPlane>,
    Named(thing): Named<String>,
    Parameters(parameters): Parameters<PrincipalType>,
    headers: HeaderMap,
) -> Reply {
    if parameters.thing_principal_type.is_some_and(|word| word != PRINCIPAL_TYPE) {
        return Err(Failure::invalid(format!("a principal is {PRINCIPAL_TYPE} here")));
    }
    let principal = principal(&headers)?;
    plane.keeper.change(move |registry, _| registry.attach_principal(&thing, &principal)).await?;
    done()
}

async fn detach(State(plane): State<ControlPlane>, Named(thing): Named<String>, headers: HeaderMap) -> Reply {
    let principal = principal(&headers)?;
    plane.keeper.change(move |registry, _| registry.detach_principal(&thing, &principal)).await?;
    done()
}

/// Whether those of a kind of attachment are listed: all are of one.
fn lists(wanted: &PrincipalType) -> bool {
    wanted.thing_principal_type.as_deref().is_none_or(|word| word == PRINCIPAL_TYPE)
}

fn principal_page(plane: &ControlPlane, thing: &str, paging: &Paging) -> Result<Page<String>, Failure> {
    let (limit, after) = paging.read()?;
    Ok(plane.keeper.handle().read(|registry| registry.list_principals(thing, after.as_deref(), limit))?)
}

async fn principals(
    State(plane): State<ControlPlane>,
    Named(thing): Named<String>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let page = principal_page(&plane, &thing, &paging)?;
    Ok(Json(listed(page, "principals", "nextToken", |arn| json!(arn))))
}

async fn principals_with_type(
    State(plane): State<ControlPlane>,
    Named(thing): Named<String>,
    Parameters(paging): Parameters<Paging>,
    Parameters(wanted): Parameters<PrincipalType>,
) -> Reply {
    let page = principal_page(&plane, &thing, &paging)?;
    let page = if lists(&wanted) { page } else { Page { items: Vec::new(), next: None } };
    let item = |arn: &String| json!({ "principal": arn, "thingPrincipalType": PRINCIPAL_TYPE });
    Ok(Json(listed(page, "thingPrincipalObjects", "nextToken", item)))
}

fn thing_page(plane: &ControlPlane, headers: &HeaderMap, paging: &Paging) -> Result<Page<String>, Failure> {
    let (limit, after) = paging.read()?;
    let principal = principal(headers)?;
    plane.keeper.handle().read(|registry| {
        let page = registry.list_things_of(&principal, after.as_deref(), limit)?;
        Ok(Page { items: page.items.into_iter().map(str::to_owned).collect(), next: page.next })
    })
}

async fn things(
    State(plane): State<ControlPlane>,
    Parameters(paging): Parameters<Paging>,
    headers: HeaderMap,
) -> Reply {
    let page = thing_page(&plane, &headers, &paging)?;
    Ok(Json(listed(page, "things", "nextToken", |thing| json!(thing))))
}

async fn things_with_type(
    State(plane): State<ControlPlane>,
    Parameters(paging): Parameters<Paging>,
    Parameters(wanted): Parameters<PrincipalType>,
    headers: HeaderMap,
) -> Reply {
    let page = thing_page(&plane, &headers, &paging)?;
    let page = if lists(&wanted) { page } else { Page { items: Vec::new(), next: None } };
    let item = |thing: &String| json!({ "thingName": thing, "thingPrincipalType": PRINCIPAL_TYPE });
    Ok(Json(listed(page, "principalThingObjects", "nextToken", item)))
}

//! `/policies`: policies and the versions of their documents.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::certificates::Order;
use super::read::{Body, Named, Paging, Parameters, flag};
use super::{ControlPlane, Reply, done, listed, seconds};
use crate::data_plane::Failure;

pub(super) fn routes() -> Router<ControlPlane> {
    let version = get(describe_version).patch(set_default).delete(delete_version);
    Router::new()
        .route("/policies", get(list))
        .route("/policies/{policy}", get(describe).post(create).delete(delete))
        .route("/policies/{policy}/version", get(list_versions).post(create_version))
        .route("/policies/{policy}/version/{version}", version)
}

/// Whether a document can be a policy's.
fn check_policy(document: &str) -> Result<(), Failure> {
    let malformed =
        |message: String| Failure::new(StatusCode::BAD_REQUEST, "MalformedPolicyException", message);
    if fieldline_policy::size(document) > fieldline_policy::SIZE_MAX {
        let max = fieldline_policy::SIZE_MAX;
        return Err(malformed(format!("a policy document has {max} characters at most, without blanks")));
    }
    match fieldline_policy::Document::parse(document) {
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(format!("the policy document is not valid: {}", chain(&error)))),
    }
}

/// An error and what lies behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let below = error.source().map_or_else(String::new, |source| format!(": {}", chain(source)));
    format!("{error}{below}")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    policy_document: String,
}

async fn create(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Document>,
) -> Reply {
    let document = body.policy_document;
    check_policy(&document)?;
    let policy =
        plane.keeper.change(move |registry, fresh| registry.create_policy(&name, &document, fresh)).await?;
    Ok(Json(json!({
        "policyName": policy.name,
        "policyArn": policy.arn(),
        "policyDocument": policy.document(),
        "policyVersionId": policy.default_version.to_string(),
    })))
}

async fn describe(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    let policy = plane.keeper.handle().read(|registry| registry.policy(&name).cloned())?;
    Ok(Json(json!({
        "policyName": policy.name,
        "policyArn": policy.arn(),
        "policyDocument": policy.document(),
        "defaultVersionId": policy.default_version.to_string(),
        "creationDate": seconds(policy.created_ms),
        "lastModifiedDate": seconds(policy.modified_ms),
        "generationId": policy.next_version.to_string(),
    })))
}

async fn delete(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    plane.keeper.change(move |registry, _| registry.delete_policy(&name)).await?;
    done()
}

async fn list(
    State(plane): State<ControlPlane>,
    Parameters(order): Parameters<Order>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let ascending = order.ascending()?.unwrap_or(true);
    plane.keeper.handle().read(|registry| {
        let page = registry.list_policies(ascending, after.as_deref(), limit);
        let item = |policy: &&fieldline_registry::Policy| {
            json!({ "policyName": policy.name, "policyArn": policy.arn() })
        };
        Ok(Json(listed(page, "policies", "nextMarker", item)))
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AsDefault {
    set_as_default: Option<String>,
}

async fn create_version(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Parameters(parameters): Parameters<AsDefault>,
    Body(body): Body<Document>,
) -> Reply {
    let document = body.policy_document;
    check_policy(&document)?;
    let is_default = flag(parameters.set_as_default.as_ref())?.unwrap_or_default();
    let (policy, text) = (name.clone(), document.clone());
    let created = plane
        .keeper
        .change(move |registry, fresh| registry.create_policy_version(&policy, &text, is_default, fresh))
        .await?;
    Ok(Json(json!({
        "policyArn": fieldline_registry::arn::ArnKind::Policy.of(&name),
        "policyDocument": document,
        "policyVersionId": created.number.to_string(),
        "isDefaultVersion": created.is_default,
    })))
}

async fn list_versions(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    let policy = plane.keeper.handle().read(|registry| registry.policy(&name).cloned())?;
    let versions: Vec<Value> = policy
        .versions
        .iter()
        .rev()
        .map(|(number, version)| {
            json!({
                "versionId": number.to_string(),
                "isDefaultVersion": *number == policy.default_version,
                "createDate": seconds(version.created_ms),
            })
        })
        .collect();
    Ok(Json(json!({ "policyVersions": versions })))
}

fn version_number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::invalid("a policy version is a whole number"))
}

async fn describe_version(
    State(plane): State<ControlPlane>,
    Named((name, version)): Named<(String, String)>,
) -> Reply {
    let number = version_number(&version)?;
    plane.keeper.handle().read(|registry| {
        let policy = registry.policy(&name)?;
        let found = policy.version(number)?;
        Ok(Json(json!({
            "policyName": policy.name,
            "policyArn": policy.arn(),
            "policyDocument": found.document,
            "policyVersionId": version,
            "isDefaultVersion": number == policy.default_version,
            "creationDate": seconds(found.created_ms),
            "lastModifiedDate": seconds(found.created_ms),
            "generationId": version,
        })))
    })
}

async fn set_default(
    State(plane): State<ControlPlane>,
    Named((name, version)): Named<(String, String)>,
) -> Reply {
    let number = version_number(&version)?;
    let check = move |registry: &fieldline_registry::Registry, fresh| {
        registry.set_default_policy_version(&name, number, fresh)
    };
    plane.keeper.change(check).await?;
    done()
}

async fn delete_version(
    State(plane): State<ControlPlane>,
    Named((name, version)): Named<(String, String)>,
) -> Reply {
    let number = version_number(&version)?;
    plane.keeper.change(move |registry, fresh| registry.delete_policy_version(&name, number, fresh)).await?;
    done()
}

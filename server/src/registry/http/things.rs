//! `/things`: CreateThing, DescribeThing, UpdateThing, DeleteThing, ListThings.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use fieldline_registry::{AttributePayload, CreateThing, Thing, ThingFilter, UpdateThing};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Named, Paging, Parameters, flag, number};
use super::{ControlPlane, Reply, done, listed};
use crate::data_plane::Failure;

pub(super) fn routes() -> Router<ControlPlane> {
    let one = get(describe).post(create).patch(update).delete(delete);
    Router::new().route("/things", get(list)).route("/things/{thing}", one)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    thing_type_name: Option<String>,
    attribute_payload: Option<AttributePayload>,
    billing_group_name: Option<String>,
}

async fn create(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Create>,
) -> Reply {
    if body.billing_group_name.is_some() {
        return Err(Failure::invalid("there are no billing groups here"));
    }
    let attributes = body.attribute_payload.unwrap_or_default();
    let request = CreateThing { name, type_name: body.thing_type_name, attributes };
    let thing = plane.keeper.change(|registry, fresh| registry.create_thing(request, fresh)).await?;
    Ok(Json(json!({ "thingName": thing.name, "thingArn": thing.arn(), "thingId": thing.id })))
}

async fn describe(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    let thing = plane.keeper.handle().read(|registry| registry.thing(&name).cloned())?;
    let mut answer = summary(&thing);
    answer["thingId"] = json!(thing.id);
    answer["defaultClientId"] = json!(thing.name);
    Ok(Json(answer))
}

/// What a list says of a thing.
fn summary(thing: &Thing) -> Value {
    let mut answer = json!({
        "thingName": thing.name,
        "thingArn": thing.arn(),
        "attributes": thing.attributes,
        "version": thing.version,
    });
    if let Some(type_name) = &thing.type_name {
        answer["thingTypeName"] = json!(type_name);
    }
    answer
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    thing_type_name: Option<String>,
    attribute_payload: Option<AttributePayload>,
    expected_version: Option<u64>,
    #[serde(default)]
    remove_thing_type: bool,
}

async fn update(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Update>,
) -> Reply {
    let request = UpdateThing {
        type_name: body.thing_type_name,
        remove_type: body.remove_thing_type,
        attributes: body.attribute_payload,
        expected_version: body.expected_version,
    };
    plane.keeper.change(move |registry, _| registry.update_thing(&name, request)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Expected {
    pub(super) expected_version: Option<String>,
}

async fn delete(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Parameters(expected): Parameters<Expected>,
) -> Reply {
    let version = number(expected.expected_version.as_ref())?;
    plane.keeper.change(move |registry, _| registry.delete_thing(&name, version)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    attribute_name: Option<String>,
    attribute_value: Option<String>,
    thing_type_name: Option<String>,
    use_prefix_attribute_value: Option<String>,
}

async fn list(
    State(plane): State<ControlPlane>,
    Parameters(filter): Parameters<Filter>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let filter = ThingFilter {
        prefix: flag(filter.use_prefix_attribute_value.as_ref())?.unwrap_or_default(),
        attribute_name: filter.attribute_name,
        attribute_value: filter.attribute_value,
        type_name: filter.thing_type_name,
    };
    plane.keeper.handle().read(|registry| {
        let page = registry.list_things(&filter, after.as_deref(), limit)?;
        Ok(Json(listed(page, "things", "nextToken", |thing| summary(thing))))
    })
}

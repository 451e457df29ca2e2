//! `/thing-types`: CreateThingType, DescribeThingType, ListThingTypes, DeprecateThingType, DeleteThingType.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldline_registry::{CreateThingType, ThingType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Named, Paging, Parameters};
use super::{ControlPlane, Reply, done, listed, seconds};
use crate::data_plane::Failure;

pub(super) fn routes() -> Router<ControlPlane> {
    Router::new()
        .route("/thing-types", get(list))
        .route("/thing-types/{type}", get(describe).post(create).delete(delete))
        .route("/thing-types/{type}/deprecate", post(deprecate))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    thing_type_description: Option<String>,
    searchable_attributes: Vec<String>,
    mqtt5_configuration: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    thing_type_properties: Option<Properties>,
}

async fn create(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Create>,
) -> Reply {
    let properties = body.thing_type_properties.unwrap_or_default();
    if properties.mqtt5_configuration.is_some() {
        return Err(Failure::invalid("mqtt5Configuration has no effect here"));
    }
    let request = CreateThingType {
        name,
        description: properties.thing_type_description,
        searchable: properties.searchable_attributes,
    };
    let created = plane.keeper.change(|registry, fresh| registry.create_thing_type(request, fresh)).await?;
    Ok(Json(json!({
        "thingTypeName": created.name,
        "thingTypeArn": created.arn(),
        "thingTypeId": created.id,
    })))
}

async fn describe(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    let found = plane.keeper.handle().read(|registry| registry.thing_type(&name).cloned())?;
    let mut answer = summary(&found);
    answer["thingTypeId"] = json!(found.id);
    Ok(Json(answer))
}

/// What a list says of a type.
fn summary(found: &ThingType) -> Value {
    let mut properties = json!({ "searchableAttributes": found.searchable });
    if let Some(description) = &found.description {
        properties["thingTypeDescription"] = json!(description);
    }
    let mut metadata =
        json!({ "deprecated": found.deprecated_ms.is_some(), "creationDate": seconds(found.created_ms) });
    if let Some(deprecated_ms) = found.deprecated_ms {
        metadata["deprecationDate"] = seconds(deprecated_ms);
    }
    json!({
        "thingTypeName": found.name,
        "thingTypeArn": found.arn(),
        "thingTypeProperties": properties,
        "thingTypeMetadata": metadata,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deprecate {
    #[serde(default)]
    undo_deprecate: bool,
}

async fn deprecate(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Deprecate>,
) -> Reply {
    let undo = body.undo_deprecate;
    plane.keeper.change(move |registry, fresh| registry.deprecate_thing_type(&name, undo, fresh)).await?;
    done()
}

async fn delete(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    plane.keeper.change(move |registry, fresh| registry.delete_thing_type(&name, fresh)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Only {
    thing_type_name: Option<String>,
}

async fn list(
    State(plane): State<ControlPlane>,
    Parameters(only): Parameters<Only>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    plane.keeper.handle().read(|registry| {
        let page = registry.list_thing_types(only.thing_type_name.as_deref(), after.as_deref(), limit);
        Ok(Json(listed(page, "thingTypes", "nextToken", |found| summary(found))))
    })
}

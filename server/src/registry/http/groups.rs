//! `/thing-groups`: static groups, and who is in them.

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};
use fieldline_registry::arn::ArnKind;
use fieldline_registry::{AttributePayload, CreateGroup, Group, GroupFilter, UpdateGroup};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Named, Paging, Parameters, flag, number};
use super::things::Expected;
use super::{ControlPlane, Reply, done, listed, seconds};
use crate::data_plane::Failure;

pub(super) fn routes() -> Router<ControlPlane> {
    let one = get(describe).post(create).patch(update).delete(delete);
    Router::new()
        .route("/thing-groups", get(list))
        .route("/thing-groups/{group}", one)
        .route("/thing-groups/{group}/things", get(things))
        .route("/thing-groups/addThingToThingGroup", put(add))
        .route("/thing-groups/removeThingFromThingGroup", put(remove))
        .route("/things/{thing}/thing-groups", get(groups_of))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    thing_group_description: Option<String>,
    attribute_payload: Option<AttributePayload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    parent_group_name: Option<String>,
    thing_group_properties: Option<Properties>,
}

async fn create(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Create>,
) -> Reply {
    let properties = body.thing_group_properties.unwrap_or_default();
    let request = CreateGroup {
        name,
        parent: body.parent_group_name,
        description: properties.thing_group_description,
        attributes: properties.attribute_payload.unwrap_or_default(),
    };
    let group = plane.keeper.change(|registry, fresh| registry.create_group(request, fresh)).await?;
    Ok(Json(json!({
        "thingGroupName": group.name,
        "thingGroupArn": group.arn(),
        "thingGroupId": group.id,
    })))
}

async fn describe(State(plane): State<ControlPlane>, Named(name): Named<String>) -> Reply {
    plane.keeper.handle().read(|registry| {
        let group = registry.group(&name)?;
        let mut properties = json!({ "attributePayload": { "attributes": group.attributes } });
        if let Some(description) = &group.description {
            properties["thingGroupDescription"] = json!(description);
        }
        let mut metadata = json!({ "creationDate": seconds(group.created_ms) });
        if let Some(parent) = &group.parent {
            let mut above: Vec<Value> = registry.lineage(parent).map(summary).collect();
            above.reverse();
            metadata["parentGroupName"] = json!(parent);
            metadata["rootToParentThingGroups"] = json!(above);
        }
        Ok(Json(json!({
            "thingGroupName": group.name,
            "thingGroupArn": group.arn(),
            "thingGroupId": group.id,
            "version": group.version,
            "thingGroupProperties": properties,
            "thingGroupMetadata": metadata,
        })))
    })
}

/// What a list says of a group.
fn summary(group: &Group) -> Value {
    json!({ "groupName": group.name, "groupArn": group.arn() })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    thing_group_properties: Option<Properties>,
    expected_version: Option<u64>,
}

async fn update(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Body(body): Body<Update>,
) -> Reply {
    let properties = body.thing_group_properties.unwrap_or_default();
    let request = UpdateGroup {
        description: properties.thing_group_description,
        attributes: properties.attribute_payload,
        expected_version: body.expected_version,
    };
    let version = plane.keeper.change(move |registry, _| registry.update_group(&name, request)).await?;
    Ok(Json(json!({ "version": version })))
}

async fn delete(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Parameters(expected): Parameters<Expected>,
) -> Reply {
    let version = number(expected.expected_version.as_ref())?;
    plane.keeper.change(move |registry, _| registry.delete_group(&name, version)).await?;
    done()
}

/// A thing and a group, each by name or by ARN.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    thing_group_name: Option<String>,
    thing_group_arn: Option<String>,
    thing_name: Option<String>,
    thing_arn: Option<String>,
}

impl Membership {
    fn read(self) -> Result<(String, String), Failure> {
        let thing = one_of(ArnKind::Thing, self.thing_name, self.thing_arn.as_deref());
        let group = one_of(ArnKind::ThingGroup, self.thing_group_name, self.thing_group_arn.as_deref());
        match (thing, group) {
            (Some(thing), Some(group)) => Ok((thing, group)),
            _ => Err(Failure::invalid("a thing and a thing group are needed, each by its name or its ARN")),
        }
    }
}

fn one_of(kind: ArnKind, name: Option<String>, arn: Option<&str>) -> Option<String> {
    name.or_else(|| kind.name_in(arn?).map(str::to_owned))
}

async fn add(State(plane): State<ControlPlane>, Body(body): Body<Membership>) -> Reply {
    let (thing, group) = body.read()?;
    plane.keeper.change(move |registry, _| registry.add_to_group(&thing, &group)).await?;
    done()
}

async fn remove(State(plane): State<ControlPlane>, Body(body): Body<Membership>) -> Reply {
    let (thing, group) = body.read()?;
    plane.keeper.change(move |registry, _| registry.remove_from_group(&thing, &group)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    parent_group: Option<String>,
    name_prefix_filter: Option<String>,
    recursive: Option<String>,
}

async fn list(
    State(plane): State<ControlPlane>,
    Parameters(filter): Parameters<Filter>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let recursive = flag(filter.recursive.as_ref())?;
    let filter = GroupFilter { parent: filter.parent_group, prefix: filter.name_prefix_filter, recursive };
    plane.keeper.handle().read(|registry| {
        let page = registry.list_groups(&filter, after.as_deref(), limit)?;
        Ok(Json(listed(page, "thingGroups", "nextToken", |group| summary(group))))
    })
}

#[derive(Debug, Deserialize)]
struct Recursive {
    recursive: Option<String>,
}

async fn things(
    State(plane): State<ControlPlane>,
    Named(name): Named<String>,
    Parameters(parameters): Parameters<Recursive>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let recursive = flag(parameters.recursive.as_ref())?.unwrap_or_default();
    plane.keeper.handle().read(|registry| {
        let page = registry.list_things_in_group(&name, recursive, after.as_deref(), limit)?;
        Ok(Json(listed(page, "things", "nextToken", |thing| json!(thing))))
    })
}

async fn groups_of(
    State(plane): State<ControlPlane>,
    Named(thing): Named<String>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    plane.keeper.handle().read(|registry| {
        let page = registry.list_groups_of(&thing, after.as_deref(), limit)?;
        Ok(Json(listed(page, "thingGroups", "nextToken", |group| summary(group))))
    })
}

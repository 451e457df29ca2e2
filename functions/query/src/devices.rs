//! `GET /api/v1/devices` and `GET /api/v1/devices/<id>/latest`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use fieldline_model::DeviceId;
use fieldline_store::{DeviceQuery, Glob};
use serde::Deserialize;

use crate::points::{write_json, write_value};
use crate::{Problem, State};

const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    device: Option<String>,
    limit: Option<usize>,
    next: Option<String>,
}

/// `{"devices": [{"device", "series", "last"}], "next"?}`, by name.
pub(crate) async fn devices(
    Shared(state): Shared<State>,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let limit = params.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit={limit}: must be 1 to {LIMIT_MAX}; follow `next` for more"
        )));
    }
    let after = params.next.as_deref().map(|text| device_id("next", text)).transpose()?;
    let query = DeviceQuery { device: Glob::new(params.device.as_deref().unwrap_or("*")), after, limit };
    let page = state.store.devices(&query).await.map_err(|error| Problem::store(&error))?;
    let devices: Vec<_> = page
        .devices
        .iter()
        .map(|device| serde_json::json!({"device": device.device, "series": device.series, "last": device.last}))
        .collect();
    let mut answer = serde_json::json!({ "devices": devices });
    if let (Some(next), Some(answer)) = (page.next, answer.as_object_mut()) {
        answer.insert("next".to_owned(), String::from(next).into());
    }
    Ok(json(answer.to_string().into_bytes()))
}

/// `{"device", "metrics": [{"metric", "time", "value", "quality"}]}`, the newest by time of each.
pub(crate) async fn latest(
    Shared(state): Shared<State>,
    Path(device): Path<String>,
) -> Result<Response, Problem> {
    let device = device_id("device", &device)?;
    let metrics = state.store.latest(&device).await.map_err(|error| Problem::store(&error))?;
    if metrics.is_empty() {
        return Err(Problem::not_found(format!("the device {device} has sent nothing yet")));
    }
    let mut out = Vec::with_capacity(64 + 128 * metrics.len());
    out.extend_from_slice(b"{\"device\":");
    write_json(&mut out, device.as_str());
    out.extend_from_slice(b",\"metrics\":[");
    for (index, latest) in metrics.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"metric\":" } else { b",{\"metric\":" });
        write_json(&mut out, latest.metric.as_str());
        out.extend_from_slice(b",\"time\":");
        write_json(&mut out, &latest.point.time);
        out.extend_from_slice(b",\"value\":");
        write_value(&mut out, latest.point.value.as_ref());
        out.extend_from_slice(b",\"quality\":");
        write_json(&mut out, &latest.point.quality);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(json(out))
}

fn device_id(key: &str, text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|error| Problem::bad_request(format!("{key}={text}: {error}")))
}

pub(crate) fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

//! `GET /api/v1/series`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use fieldline_store::{Series, SeriesPage, StoreError};

use crate::devices::json;
use crate::params::{Params, Request};
use crate::points::{write_json, write_point};
use crate::{Problem, State};

/// What a point takes in JSON, roughly.
const POINT_BYTES: usize = 28;

/// `{"device", "metric", "points": [[time, value], …], "next"?}`; with a `*` in a name
/// `{"series": [{"device", "metric", "points"}, …], "next"?}`.
pub(crate) async fn series(
    Shared(state): Shared<State>,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let mut request = params.read()?;
    loop {
        let page = state.store.series(&request.query).await.map_err(|error| match error {
            StoreError::Query { .. } => Problem::bad_request(error.to_string()),
            other => Problem::store(&other),
        })?;
        let answer = written(&page, &request);
        let points = points(&page);
        if answer.len() <= state.page_bytes_max || points <= 1 {
            return Ok(json(answer));
        }
        // What is asked for in a smaller page ends with a `next` of its own.
        let share = state.page_bytes_max as f64 / answer.len() as f64;
        request.query.limit = ((points as f64 * share * 0.9) as usize).max(1);
    }
}

fn points(page: &SeriesPage) -> usize {
    page.series.iter().map(|series| series.points.len()).sum()
}

fn written(page: &SeriesPage, request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + points(page) * POINT_BYTES + page.series.len() * 64);
    match &request.single {
        Some((device, metric)) => {
            let series = page.series.first();
            write_head(&mut out, device, metric);
            write_points(&mut out, series, request);
        }
        None => {
            out.extend_from_slice(b"{\"series\":[");
            for (index, series) in page.series.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_head(&mut out, series.device.as_str(), series.metric.as_str());
                write_points(&mut out, Some(series), request);
                out.push(b'}');
            }
            out.push(b']');
        }
    }
    if let Some(next) = &page.next {
        out.extend_from_slice(b",\"next\":");
        write_json(&mut out, &next.to_string());
    }
    out.push(b'}');
    out
}

fn write_head(out: &mut Vec<u8>, device: &str, metric: &str) {
    out.extend_from_slice(b"{\"device\":");
    write_json(out, device);
    out.extend_from_slice(b",\"metric\":");
    write_json(out, metric);
}

fn write_points(out: &mut Vec<u8>, series: Option<&Series>, request: &Request) {
    out.extend_from_slice(b",\"points\":[");
    let mut first = true;
    for point in series.iter().flat_map(|series| &series.points) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_point(out, point.time, point.value.as_ref(), request.precision);
    }
    out.push(b']');
}

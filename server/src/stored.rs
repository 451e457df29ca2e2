//! What the server has stored of a series, asked for page by page.

use fieldline_model::{DeviceId, Metric, Timestamp};
use serde_json::Value;

use crate::client::{Api, encoded};
use crate::view;

/// How many values are asked for at once.
const PAGE: usize = 10_000;

/// A time as the API takes it; an age counts back from now.
pub(crate) fn moment(text: &str, now: Timestamp) -> anyhow::Result<String> {
    if text.parse::<i64>().is_ok() || text.parse::<Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let age = humantime::parse_duration(text).map_err(|_no_duration| {
        anyhow::anyhow!("{text:?} is neither a time such as 2026-11-22T10:00:00Z, nor epoch milliseconds, nor an age such as 24h")
    })?;
    let nanos = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    Ok(now.saturating_add_nanos(-nanos).millis().to_string())
}

/// A request for one series.
#[derive(Debug)]
pub(crate) struct Query {
    path: String,
}

impl Query {
    /// Everything that is stored of a series.
    pub(crate) fn new(device: &DeviceId, metric: &Metric) -> Self {
        let (device, metric) = (encoded(device.as_str()), encoded(metric.as_str()));
        Self { path: format!("/api/v1/series?device={device}&metric={metric}") }
    }

    /// Adds a parameter of the API.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.path.push_str(&format!("&{key}={}", encoded(value)));
    }

    /// The points from the first on, at most `limit`: time and value.
    pub(crate) async fn pages(&self, api: &Api, limit: usize) -> anyhow::Result<Vec<(i64, Value)>> {
        let mut points = Vec::new();
        let mut next = String::new();
        loop {
            let page = PAGE.min(limit - points.len());
            let answer = api.get(&format!("{}&limit={page}{next}", self.path)).await?;
            points.extend(view::points(&answer));
            match answer.get("next").and_then(Value::as_str) {
                Some(cursor) if points.len() < limit => next = format!("&next={}", encoded(cursor)),
                _ => return Ok(points),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_ages() {
        let now = Timestamp::from_millis(1_000_000_000).unwrap();
        assert_eq!(moment("15m", now).unwrap(), (1_000_000_000 - 900_000).to_string());
        for kept in ["2026-11-22T10:00:00Z", "1795341600000"] {
            assert_eq!(moment(kept, now).unwrap(), kept);
        }
        assert!(moment("yesterday", now).is_err());
    }
}

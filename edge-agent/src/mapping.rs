//! Which device and metric a topic speaks of, and how its payload is read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fieldline_model::{DeviceId, IdError, Metric, Pattern, topic_matches};
use serde::Deserialize;

/// One `[[map]]` of the configuration: topics that are not `telemetry/…`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// An MQTT topic filter.
    pub topic: String,
    /// The device; `{0}`, `{1}`, … stand for the levels of the topic.
    pub device: String,
    /// The metric of a scalar payload, with the same placeholders.
    #[serde(default)]
    pub metric: Option<String>,
    /// How the payload is read.
    #[serde(default)]
    pub format: PayloadFormat,
    /// Metrics that get another name: `from = "to"`.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Metrics that are left out (and counted as filtered), `*` for any run of characters.
    #[serde(default)]
    pub ignore: Vec<Pattern>,
}

/// How a payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadFormat {
    /// A scalar if the topic names a metric; else JSON, SenML or line protocol by their looks.
    #[default]
    Auto,
    /// A JSON object or an array of them.
    Json,
    /// A SenML pack (RFC 8428).
    Senml,
    /// InfluxDB line protocol.
    Line,
    /// One value; the mapping names the metric.
    Scalar,
}

/// What a topic says of its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) device: Cow<'a, str>,
    pub(crate) metric: Option<Cow<'a, str>>,
    pub(crate) format: PayloadFormat,
    pub(crate) mapping: Option<&'a Mapping>,
}

/// Reads a topic: the first mapping that matches, else `telemetry/<device>[/<metric>]`. `None` means
/// that the topic is not telemetry; an error, that it is but names no proper device or metric.
pub(crate) fn origin<'a>(topic: &'a str, maps: &'a [Mapping]) -> Result<Option<Origin<'a>>, IdError> {
    if let Some(mapping) = maps.iter().find(|mapping| topic_matches(&mapping.topic, topic)) {
        let device = fill(&mapping.device, topic);
        DeviceId::check(&device)?;
        let metric = mapping.metric.as_deref().map(|template| fill(template, topic));
        if let Some(metric) = &metric {
            Metric::check(metric)?;
        }
        return Ok(Some(Origin { device, metric, format: mapping.format, mapping: Some(mapping) }));
    }
    let Some(rest) = topic.strip_prefix("telemetry/") else { return Ok(None) };
    let (device, metric) = match rest.split_once('/') {
        Some((device, metric)) => (device, Some(metric)),
        None => (rest, None),
    };
    DeviceId::check(device)?;
    metric.map_or(Ok(()), Metric::check)?;
    let (device, metric) = (Cow::Borrowed(device), metric.map(Cow::Borrowed));
    Ok(Some(Origin { device, metric, format: PayloadFormat::Auto, mapping: None }))
}

/// Puts topic levels in for `{0}`, `{1}`, …; a placeholder beyond the topic's levels becomes nothing.
fn fill<'a>(template: &'a str, topic: &str) -> Cow<'a, str> {
    if !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let mut filled = template.to_owned();
    for (number, level) in topic.split('/').enumerate() {
        filled = filled.replace(&format!("{{{number}}}"), level);
    }
    Cow::Owned(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(topic: &str, device: &str, metric: Option<&str>) -> Mapping {
        Mapping {
            topic: topic.to_owned(),
            device: device.to_owned(),
            metric: metric.map(str::to_owned),
            format: PayloadFormat::Auto,
            rename: BTreeMap::new(),
            ignore: Vec::new(),
        }
    }

    #[test]
    fn telemetry_topics_need_no_mapping() {
        let found = origin("telemetry/press-4", &[]).unwrap().unwrap();
        assert_eq!((found.device.as_ref(), found.metric), ("press-4", None));
        let found = origin("telemetry/press-4/oil", &[]).unwrap().unwrap();
        assert_eq!(found.metric.as_deref(), Some("oil"));
        assert_eq!(origin("lights/kitchen", &[]).unwrap(), None);
        assert!(origin("telemetry/press 4", &[]).is_err());
        assert!(origin("telemetry/press-4/a/b", &[]).is_err());
    }

    #[test]
    fn the_first_mapping_that_matches_names_device_and_metric() {
        let maps = [
            mapping("hall/+/machine/+/temp", "{1}-{3}", Some("temperature")),
            mapping("hall/#", "{1}", None),
        ];
        let found = origin("hall/7/machine/press/temp", &maps).unwrap().unwrap();
        assert_eq!((found.device.as_ref(), found.metric.as_deref()), ("7-press", Some("temperature")));
        let found = origin("hall/7/other", &maps).unwrap().unwrap();
        assert_eq!((found.device.as_ref(), found.metric.as_deref()), ("7", None));
        assert!(origin("hall", &maps).is_err(), "level 1 is missing, so the device is empty or unfilled");
    }
}

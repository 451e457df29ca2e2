//! Records as `WriteRecords` takes them: at most 100 in a call, what all share written once.

use aws_sdk_timestreamwrite::types::{
    Dimension, MeasureValue, MeasureValueType, Record as Written, TimeUnit,
};

use super::column::{self, Kind};
use super::record::Record;

/// Records that Timestream takes in a call.
pub(super) const RECORDS_MAX: usize = 100;

/// What the records of a call have in common, and the records.
pub(super) struct Call {
    pub(super) common: Written,
    pub(super) records: Vec<Written>,
}

impl Call {
    pub(super) fn new(batch: &[Record], place: i64) -> Self {
        let first = batch.first();
        let device = first.map(|first| &first.device);
        let device = device.filter(|device| batch.iter().all(|record| record.device == **device));
        let name =
            first.map(|first| &first.name).filter(|name| batch.iter().all(|record| record.name == **name));
        let common = Written::builder()
            .set_dimensions(device.map(|device| vec![dimension(column::DEVICE, device.as_str())]))
            .set_measure_name(name.cloned())
            .measure_value_type(MeasureValueType::Multi)
            .time_unit(TimeUnit::Nanoseconds)
            .version(place)
            .build();
        let (device_apart, name_apart) = (device.is_some(), name.is_some());
        let place = place.to_string();
        let records = batch.iter().map(|record| written(record, &place, device_apart, name_apart)).collect();
        Self { common, records }
    }
}

fn written(record: &Record, place: &str, device_apart: bool, name_apart: bool) -> Written {
    let mut dimensions = Vec::new();
    if !device_apart {
        dimensions.push(dimension(column::DEVICE, record.device.as_str()));
    }
    if let Some(metric) = &record.metric {
        dimensions.push(dimension(column::METRIC, metric.as_str()));
    }
    let own = record.measures.iter().map(|own| measure(&own.name, measure_type(own.kind), &own.value));
    let measures = own.chain([measure(column::PLACE, MeasureValueType::Bigint, place)]);
    Written::builder()
        .set_dimensions((!dimensions.is_empty()).then_some(dimensions))
        .set_measure_name((!name_apart).then(|| record.name.clone()))
        .set_measure_values(Some(measures.collect()))
        .time(record.time.to_string())
        .build()
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build().expect("name and value are set")
}

fn measure(name: &str, kind: MeasureValueType, value: &str) -> MeasureValue {
    MeasureValue::builder()
        .name(name)
        .r#type(kind)
        .value(value)
        .build()
        .expect("name, type and value are set")
}

fn measure_type(kind: Kind) -> MeasureValueType {
    match kind {
        Kind::Float => MeasureValueType::Double,
        Kind::Integer => MeasureValueType::Bigint,
        Kind::Boolean => MeasureValueType::Boolean,
        Kind::Text | Kind::Odd => MeasureValueType::Varchar,
    }
}

//! The columns, and how each is packed.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

/// The columns in their order.
pub(super) const DEVICE: usize = 0;
pub(super) const METRIC: usize = 1;
pub(super) const TIME: usize = 2;
pub(super) const FLOAT: usize = 3;
pub(super) const INTEGER: usize = 4;
pub(super) const BOOLEAN: usize = 5;
pub(super) const TEXT: usize = 6;
pub(super) const QUALITY: usize = 7;
pub(super) const PLACE: usize = 8;

/// Name, physical type, and whether a row may have none.
const COLUMNS: [(&str, Physical, bool); 9] = [
    ("device", Physical::BYTE_ARRAY, false),
    ("metric", Physical::BYTE_ARRAY, false),
    ("time", Physical::INT64, false),
    ("float", Physical::DOUBLE, true),
    ("integer", Physical::INT64, true),
    ("boolean", Physical::BOOLEAN, true),
    ("text", Physical::BYTE_ARRAY, true),
    ("quality", Physical::INT32, false),
    ("place", Physical::INT64, false),
];

fn logical(name: &str) -> Option<LogicalType> {
    match name {
        "device" | "metric" | "text" => Some(LogicalType::String),
        "time" => Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
        _ => None,
    }
}

/// The schema of an object.
pub(super) fn schema() -> Result<TypePtr> {
    let mut fields = Vec::with_capacity(COLUMNS.len());
    for (name, physical, optional) in COLUMNS {
        let repetition = if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        fields.push(Arc::new(field.with_logical_type(logical(name)).build()?));
    }
    Ok(Arc::new(Type::group_type_builder("reading").with_fields(fields).build()?))
}

/// Whether the columns are those of [`schema`].
pub(super) fn is_ours(found: &SchemaDescriptor) -> bool {
    found.num_columns() == COLUMNS.len()
        && found.columns().iter().zip(COLUMNS).all(|(found, (name, physical, optional))| {
            found.path().parts() == [name]
                && found.physical_type() == physical
                && found.max_def_level() == i16::from(optional)
                && found.max_rep_level() == 0
        })
}

/// How objects are written. Statistics stand where they help to pass over row groups.
pub(super) fn properties() -> Result<WriterProperties> {
    let column = |name: &str| ColumnPath::from(name);
    let sorting = [DEVICE, METRIC, TIME].into_iter().filter_map(|at| i32::try_from(at).ok());
    let sorting =
        sorting.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    let mut properties = WriterProperties::builder()
        .set_created_by("fieldline".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_sorting_columns(Some(sorting.collect()))
        .set_max_row_group_row_count(None);
    for name in ["device", "metric", "time"] {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::Chunk);
    }
    for name in ["time", "integer"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

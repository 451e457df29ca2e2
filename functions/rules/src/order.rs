//! The readings of a block in the order of their times.

use fieldline_model::{Quality, ReadingRef, Timestamp, ValueRef};
use fieldline_wire::{Block, Column, Values};

/// Readings of one column keep their order; between columns the earlier goes first, and of two at the same time
/// the one whose column is first. For devices that send in the order of time that is the order of arrival.
pub(crate) fn readings(block: &Block) -> impl Iterator<Item = ReadingRef<'_>> {
    let mut heads: Vec<usize> = vec![0; block.columns.len()];
    std::iter::from_fn(move || {
        let heads_now = block.columns.iter().zip(&heads).enumerate();
        let times =
            heads_now.filter_map(|(number, (column, head))| Some((*column.times.get(*head)?, number)));
        let (_, number) = times.min()?;
        let head = heads.get_mut(number)?;
        let reading = reading(block.columns.get(number)?, *head);
        *head += 1;
        reading
    })
}

fn reading(column: &Column, index: usize) -> Option<ReadingRef<'_>> {
    let value = match &column.values {
        Values::Float(values) => ValueRef::Float(*values.get(index)?),
        Values::Integer(values) => ValueRef::Integer(*values.get(index)?),
        Values::Boolean(values) => ValueRef::Boolean(*values.get(index)?),
        Values::Text(values) => ValueRef::Text(values.get(index)?),
    };
    Some(ReadingRef {
        device: column.device.as_str(),
        metric: column.metric.as_str(),
        time: Timestamp::from_nanos(*column.times.get(index)?),
        value,
        quality: column.qualities.get(index).copied().unwrap_or(Quality::Good),
    })
}

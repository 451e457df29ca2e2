//! The order in which the readings of a block came.

use fieldline_model::{Quality, ReadingRef, Timestamp, ValueRef};

use super::{Block, Column, Values};

/// The column of each reading, by time, and at one time in the order of the columns. For devices whose readings
/// come in the order of their times that is the order in which they came, each device by itself.
pub(super) fn by_time<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<u32> {
    let mut readings: Vec<(i64, u32)> = (0_u32..)
        .zip(columns)
        .flat_map(|(number, column)| column.times.iter().map(move |time| (*time, number)))
        .collect();
    readings.sort_unstable();
    readings.into_iter().map(|(_, number)| number).collect()
}

/// Whether the order takes each reading of each column once.
pub(super) fn fits(order: &[u32], columns: &[Column]) -> bool {
    let mut left: Vec<usize> = columns.iter().map(|column| column.times.len()).collect();
    let takes = |number: &u32| {
        let left = left.get_mut(*number as usize).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    };
    order.iter().all(takes) && left.iter().all(|left| *left == 0)
}

impl Block {
    /// The readings in the order in which they came, of each device; see [`Block::order`].
    pub fn readings(&self) -> impl Iterator<Item = ReadingRef<'_>> {
        let order = match self.order.is_empty() {
            true => by_time(self.columns.iter()),
            false => self.order.clone(),
        };
        let mut next = vec![0; self.columns.len()];
        order.into_iter().filter_map(move |number| {
            let (column, next) = (self.columns.get(number as usize)?, next.get_mut(number as usize)?);
            *next += 1;
            column.reading(*next - 1)
        })
    }
}

impl Column {
    /// One reading of it; none beyond the last.
    pub fn reading(&self, index: usize) -> Option<ReadingRef<'_>> {
        let value = match &self.values {
            Values::Float(values) => ValueRef::Float(*values.get(index)?),
            Values::Integer(values) => ValueRef::Integer(*values.get(index)?),
            Values::Boolean(values) => ValueRef::Boolean(*values.get(index)?),
            Values::Text(values) => ValueRef::Text(values.get(index)?),
        };
        Some(ReadingRef {
            device: self.device.as_str(),
            metric: self.metric.as_str(),
            time: Timestamp::from_nanos(*self.times.get(index)?),
            value,
            quality: self.qualities.get(index).copied().unwrap_or(Quality::Good),
        })
    }
}

#[cfg(test)]
mod tests {
    use fieldline_model::{Class, GatewayId, StreamId};
    use proptest::prelude::*;

    use super::super::{BlockBuilder, Limits};
    use super::*;

    const DEVICES: [&str; 3] = ["a", "b", "c"];
    const METRICS: [&str; 3] = ["x", "y", "z"];

    fn reading(device: usize, metric: usize, time: i64, value: f64) -> ReadingRef<'static> {
        let (device, metric) = (DEVICES[device], METRICS[metric]);
        let time = Timestamp::from_nanos(time * 1_000_000_000);
        ReadingRef { device, metric, time, value: ValueRef::Float(value), quality: Quality::Good }
    }

    fn block(readings: &[ReadingRef<'_>]) -> Block {
        let stream = StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 7 };
        let mut builder = BlockBuilder::new(stream, Class::Live, 1);
        readings.iter().for_each(|reading| builder.push(*reading));
        let block = builder.finish().unwrap();
        let decoded = Block::decode(&block.encode(), &Limits::default()).unwrap();
        assert_eq!(decoded, block);
        decoded
    }

    #[test]
    fn times_that_do_not_fall_need_no_order() {
        // Each device by itself: b lags behind a.
        let readings =
            [reading(0, 0, 5, 1.0), reading(1, 0, 3, 2.0), reading(0, 1, 5, 3.0), reading(1, 0, 4, 4.0)];
        assert!(block(&readings).order.is_empty());
        let late = [reading(0, 0, 5, 1.0), reading(0, 1, 4, 2.0)];
        assert_eq!(block(&late).order, [0, 1]);
        // What came before the first late reading is in the order of its times.
        let late =
            [reading(0, 0, 5, 1.0), reading(1, 0, 3, 2.0), reading(0, 1, 4, 3.0), reading(1, 0, 9, 4.0)];
        assert_eq!(block(&late).order, [1, 0, 2, 1]);
    }

    #[test]
    fn an_order_that_does_not_fit_is_refused() {
        let good = block(&[reading(0, 0, 5, 1.0), reading(0, 1, 4, 2.0), reading(0, 0, 6, 3.0)]);
        for order in [vec![0, 1], vec![0, 1, 1], vec![0, 1, 2], vec![0, 1, 0, 0]] {
            let bytes = Block { order, ..good.clone() }.encode();
            assert!(Block::decode(&bytes, &Limits::default()).is_err());
        }
    }

    proptest! {
        #[test]
        fn each_device_keeps_the_order_of_its_readings(
            steps in prop::collection::vec((0_usize..3, 0_usize..3, 0_i64..20), 1..60),
        ) {
            let readings: Vec<_> =
                steps.iter().zip(0_u32..).map(|(step, n)| reading(step.0, step.1, step.2, n.into())).collect();
            let block = block(&readings);
            for device in DEVICES {
                let of = |readings: Vec<ReadingRef<'_>>| -> Vec<(i64, String)> {
                    let own = readings.into_iter().filter(|reading| reading.device == device);
                    let mut own: Vec<_> = own
                        .map(|reading| (reading.time.nanos(), format!("{} {:?}", reading.metric, reading.value)))
                        .collect();
                    // Readings of one moment may change places.
                    own.chunk_by_mut(|a, b| a.0 == b.0).for_each(<[_]>::sort);
                    own
                };
                let (came, found) = (of(readings.clone()), of(block.readings().collect()));
                prop_assert_eq!(came, found);
            }
        }
    }
}

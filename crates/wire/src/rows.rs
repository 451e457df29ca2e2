use fieldline_model::{Quality, ReadingRef, Timestamp, ValueRef};

/// Readings in one arena: a text buffer and rows of fixed size.
///
/// Pushing allocates only when the arena grows, and [`Rows::clear`] keeps the room, so one `Rows`
/// that is used again and again costs no allocation per reading. A device or metric that equals the
/// previous row's is not stored again.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    text: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    device: Span,
    metric: Span,
    time: Timestamp,
    value: Cell,
    quality: Quality,
}

/// A piece of the arena's text.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Span),
}

impl Rows {
    /// An empty arena.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the readings, keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
    }

    /// Adds a reading at the end.
    pub fn push(&mut self, reading: ReadingRef<'_>) {
        let previous = self.rows.last().map(|row| (row.device, row.metric));
        let device = self.name(previous.map(|names| names.0), reading.device);
        let metric = self.name(previous.map(|names| names.1), reading.metric);
        let value = match reading.value {
            ValueRef::Boolean(value) => Cell::Boolean(value),
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Float(value) => Cell::Float(value),
            ValueRef::Text(value) => Cell::Text(self.store(value)),
        };
        self.rows.push(Row { device, metric, time: reading.time, value, quality: reading.quality });
    }

    /// How many readings there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The readings in the order in which they were pushed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReadingRef<'_>> + Clone {
        self.rows.iter().map(|row| self.reading(row))
    }

    /// The reading at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<ReadingRef<'_>> {
        self.rows.get(index).map(|row| self.reading(row))
    }

    /// Gives the rows from `start` on this time.
    pub(crate) fn set_time(&mut self, start: usize, time: Timestamp) {
        for row in self.rows.iter_mut().skip(start) {
            row.time = time;
        }
    }

    /// Gives the rows from `start` on this quality.
    pub(crate) fn set_quality(&mut self, start: usize, quality: Quality) {
        for row in self.rows.iter_mut().skip(start) {
            row.quality = quality;
        }
    }

    /// Forgets the rows from `start` on.
    pub(crate) fn truncate(&mut self, start: usize) {
        self.rows.truncate(start);
    }

    fn reading(&self, row: &Row) -> ReadingRef<'_> {
        ReadingRef {
            device: self.slice(row.device),
            metric: self.slice(row.metric),
            time: row.time,
            value: match row.value {
                Cell::Boolean(value) => ValueRef::Boolean(value),
                Cell::Integer(value) => ValueRef::Integer(value),
                Cell::Float(value) => ValueRef::Float(value),
                Cell::Text(span) => ValueRef::Text(self.slice(span)),
            },
            quality: row.quality,
        }
    }

    fn name(&mut self, previous: Option<Span>, text: &str) -> Span {
        match previous {
            Some(span) if self.slice(span) == text => span,
            _ => self.store(text),
        }
    }

    fn store(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}

impl<'a> Extend<ReadingRef<'a>> for Rows {
    fn extend<I: IntoIterator<Item = ReadingRef<'a>>>(&mut self, readings: I) {
        for reading in readings {
            self.push(reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading<'a>(device: &'a str, metric: &'a str, value: ValueRef<'a>) -> ReadingRef<'a> {
        ReadingRef { device, metric, time: Timestamp::from_nanos(5), value, quality: Quality::Bad }
    }

    #[test]
    fn readings_come_back_in_order_and_as_they_were() {
        let readings = [
            reading("a", "x", ValueRef::Text("on")),
            reading("a", "x", ValueRef::Integer(-3)),
            reading("b", "x", ValueRef::Boolean(true)),
            reading("a", "y", ValueRef::Float(-0.0)),
        ];
        let mut rows = Rows::new();
        rows.extend(readings);
        assert_eq!(rows.iter().collect::<Vec<_>>(), readings);
        assert_eq!(rows.get(3), Some(readings[3]));
        assert_eq!(rows.get(4), None);
        rows.clear();
        assert!(rows.is_empty());
    }

    #[test]
    fn names_that_repeat_are_stored_once() {
        let mut rows = Rows::new();
        for _ in 0..1000 {
            rows.push(reading("device", "metric", ValueRef::Integer(1)));
        }
        assert_eq!(rows.text.len(), "devicemetric".len());
    }

    #[test]
    fn a_cleared_arena_keeps_its_room() {
        let mut rows = Rows::new();
        rows.push(reading("device", "metric", ValueRef::Text("value")));
        let room = (rows.text.capacity(), rows.rows.capacity());
        rows.clear();
        rows.push(reading("device", "metric", ValueRef::Text("value")));
        assert_eq!((rows.text.capacity(), rows.rows.capacity()), room);
    }
}

//! What opening a journal found.

/// What was found when the journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments read.
    pub segments: u64,
    /// Readings that should be there and are not: counted as `damaged` in their lanes.
    pub damaged_readings: u64,
    /// Bytes between good frames that belong to none.
    pub damaged_bytes: u64,
    /// Segments whose header is damaged; their frames were read all the same.
    pub damaged_headers: u64,
    /// Lanes with a cursor file that cannot be read; what only it said is sent again.
    pub damaged_cursors: u64,
    /// Lanes that had to be sealed because their end is not certain.
    pub sealed_lanes: u64,
    pub(crate) note: Option<(u64, String)>,
}

impl Recovery {
    pub(crate) fn newest_note(&mut self, note: Option<(u64, String)>) {
        if let Some((number, _)) = &note
            && self.note.as_ref().is_none_or(|(known, _)| known < number)
        {
            self.note = note;
        }
    }
}

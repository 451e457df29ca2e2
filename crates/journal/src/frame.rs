//! Frames: what stands between two bytes of a segment. `docs/formats/journal.md` has the layout.

use crc_fast::{CrcAlgorithm, Digest};
use fieldline_model::SeqRange;

/// Bytes of a frame before its payload.
pub(crate) const HEADER_BYTES: usize = 36;
/// The largest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the word with which each frame begins.
pub(crate) const MARKER_BYTES: usize = 4;
const MARKER: [u8; MARKER_BYTES] = *b"FLF1";

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Readings.
    Data = 0,
    /// The caller's note; its `first_seq` is the note's number.
    Note = 1,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    pub(crate) appended_ms: i64,
}

impl Header {
    /// The last sequence number of a data frame.
    pub(crate) fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count).saturating_sub(1))
    }

    /// The sequence numbers of a data frame.
    pub(crate) fn range(&self) -> SeqRange {
        SeqRange::new(self.first_seq, self.last_seq())
    }
}

/// Which segment a frame belongs to; goes into its checksum, so that a frame of another file or
/// another life never checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
}

/// Appends a frame to `out`.
pub(crate) fn write(place: Place, header: Header, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("callers keep to PAYLOAD_BYTES_MAX");
    let mut head = [0_u8; HEADER_BYTES];
    put(&mut head, 0, &MARKER);
    put(&mut head, 4, &length.to_le_bytes());
    put(&mut head, 12, &[header.kind as u8]);
    put(&mut head, 16, &header.first_seq.to_le_bytes());
    put(&mut head, 24, &header.count.to_le_bytes());
    put(&mut head, 28, &header.appended_ms.to_le_bytes());
    let crc = checksum(place, &head, payload);
    put(&mut head, 8, &crc.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

/// The frame at the start of `bytes`, if a whole one that checks is there.
pub(crate) fn read(place: Place, bytes: &[u8]) -> Option<(Header, &[u8])> {
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    if head.first_chunk() != Some(&MARKER) {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(*head.get(4..)?.first_chunk()?)).ok()?;
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    let crc = u32::from_le_bytes(*head.get(8..)?.first_chunk()?);
    if checksum(place, head, payload) != crc {
        return None;
    }
    let kind = match head.get(12)? {
        0 => Kind::Data,
        1 => Kind::Note,
        _ => return None,
    };
    let header = Header {
        kind,
        first_seq: u64::from_le_bytes(*head.get(16..)?.first_chunk()?),
        count: u32::from_le_bytes(*head.get(24..)?.first_chunk()?),
        appended_ms: i64::from_le_bytes(*head.get(28..)?.first_chunk()?),
    };
    // A record that counts nothing, or past the end of all numbers, was never written by anyone.
    let counts = header.first_seq.checked_add(u64::from(header.count)).is_some();
    (header.kind == Kind::Note || (header.count > 0 && counts)).then_some((header, payload))
}

/// How long the frame at the start of `bytes` claims to be; `None` if no header is there.
pub(crate) fn claimed_length(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*head.get(4..)?.first_chunk()?)).ok()?;
    (head.first_chunk() == Some(&MARKER) && length <= PAYLOAD_BYTES_MAX).then_some(HEADER_BYTES + length)
}

/// Where the next marker stands in `bytes`, from `from` on.
pub(crate) fn next_marker(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MARKER_BYTES).position(|window| window == MARKER).map(|at| from + at)
}

/// CRC-32C over epoch, segment number, the header without marker and checksum, and the payload.
fn checksum(place: Place, head: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&place.epoch.to_le_bytes());
    digest.update(&place.segment.to_le_bytes());
    digest.update(head.get(4..8).unwrap_or_default());
    digest.update(head.get(12..).unwrap_or_default());
    digest.update(payload);
    // The algorithm has 32 bits.
    digest.finalize() as u32
}

pub(crate) fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { epoch: 7, segment: 3 };
    const HEADER: Header = Header { kind: Kind::Data, first_seq: 11, count: 4, appended_ms: 1_000 };

    #[test]
    fn a_frame_reads_back_and_belongs_to_its_place() {
        let mut bytes = Vec::new();
        write(PLACE, HEADER, b"payload", &mut bytes);
        assert_eq!(read(PLACE, &bytes), Some((HEADER, &b"payload"[..])));
        assert_eq!(HEADER.last_seq(), 14);
        assert_eq!(read(Place { segment: 4, ..PLACE }, &bytes), None);
        assert_eq!(read(Place { epoch: 8, ..PLACE }, &bytes), None);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unseen() {
        let mut bytes = Vec::new();
        write(PLACE, HEADER, b"payload", &mut bytes);
        for at in 0..bytes.len() {
            assert_eq!(read(PLACE, &bytes[..at]), None);
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(read(PLACE, &damaged), None, "byte {at} bit {bit}");
            }
        }
    }
}

//! Ids that tell one request from another in answers and logs.

/// 128 random bits in the shape of a UUID of version 4 (RFC 9562, section 5.4).
pub(crate) fn fresh() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::debug!("no randomness for a trace id");
    }
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    hyphenated(bits)
}

/// 128 bits as a UUID is written (RFC 9562, section 4).
pub(crate) fn hyphenated(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    let mut id = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_has_the_shape_of_a_uuid_and_comes_once() {
        let (one, other) = (super::fresh(), super::fresh());
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
        assert_ne!(one, other);
    }
}

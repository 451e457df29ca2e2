//! What proves that a webhook is ours.

use ring::hmac;

use crate::Secret;

/// The value of the header `fieldline-signature`: `t=<unix seconds>,v1=<hex>`, where `v1` is the HMAC-SHA256 of
/// `<t>.<body>` with the secret as its key. A receiver calculates the same, compares in constant time, and refuses
/// a `t` that is too old, so that what was overheard cannot be sent again.
pub fn signature(secret: &Secret, unix_seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{unix_seconds}.").as_bytes());
    context.update(body);
    format!("t={unix_seconds},v1={}", hex(context.sign().as_ref()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calculated with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac hush`.
    #[test]
    fn others_calculate_the_same() {
        let signed = signature(&Secret::from(b"hush".as_slice()), 1_700_000_000, b"{\"a\":1}");
        assert_eq!(
            signed,
            "t=1700000000,v1=7cfd1df542c33ab7251748ffdc6e7fed278c63b83d4ece95a4534b0ad465571b"
        );
    }
}

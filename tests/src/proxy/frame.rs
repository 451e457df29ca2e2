//! Cuts a byte stream into MQTT packets, and tells acknowledgements from the rest.

/// Takes the first whole packet off `buffer`; none when it is not whole yet. Bytes that are not
/// MQTT come out as they are.
pub(super) fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut length = 0_usize;
    for (index, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = 2 + index + length;
            return (buffer.len() >= whole).then(|| buffer.drain(..whole).collect());
        }
    }
    // Five continued length bytes are no MQTT.
    (buffer.len() >= 5).then(|| std::mem::take(buffer))
}

/// Whether this packet acknowledges readings: PUBACK, or a PUBLISH on `fieldline/<gateway>/ack`.
pub(super) fn acknowledges(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => true,
        Some(3) => {
            topic(packet).is_some_and(|topic| topic.starts_with(b"fieldline/") && topic.ends_with(b"/ack"))
        }
        _ => false,
    }
}

/// The same packet as a redelivery: a PUBLISH gets its DUP flag.
pub(super) fn redelivery(packet: &[u8]) -> Vec<u8> {
    let mut copy = packet.to_vec();
    match copy.first_mut() {
        Some(first) if *first >> 4 == 3 && *first & 0b0110 != 0 => *first |= 0b1000,
        _ => {}
    }
    copy
}

fn topic(publish: &[u8]) -> Option<&[u8]> {
    let length_bytes = publish.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 1;
    let rest = publish.get(1 + length_bytes..)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_whole_and_in_order() {
        let puback = [0x40, 2, 0, 7];
        let mut publish = vec![0x32, 0x80 | 0x48, 1, 0, 18];
        publish.extend_from_slice(b"fieldline/gw-1/ack");
        publish.resize(3 + 200, 0);
        let mut buffer = Vec::new();
        let mut packets = Vec::new();
        for byte in puback.iter().chain(&publish) {
            buffer.push(*byte);
            packets.extend(take(&mut buffer));
        }
        assert_eq!(packets, [puback.to_vec(), publish.clone()]);
        assert!(packets.iter().all(|packet| acknowledges(packet)));
        assert_eq!(redelivery(&publish)[0], 0x3a);
        assert!(!acknowledges(&[0xd0, 0]));
    }
}

//! Packets that are decoded without a picture being shown.

/// Whether no picture comes out of the decoder for this packet of the given codec, for all that its header tells.
///
/// VP8 and VP9 have frames that serve as a reference only: the tag of RFC 6386, 9.1; the uncompressed header of the VP9
/// bitstream specification, 6.2. A VP9 superframe (Annex B) bundles such frames with one that is shown. In AV1 every
/// temporal unit shows one picture.
pub fn is_hidden(codec: &str, packet: &[u8]) -> bool {
    let Some(first) = packet.first() else { return false };
    match codec {
        "vp8" => first & 0x10 == 0,
        "vp9" => !is_superframe(packet) && is_hidden_vp9(*first, packet.get(1).copied().unwrap_or_default()),
        _ => false,
    }
}

fn is_superframe(packet: &[u8]) -> bool {
    packet.last().is_some_and(|last| last & 0xe0 == 0xc0)
}

/// `frame_marker` (2 bits), `profile` (2, and 1 more for profile 3), `show_existing_frame`, `frame_type`, `show_frame`.
fn is_hidden_vp9(first: u8, second: u8) -> bool {
    let bits = u16::from_be_bytes([first, second]);
    let profile_3 = first & 0x30 == 0x30;
    let bit = |n: u32| bits >> (15 - n - u32::from(profile_3)) & 1 == 1;
    let [show_existing_frame, _frame_type, show_frame] = [bit(4), bit(5), bit(6)];
    !show_existing_frame && !show_frame
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn vp8_tells_in_its_first_byte() {
        assert!(is_hidden("vp8", &[0x01, 0, 0]));
        assert!(!is_hidden("vp8", &[0x10, 0, 0]));
    }

    #[test]
    fn vp9_tells_behind_its_profile() {
        assert!(is_hidden("vp9", &[0b1000_0100, 0]));
        assert!(!is_hidden("vp9", &[0b1000_0110, 0]));
        assert!(!is_hidden("vp9", &[0b1000_1000, 0]), "an existing frame is shown");
        assert!(is_hidden("vp9", &[0b1011_0010, 0, 0]), "profile 3 has one bit more");
        assert!(!is_hidden("vp9", &[0b1011_0011, 0, 0]));
    }

    #[test]
    fn a_superframe_shows_its_last_frame() {
        assert!(!is_hidden("vp9", &[0b1000_0100, 0, 0b1100_0000]));
    }

    #[test]
    fn other_codecs_and_empty_packets_hide_nothing() {
        assert!(!is_hidden("h264", &[0, 0]));
        assert!(!is_hidden("vp8", &[]));
    }
}

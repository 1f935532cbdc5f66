//! Finds the pictures from which decoding can begin as if nothing came before them.
//!
//! A packet that a container flags as key may be a recovery point, or be followed by pictures that refer across it. In
//! H.264 and HEVC only an IDR picture empties the decoder for certain (ITU-T H.264 7.4.1.2.4, H.265 7.4.2.2).

/// How the packets of a track are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdrFinder {
    codec: Codec,
    /// Bytes of the length in front of each NAL unit: 1 to 4.
    length_size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    Hevc,
}

impl IdrFinder {
    /// From the container's `avcC` or `hvcC` record. `None` for other codecs, and for tracks whose NAL units are not
    /// length-prefixed.
    pub fn new(codec: &str, extradata: &[u8]) -> Option<Self> {
        let (codec, length_byte) = match codec {
            "h264" => (Codec::H264, 4),
            "hevc" => (Codec::Hevc, 21),
            _ => return None,
        };
        // Both records begin with their version, 1; a stream with start codes begins with 0.
        if extradata.first() != Some(&1) {
            return None;
        }
        Some(Self { codec, length_size: usize::from(extradata.get(length_byte)? & 3) + 1 })
    }

    /// Whether the first picture of the packet is an IDR picture.
    pub fn is_idr(self, mut packet: &[u8]) -> bool {
        while let Some((header, rest)) = self.next_unit(packet) {
            match (self.codec, self.unit_type(header)) {
                (Codec::H264, 5) | (Codec::Hevc, 19 | 20) => return true,
                (Codec::H264, 1..=4) | (Codec::Hevc, 0..=31) => return false,
                _ => packet = rest,
            }
        }
        false
    }

    /// The first byte of the next NAL unit, and what follows the unit.
    fn next_unit(self, packet: &[u8]) -> Option<(u8, &[u8])> {
        let (length, rest) = packet.split_at_checked(self.length_size)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        Some((*unit.first()?, rest))
    }

    fn unit_type(self, header: u8) -> u8 {
        match self.codec {
            Codec::H264 => header & 0x1f,
            Codec::Hevc => header >> 1 & 0x3f,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(length_size: u8) -> IdrFinder {
        IdrFinder::new("h264", &[1, 100, 0, 31, 0xfc | (length_size - 1)]).unwrap()
    }

    #[test]
    fn an_idr_slice_behind_sei_and_parameter_sets_is_found() {
        let packet = [0, 0, 0, 2, 6, 9, 0, 0, 0, 1, 7, 0, 0, 0, 3, 0x65, 1, 2];
        assert!(h264(4).is_idr(&packet));
    }

    #[test]
    fn a_recovery_point_is_not_an_idr_picture() {
        let packet = [0, 2, 6, 9, 0, 2, 0x41, 1];
        assert!(!h264(2).is_idr(&packet));
    }

    #[test]
    fn hevc_counts_idr_but_not_cra() {
        let mut extradata = [0; 23];
        extradata[0] = 1;
        extradata[21] = 3;
        let finder = IdrFinder::new("hevc", &extradata).unwrap();
        assert!(finder.is_idr(&[0, 0, 0, 2, 19 << 1, 1]));
        assert!(finder.is_idr(&[0, 0, 0, 2, 20 << 1, 1]));
        assert!(!finder.is_idr(&[0, 0, 0, 2, 21 << 1, 1]));
    }

    #[test]
    fn lengths_beyond_the_packet_end_the_search() {
        assert!(!h264(4).is_idr(&[0xff, 0xff, 0xff, 0xff, 0x65]));
        assert!(!h264(4).is_idr(&[0, 0]));
        assert!(!h264(4).is_idr(&[]));
    }

    #[test]
    fn start_codes_are_left_alone() {
        assert_eq!(IdrFinder::new("h264", &[0, 0, 0, 1, 0x67]), None);
        assert_eq!(IdrFinder::new("vp9", &[1; 30]), None);
    }
}

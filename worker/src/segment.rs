//! Cuts a video into segments that can be decoded on their own.

use crate::probe::Probe;
use framefleet_contract::plan::{Numbering, Plan, Segment};
use framefleet_contract::request::{ModelRef, VERSION};

/// Cuts at safe keyframes, each segment at least `seconds` long. What cannot be cut safely is one segment.
pub fn plan(probe: &Probe, model: &ModelRef, seconds: f64) -> Plan {
    let packets = probe.packets.len() as u64;
    let (segments, one_segment_because) = match reason_against_cutting(probe) {
        Some(reason) => (vec![Segment { index: 0, start: 0, end: packets }], Some(reason)),
        None => (cut(probe, seconds), None),
    };
    Plan {
        version: VERSION,
        model: model.clone(),
        video: probe.video.clone(),
        numbering: probe.numbering,
        segments,
        one_segment_because,
    }
}

fn reason_against_cutting(probe: &Probe) -> Option<String> {
    let reason = if probe.numbering == Numbering::Output {
        "frames can only be numbered by decoding them in order: cuts are known to be exact for H.264 and HEVC in MP4 and MKV"
    } else if probe.packets.iter().any(|packet| packet.corrupt) {
        "the container marks packets as damaged"
    } else if probe.changes_parameters {
        "the decoder's parameters change on the way"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

fn cut(probe: &Probe, seconds: f64) -> Vec<Segment> {
    let least_us = (seconds * 1e6) as i64;
    let time_of = |ordinal: usize| probe.video.time_base.ticks_to_us(probe.packets[ordinal].pts.unwrap_or(0));
    let mut starts = vec![0];
    for cut in safe_cuts(probe) {
        let last = *starts.last().expect("it begins with one");
        if time_of(cut).saturating_sub(time_of(last)) >= least_us {
            starts.push(cut);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([probe.packets.len()]);
    let segment = |(index, (start, end)): (usize, (&usize, usize))| Segment {
        index: index as u32,
        start: *start as u64,
        end: end as u64,
    };
    starts.iter().zip(ends).enumerate().map(segment).collect()
}

/// Ordinals of IDR packets that also part the presentation order: everything before is shown before.
fn safe_cuts(probe: &Probe) -> Vec<usize> {
    let mut least_after = vec![i64::MAX; probe.packets.len() + 1];
    for (ordinal, packet) in probe.packets.iter().enumerate().rev() {
        least_after[ordinal] = least_after[ordinal + 1].min(packet.pts.unwrap_or(i64::MAX));
    }
    let mut greatest_before = i64::MIN;
    let mut cuts = Vec::new();
    for (ordinal, packet) in probe.packets.iter().enumerate() {
        if ordinal > 0 && probe.is_idr[ordinal] && greatest_before < least_after[ordinal] {
            cuts.push(ordinal);
        }
        greatest_before = greatest_before.max(packet.pts.unwrap_or(i64::MIN));
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::identity::Sha256;
    use framefleet_contract::packet_table::PacketRow;
    use framefleet_contract::plan::{Ratio, Video};
    use proptest::prelude::*;

    /// One tick is a second.
    fn probe(pts: &[i64], idr: &[usize]) -> Probe {
        let packet = |pts: &i64| PacketRow { pts: Some(*pts), size: 1, frame: Some(*pts), ..PacketRow::default() };
        let one = Ratio { num: 1, den: 1 };
        let video = Video {
            container: "mp4".into(),
            codec: "h264".into(),
            pixel_format: "yuv420p".into(),
            coded_width: 2,
            coded_height: 2,
            width: 2,
            height: 2,
            rotation_degrees: 0,
            time_base: one,
            frame_rate: one,
            packets: pts.len() as u64,
            first_pts: Some(0),
            duration_us: 0,
        };
        Probe {
            video,
            numbering: Numbering::Packets,
            packets: pts.iter().map(packet).collect(),
            is_idr: (0..pts.len()).map(|i| idr.contains(&i)).collect(),
            changes_parameters: false,
        }
    }

    fn starts(probe: &Probe, seconds: f64) -> Vec<u64> {
        let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
        plan(probe, &model, seconds).segments.iter().map(|segment| segment.start).collect()
    }

    #[test]
    fn cuts_are_at_the_first_idr_past_the_wanted_length() {
        let pts: Vec<i64> = (0..20).collect();
        assert_eq!(starts(&probe(&pts, &[0, 4, 8, 12, 16]), 6.0), [0, 8, 16]);
    }

    #[test]
    fn a_keyframe_with_leading_pictures_is_no_cut() {
        // Packet 3 is shown at 5, and the two behind it before it: they belong to both sides.
        assert_eq!(starts(&probe(&[0, 1, 3, 5, 2, 4, 6, 7], &[0, 3, 7]), 1.0), [0, 7]);
    }

    #[test]
    fn damage_that_the_container_knows_of_makes_one_segment_with_a_reason() {
        let mut damaged = probe(&[0, 1, 2, 3], &[0, 2]);
        damaged.packets[1].corrupt = true;
        let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
        let plan = plan(&damaged, &model, 1.0);
        assert_eq!(plan.segments, [Segment { index: 0, start: 0, end: 4 }]);
        assert!(plan.one_segment_because.unwrap().contains("damaged"));
    }

    #[test]
    fn parameters_that_change_on_the_way_make_one_segment() {
        let mut joined = probe(&[0, 1, 2, 3], &[0, 2]);
        assert_eq!(starts(&joined, 1.0), [0, 2]);
        joined.changes_parameters = true;
        assert_eq!(starts(&joined, 1.0), [0]);
    }

    proptest! {
        #[test]
        fn segments_cover_every_packet_once(
            idr in proptest::collection::vec(any::<bool>(), 1..80),
            seconds in 0.1f64..30.0,
        ) {
            let pts: Vec<i64> = (0..idr.len() as i64).collect();
            let keys: Vec<usize> = (0..idr.len()).filter(|i| idr[*i]).collect();
            let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
            let segments = plan(&probe(&pts, &keys), &model, seconds).segments;
            let mut next = 0;
            for (i, segment) in segments.iter().enumerate() {
                prop_assert_eq!(segment.index as usize, i);
                prop_assert_eq!(segment.start, next);
                prop_assert!(segment.end > segment.start);
                next = segment.end;
            }
            prop_assert_eq!(next, pts.len() as u64);
        }
    }
}

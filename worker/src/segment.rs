//! Cuts a video into segments that can be decoded on their own.

use crate::probe::{Keyframe, Probe};
use framefleet_contract::plan::{Numbering, Plan, Segment};
use framefleet_contract::request::{ModelRef, VERSION};

/// Cuts at safe keyframes, each segment at least `seconds` long. What cannot be cut safely is one segment.
pub fn plan(probe: &Probe, model: &ModelRef, seconds: f64) -> Plan {
    let numbering = if probe.unnumbered_because.is_some() { Numbering::Output } else { Numbering::Packets };
    let (segments, one_segment_because) = match reason_against_cutting(probe) {
        Some(reason) => (vec![Segment::whole(0, probe.video.packets)], Some(reason)),
        None => (cut(probe, seconds), None),
    };
    let too_few_cuts = segments.len() == 1 && probe.video.duration_us as f64 >= 2e6 * seconds;
    let no_cut = || "it has no keyframe far enough from its ends at which it could be cut safely".to_owned();
    Plan {
        version: VERSION,
        model: model.clone(),
        video: probe.video.clone(),
        numbering,
        segments,
        clears_pictures: false,
        one_segment_because: one_segment_because.or_else(|| too_few_cuts.then(no_cut)),
    }
}

fn reason_against_cutting(probe: &Probe) -> Option<String> {
    if let Some(reason) = probe.unnumbered_because {
        return Some(format!("{reason}: only decoding everything in order tells the frames' numbers"));
    }
    probe.uncut_because.map(str::to_owned)
}

fn cut(probe: &Probe, seconds: f64) -> Vec<Segment> {
    let least_us = (seconds * 1e6) as i64;
    let time_of = |pts: i64| probe.video.time_base.ticks_to_us(pts);
    let mut segments = vec![Segment::whole(0, probe.video.packets)];
    let mut start_us = probe.video.first_pts.map_or(0, time_of);
    for (i, keyframe) in probe.keyframes.iter().enumerate() {
        let far_enough = time_of(keyframe.pts).saturating_sub(start_us) >= least_us;
        if keyframe.ordinal == 0 || !keyframe.parts_the_order || !far_enough {
            continue;
        }
        let last = segments.last_mut().expect("it begins with one");
        last.end = keyframe.ordinal;
        let index = last.index + 1;
        segments.push(beginning_at(&probe.keyframes[..=i], index, probe.video.packets));
        start_us = time_of(keyframe.pts);
    }
    segments
}

/// The segment from the last of these keyframes on.
///
/// An IDR picture empties the decoder, so that it is a beginning by itself. Pictures behind any other keyframe may refer
/// to what was sent before it; decoding from one keyframe earlier has that ready.
fn beginning_at(keyframes: &[Keyframe], index: u32, end: u64) -> Segment {
    let ordinal_back = |n: usize| keyframes.iter().rev().nth(n).map_or(0, |keyframe| keyframe.ordinal);
    let [start, one_back, two_back] = [0, 1, 2].map(ordinal_back);
    let is_idr = keyframes.last().is_some_and(|keyframe| keyframe.is_idr);
    let (decode_from, seek_to) = if is_idr { (start, one_back) } else { (one_back, two_back) };
    let first_frame = keyframes.last().map_or(0, |keyframe| keyframe.frames_before);
    Segment { index, start, end, decode_from, seek_to, first_frame }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::identity::Sha256;
    use framefleet_contract::plan::{Ratio, Video};
    use proptest::prelude::*;

    /// One packet a second, shown in the order of the file.
    fn probe(packets: u64, keys: impl IntoIterator<Item = u64>, is_idr: bool) -> Probe {
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
            packets,
            announced_frames: packets,
            first_pts: Some(0),
            duration_us: packets as i64 * 1_000_000,
        };
        let keyframes = keys.into_iter().map(|key| Keyframe::at(key, is_idr)).collect();
        Probe { video, keyframes, unnumbered_because: None, uncut_because: None }
    }

    fn planned(probe: &Probe, seconds: f64) -> Plan {
        plan(probe, &ModelRef { name: "m".into(), sha256: Sha256::of(b"") }, seconds)
    }

    fn starts(probe: &Probe, seconds: f64) -> Vec<u64> {
        planned(probe, seconds).segments.iter().map(|segment| segment.start).collect()
    }

    #[test]
    fn cuts_are_at_the_first_keyframe_past_the_wanted_length() {
        assert_eq!(starts(&probe(20, [0, 4, 8, 12, 16], true), 6.0), [0, 8, 16]);
    }

    #[test]
    fn a_keyframe_across_which_the_order_of_presentation_goes_is_no_cut() {
        let mut probe = probe(20, [0, 4, 8, 12], true);
        probe.keyframes[2].parts_the_order = false;
        assert_eq!(starts(&probe, 6.0), [0, 12]);
    }

    #[test]
    fn an_idr_picture_is_a_beginning_by_itself() {
        let second = planned(&probe(20, [0, 4, 8, 12, 16], true), 8.0).segments[1];
        assert_eq!(second, Segment { index: 1, start: 8, end: 16, decode_from: 8, seek_to: 4, first_frame: 8 });
    }

    #[test]
    fn any_other_keyframe_is_decoded_from_the_one_before_it() {
        let segments = planned(&probe(20, [0, 4, 8, 12, 16], false), 4.0).segments;
        let decoded_from: Vec<(u64, u64)> = segments.iter().map(|s| (s.decode_from, s.seek_to)).collect();
        assert_eq!(decoded_from, [(0, 0), (0, 0), (4, 0), (8, 4), (12, 8)]);
    }

    #[test]
    fn what_speaks_against_cutting_is_in_the_plan() {
        let mut probe = probe(20, [0, 4, 8], true);
        probe.uncut_because = Some("the container marks packets as damaged");
        let plan = planned(&probe, 1.0);
        assert_eq!(plan.segments, [Segment::whole(0, 20)]);
        assert!(plan.one_segment_because.unwrap().contains("damaged"));
        assert_eq!(plan.numbering, Numbering::Packets);
        probe.unnumbered_because = Some("packets without a timestamp");
        let plan = planned(&probe, 1.0);
        assert_eq!(plan.numbering, Numbering::Output);
        assert!(plan.one_segment_because.unwrap().contains("without a timestamp"));
    }

    #[test]
    fn a_long_video_without_cuts_says_so_and_a_short_one_need_not() {
        assert!(planned(&probe(20, [0], true), 6.0).one_segment_because.unwrap().contains("no keyframe"));
        assert_eq!(planned(&probe(20, [0, 4], true), 60.0).one_segment_because, None);
    }

    proptest! {
        #[test]
        fn segments_cover_every_packet_once(
            key in proptest::collection::vec(any::<bool>(), 1..80),
            is_idr in any::<bool>(),
            seconds in 0.1f64..30.0,
        ) {
            let packets = key.len() as u64;
            let keys = (0..packets).filter(|i| key[*i as usize]);
            let plan = planned(&probe(packets, keys, is_idr), seconds);
            prop_assert_eq!(plan.check(), Ok(()));
            for segment in &plan.segments {
                prop_assert_eq!(segment.first_frame, segment.start as i64);
                prop_assert!(segment.start == 0 || is_idr == (segment.decode_from == segment.start));
            }
        }
    }
}

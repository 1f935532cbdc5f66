//! Puts the counts and times of a job together, and names the stage that the others waited for.

use crate::finish::TrackCounts;
use framefleet_contract::detection_file::{DecodedOn, SegmentInfo};
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::request::{Request, VERSION};
use framefleet_contract::summary::{DecodedFrames, FrameCounts, InferParts, SegmentCounts, Speed, StageTime, Summary};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

/// All that a summary is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    pub request: &'a Request,
    pub plan: &'a Plan,
    pub infos: &'a [SegmentInfo],
    pub counts: &'a TrackCounts,
    /// The segments that this process detected.
    pub missing: &'a [Segment],
    pub stages: BTreeMap<String, StageTime>,
    pub infer_parts: Option<InferParts>,
    pub started: SystemTime,
    /// Until the tracks were published.
    pub seconds: f64,
    pub threads: u32,
    pub first_detection_s: Option<f64>,
}

impl Facts<'_> {
    pub fn into_summary(self) -> Summary {
        let sum = |count: fn(&SegmentInfo) -> u64| self.infos.iter().map(count).sum::<u64>();
        let (decoded, inferred) = (sum(|info| info.decoded), sum(|info| info.inferred));
        let here = |info: &&SegmentInfo| self.missing.iter().any(|segment| segment.index == info.index);
        let decoded_here: u64 = self.infos.iter().filter(here).map(|info| info.decoded).sum();
        let frames_per_second = decoded_here as f64 / self.seconds;
        let total = self.plan.segments.len() as u32;
        let device = devices(self.infos);
        Summary {
            version: VERSION,
            job_id: self.request.job_id.clone(),
            frames: FrameCounts {
                packets: self.plan.video.packets,
                decoded,
                damaged: sum(|info| info.damaged),
                lost: self.plan.video.announced_frames.saturating_sub(decoded),
                inferred,
                skipped: decoded - inferred,
                dropped: 0,
            },
            decoded_on: decoded_on(self.infos),
            detections: self.counts.detections,
            tracked: self.counts.tracked,
            tracks: self.counts.tracks,
            classes: self.counts.classes.clone(),
            speed: Speed {
                seconds: self.seconds,
                frames_decoded: decoded_here,
                frames_per_second,
                times_real_time: frames_per_second / self.plan.video.frame_rate.as_f64(),
                first_detection_s: self.first_detection_s,
            },
            limited_by: limit(&self.stages, self.infer_parts, self.request.settings.every, &device),
            stages: self.stages,
            infer_parts: self.infer_parts,
            segments: SegmentCounts { total, found: total - self.missing.len() as u32 },
            device,
            threads: self.threads,
            host: host(),
            started: humantime::format_rfc3339_millis(self.started).to_string(),
            finished: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            program: concat!("framefleet ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

fn decoded_on(infos: &[SegmentInfo]) -> DecodedFrames {
    let frames = |on| infos.iter().filter(|info| info.decoded_on == on).map(|info| info.decoded).sum();
    DecodedFrames {
        nvdec: frames(DecodedOn::Nvdec),
        software: frames(DecodedOn::Software),
        software_because: infos.iter().find_map(|info| info.software_because.clone()),
    }
}

/// Says what this machine is called, where the system says something else: the host's name in a pod of an Indexed Job is
/// the Job's with an index, and not the pod's name, by which others know it.
const HOST_VARIABLE: &str = "FRAMEFLEET_HOST";

/// What stands for the CPU in summaries.
const CPU: &str = "cpu";

/// Where the segments were inferred.
fn devices(infos: &[SegmentInfo]) -> String {
    let names: BTreeSet<&str> = infos.iter().map(|info| info.inferred_on.as_deref().unwrap_or(CPU)).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// This machine's name.
pub fn host() -> String {
    let given = std::env::var(HOST_VARIABLE).ok().filter(|name| !name.is_empty());
    given.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A stage of one thread that waits for nobody.
pub fn alone(since: Instant) -> StageTime {
    StageTime { threads: 1, busy_s: since.elapsed().as_secs_f64(), ..StageTime::default() }
}

/// Below this, no stage kept the others waiting.
const LEAST_SHARE_OF_A_LIMIT: f64 = 0.5;

/// Of the stages that run side by side, the one whose threads were busy for the greatest share of their time.
fn limit(stages: &BTreeMap<String, StageTime>, infer: Option<InferParts>, every: u32, device: &str) -> String {
    let share = |time: &StageTime| time.busy_s / (time.busy_s + time.starved_s + time.blocked_s).max(1e-9);
    let side_by_side = stages.iter().filter(|(name, _)| matches!(name.as_str(), "decode" | "infer" | "write"));
    let Some((name, time)) = side_by_side.max_by(|a, b| share(a.1).total_cmp(&share(b.1))) else {
        return "nothing: every segment was there already".to_owned();
    };
    if share(time) < LEAST_SHARE_OF_A_LIMIT {
        return "no stage: starting and ending took longer than the work".to_owned();
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = match device {
        CPU if (time.threads as usize) < cores => "more --threads",
        CPU => "more cores",
        _ => "a faster GPU",
    };
    let for_inference =
        format!("{cores}, a smaller model or --every {} would raise the speed", every.saturating_mul(2));
    let advice = match name.as_str() {
        "infer" if device == CPU && infer.is_some_and(|parts| parts.preprocess_s > parts.model_s) => {
            "most of it to scale pictures: a video of fewer pixels or of 8 bits, or more cores, would raise the speed"
        }
        "infer" => &for_inference,
        "decode" => "a video of fewer pixels or an easier codec would raise the speed",
        _ => "a faster volume would raise the speed",
    };
    let threads = if time.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", time.threads) };
    format!("{name}, busy {:.0} % of its time on {}: {advice}", 100.0 * share(time), threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_by_where_they_were_decoded_with_the_first_reason() {
        let info = |decoded, decoded_on, because: Option<&str>| SegmentInfo {
            decoded,
            decoded_on,
            software_because: because.map(str::to_owned),
            ..SegmentInfo::default()
        };
        let infos = [
            info(50, DecodedOn::Nvdec, None),
            info(7, DecodedOn::Software, None),
            info(20, DecodedOn::Software, Some("first")),
            info(30, DecodedOn::Software, Some("second")),
        ];
        let expected = DecodedFrames { nvdec: 50, software: 57, software_because: Some("first".to_owned()) };
        assert_eq!(decoded_on(&infos), expected);
    }

    #[test]
    fn every_device_is_named_once() {
        let on =
            |device: Option<&str>| SegmentInfo { inferred_on: device.map(str::to_owned), ..SegmentInfo::default() };
        assert_eq!(devices(&[on(None)]), "cpu");
        assert_eq!(devices(&[on(Some("NVIDIA L4")), on(None), on(Some("NVIDIA L4"))]), "NVIDIA L4, cpu");
    }

    #[test]
    fn the_busiest_stage_is_the_limit() {
        let stage = |busy_s, waiting| StageTime { threads: 1, busy_s, starved_s: waiting, blocked_s: 0.0 };
        let stages = BTreeMap::from([
            ("decode".to_owned(), stage(2.0, 8.0)),
            ("infer".to_owned(), stage(9.0, 1.0)),
            ("track".to_owned(), stage(1.0, 0.0)),
        ]);
        let usual = limit(&stages, None, 3, CPU);
        assert!(usual.starts_with("infer, busy 90 %") && usual.contains("a smaller model or --every 6"), "{usual}");
        let scaling = InferParts { preprocess_s: 6.0, model_s: 3.0, postprocess_s: 0.0 };
        assert!(limit(&stages, Some(scaling), 1, CPU).contains("scale pictures"));
        assert!(limit(&stages, Some(scaling), 1, "NVIDIA L4").contains("a faster GPU, a smaller model"));
        let short = BTreeMap::from([("decode".to_owned(), stage(1.0, 3.0))]);
        assert!(limit(&short, None, 1, CPU).starts_with("no stage"));
    }
}

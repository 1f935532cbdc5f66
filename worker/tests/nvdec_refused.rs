//! A source that was to be decoded on a GPU and is refused there comes out of software as it always does. FFmpeg itself
//! refuses: it is asked for NVDEC, as with a GPU, and is given no GPU.

#![expect(clippy::unwrap_used, reason = "tests")]

use framefleet_contract::detection_file::DecodedOn;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::ModelRef;
use framefleet_contract::volume::Volume;
use framefleet_native::ffmpeg::hardware::{Admitted, DecodeBudget, Hardware};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use framefleet_worker::decode::{DecodeCounts, SegmentDecoder};
use framefleet_worker::error::{JobError, Result};
use framefleet_worker::interrupt::Stop;
use framefleet_worker::{probe, segment};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const ROOMY: DecodeBudget = DecodeBudget { sources: 2, bytes: 1 << 40 };

/// A clip and its plan.
struct Planned {
    _root: TempDir,
    origin: Origin,
    folder: JobFolder,
    plan: Plan,
}

/// A frame's number, its time, and its samples.
type Seen = (i64, i64, u32);

impl Planned {
    /// Three seconds in pieces of one, encoded so.
    fn new(encoder: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let video = clip(root.path(), encoder);
        let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &JobId::new("j").unwrap());
        let origin = Origin::from(&*video);
        let (limits, stop) = (Limits::default(), Stop::default());
        let probe = folder.put_packets(|push| probe::probe(&origin, limits, &stop, push)).unwrap();
        let model = ModelRef { name: "m".parse().unwrap(), sha256: Sha256::of(b"m") };
        let plan = segment::plan(&probe, &model, 1.0);
        Self { _root: root, origin, folder, plan }
    }

    fn decode(&self, hardware: Option<&Arc<Hardware>>) -> Result<(Vec<Seen>, Vec<DecodeCounts>)> {
        let stop = Stop::default();
        let decoder = SegmentDecoder::new(&self.origin, Limits::default(), &self.plan, &self.folder, &stop);
        let (mut decoder, mut seen) = (decoder.on(hardware), Vec::new());
        let mut see = |frame: framefleet_worker::decode::DecodedFrame| {
            seen.push((frame.number, frame.pts_us, frame.frame.checksum().unwrap()));
            true
        };
        let counts: Result<_> = self.plan.segments.iter().map(|segment| decoder.decode(segment, &mut see)).collect();
        counts.map(|counts| (seen, counts))
    }
}

fn clip(folder: &Path, encoder: &str) -> PathBuf {
    let path = folder.join("clip.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25:duration=3"]);
    ffmpeg.args(encoder.split(' ')).args(["-g", "25"]).arg(&path).env("SVT_LOG", "1");
    assert!(ffmpeg.status().unwrap().success(), "ffmpeg makes the clip");
    path
}

/// The same, but for where it was decoded.
fn in_software_because(counts: &[DecodeCounts], because: &str) -> Vec<DecodeCounts> {
    let with_reason = |counts: &DecodeCounts| {
        let software_because = Some(because.to_owned());
        DecodeCounts { decoded_on: DecodedOn::Software, software_because, ..counts.clone() }
    };
    counts.iter().map(with_reason).collect()
}

#[test]
fn a_source_that_ffmpeg_refuses_on_the_gpu_comes_out_of_software() {
    for encoder in [
        "-c:v libx264 -bf 2",
        "-c:v libx265 -x265-params log-level=error",
        "-c:v libvpx",
        "-c:v libvpx-vp9 -deadline realtime",
        "-c:v libsvtav1 -preset 12",
    ] {
        let planned = Planned::new(encoder);
        let (expected, in_software) = planned.decode(None).unwrap();
        assert!(in_software.iter().all(|counts| counts.software_because.is_none()));
        let (seen, counts) = planned.decode(Some(&Hardware::refusing(ROOMY, Box::new(|_| Ok(()))))).unwrap();
        assert_eq!(expected.len(), 75, "{encoder}");
        assert_eq!(seen, expected, "{encoder}");
        let said = counts[0].software_because.clone().unwrap();
        assert!(said.starts_with("NVDEC does not decode it: ") && said.contains("cuda"), "{encoder}: {said}");
        assert_eq!(counts, in_software_because(&in_software, &said), "{encoder}");
    }
}

#[test]
fn a_source_that_the_gpu_cannot_decode_is_not_tried_on_it() {
    let planned = Planned::new("-c:v libx264");
    let asked = |asked: &framefleet_native::ffmpeg::hardware::Asked<'_>| {
        assert_eq!((asked.codec, asked.depth, asked.width, asked.height), ("h264", 8, 160, 96));
        Err("it is too small".to_owned())
    };
    let (expected, in_software) = planned.decode(None).unwrap();
    let (seen, counts) = planned.decode(Some(&Hardware::refusing(ROOMY, Box::new(asked)))).unwrap();
    assert_eq!(seen, expected);
    assert_eq!(counts, in_software_because(&in_software, "it is too small"));
}

#[test]
fn a_source_that_is_larger_than_the_budget_is_decoded_in_software() {
    let planned = Planned::new("-c:v libx264");
    let little = DecodeBudget { bytes: 1 << 20, ..ROOMY };
    let (_, counts) = planned.decode(Some(&Hardware::refusing(little, Box::new(|_| Ok(()))))).unwrap();
    let said = counts[0].software_because.clone().unwrap();
    assert!(said.contains("it takes 3 MiB of the GPU's memory, and 1 may be taken"), "{said}");
}

#[test]
fn a_source_that_waits_for_the_gpu_can_be_stopped() {
    let planned = Planned::new("-c:v libx264");
    let hardware = Hardware::refusing(DecodeBudget { sources: 1, ..ROOMY }, Box::new(|_| Ok(())));
    let Admitted::In(_all) = hardware.admission().admit(1, || false) else { panic!("it is empty") };
    let stop = Stop::default();
    let decoder = SegmentDecoder::new(&planned.origin, Limits::default(), &planned.plan, &planned.folder, &stop);
    let mut decoder = decoder.on(Some(&hardware));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| decoder.decode(&planned.plan.segments[0], &mut |_| true));
        stop.fail();
        assert!(matches!(waits.join().unwrap(), Err(JobError::Interrupted)));
    });
}

#[test]
fn damage_that_refutes_a_plan_does_so_after_a_refusal_too() {
    let mut planned = Planned::new("-c:v libx264 -bf 0");
    // The frames that follow refer to the one that is not decoded.
    planned.plan.segments[0].decode_from = 1;
    let refuted = |hardware| match planned.decode(hardware) {
        Err(JobError::PlanRefuted { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let in_software = refuted(None);
    assert_eq!(refuted(Some(&Hardware::refusing(ROOMY, Box::new(|_| Ok(()))))), in_software);
}

//! Decoding on a GPU without one: FFmpeg's own NVDEC code and the driver's binding run on a driver of these tests
//! (`nvdec/driver.c`), which gives the right pictures in the way of a GPU. What comes out must be what software gives.
//!
//! Each test runs again in a process of its own that finds this driver.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use framefleet_contract::ErrorCode;
use framefleet_contract::detection_file::DecodedOn;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::ModelRef;
use framefleet_contract::volume::Volume;
use framefleet_native::cuda::Gpu;
use framefleet_native::ffmpeg::decode::Frame;
use framefleet_native::ffmpeg::hardware::Hardware;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use framefleet_worker::decode::{DecodeCounts, DecodedFrame, SegmentDecoder};
use framefleet_worker::error::Result;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::{probe, segment};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::{env, fs, thread};

/// The folder through which a test and the driver speak.
const FOLDER: &str = "FRAMEFLEET_TEST_NVDEC";
const WIDTH: usize = 150;
const HEIGHT: usize = 90;
const FRAMES: u64 = 75;
/// Which the driver takes for "none".
const SOUND: &str = "-1 0";

/// Runs a test in a process that has the driver, with a folder of its own, and checks that it gave everything back. `None`
/// in that process itself.
fn with_driver(test: &str) -> Option<Left> {
    if env::var_os(FOLDER).is_some() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvdec/driver.c");
    let library = folder.path().join("libcuda.so.1");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"]).arg(source).arg("-o").arg(&library);
    assert!(compiler.status().unwrap().success(), "the driver is compiled");
    for name in ["libcuda.so", "libnvcuvid.so.1"] {
        std::os::unix::fs::symlink(&library, folder.path().join(name)).unwrap();
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path()).env("LD_LIBRARY_PATH", folder.path());
    assert!(again.status().unwrap().success(), "{test} in its own process");
    Some(Left::read(folder.path()))
}

/// What the driver counted.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    bytes: i64,
    surfaces: i64,
    decoders: i64,
    streams: i64,
    decoded: i64,
    calls_without_context: i64,
}

impl Left {
    fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("left")).unwrap();
        let numbers: Vec<i64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        let [bytes, surfaces, decoders, streams, decoded, calls_without_context] = numbers[..] else {
            panic!("{text}")
        };
        Self { bytes, surfaces, decoders, streams, decoded, calls_without_context }
    }

    /// Everything was given back.
    fn nothing(decoded: i64) -> Self {
        Self { bytes: 0, surfaces: 0, decoders: 0, streams: 0, decoded, calls_without_context: 0 }
    }
}

/// A clip, its plan, and the driver's files.
struct Planned {
    origin: Origin,
    folder: JobFolder,
    plan: Plan,
}

/// A frame's number, its time, its samples, and whether it was on the GPU.
type Seen = (i64, i64, u32, bool);

impl Planned {
    /// Three seconds in pieces of one, encoded so. `failure` is the picture at which the driver fails, and its error.
    fn new(encoder: &str, pixel_format: &str, failure: &str) -> Self {
        let root = PathBuf::from(env::var_os(FOLDER).unwrap());
        let clip = root.join("clip.mkv");
        ffmpeg(&["-f", "lavfi", "-i", &format!("testsrc2=size={WIDTH}x{HEIGHT}:rate=25:duration=3")], |ffmpeg| {
            ffmpeg.args(encoder.split(' ')).args(["-pix_fmt", pixel_format, "-g", "25"]).arg(&clip);
        });
        let (semi_planar, sample) = if pixel_format == "yuv420p" { ("nv12", 1) } else { ("p010le", 2) };
        ffmpeg(&["-i", clip.to_str().unwrap()], |ffmpeg| {
            ffmpeg.args(["-f", "rawvideo", "-pix_fmt", semi_planar]).arg(root.join("pictures"));
        });
        fs::write(root.join("shape"), format!("{WIDTH} {HEIGHT} {sample} {failure}")).unwrap();

        let folder = JobFolder::new(&Volume::open(&root).unwrap(), &JobId::new("j").unwrap());
        let origin = Origin::from(&*clip);
        let (limits, stop) = (Limits::default(), Stop::default());
        let probe = folder.put_packets(|push| probe::probe(&origin, limits, &stop, push)).unwrap();
        let model = ModelRef { name: "m".parse().unwrap(), sha256: Sha256::of(b"m") };
        let plan = segment::plan(&probe, &model, 1.0);
        assert_eq!(plan.segments.len(), 3);
        fs::write(root.join("index"), index(&folder, plan.video.packets)).unwrap();
        Self { origin, folder, plan }
    }

    fn decode(&self, hardware: Option<&Arc<Hardware>>) -> Result<(Vec<Seen>, Vec<DecodeCounts>)> {
        let stop = Stop::default();
        let decoder = SegmentDecoder::new(&self.origin, Limits::default(), &self.plan, &self.folder, &stop);
        let (mut decoder, mut seen) = (decoder.on(hardware), Vec::new());
        // Pictures are kept for longer than NVDEC has surfaces, and dropped where nobody else calls the driver.
        let (keep, kept) = mpsc::channel::<Frame>();
        let counts: Result<_> = thread::scope(|scope| {
            let keep = keep;
            scope.spawn(move || drop(kept.iter().collect::<Vec<_>>()));
            let mut see = |decoded: DecodedFrame| {
                let DecodedFrame { number, pts_us, frame, .. } = decoded;
                seen.push((number, pts_us, frame.checksum().unwrap(), frame.device_picture().is_some()));
                keep.send(frame).unwrap();
                true
            };
            self.plan.segments.iter().map(|segment| decoder.decode(segment, &mut see)).collect()
        });
        counts.map(|counts| (seen, counts))
    }
}

fn ffmpeg(input: &[&str], and: impl FnOnce(&mut Command)) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error"]).args(input).env_remove("LD_LIBRARY_PATH");
    and(&mut ffmpeg);
    assert!(ffmpeg.status().unwrap().success(), "{ffmpeg:?}");
}

/// Position and rank of each packet.
fn index(folder: &JobFolder, packets: u64) -> Vec<u8> {
    let rows: Vec<_> = folder.packets(0, packets).unwrap().map(|row| row.unwrap()).collect();
    let rank = |pts| rows.iter().filter(|row| row.shown && row.pts < pts).count() as u64;
    rows.iter().flat_map(|row| [row.position.unwrap() as u64, rank(row.pts)]).flat_map(u64::to_ne_bytes).collect()
}

fn gpu() -> Arc<Hardware> {
    Hardware::new(Gpu::open(0).unwrap(), 1, Box::new(|_| Ok(()))).unwrap()
}

fn on_the_gpu(seen: &[Seen], from: usize) -> Vec<Seen> {
    seen.iter().enumerate().map(|(i, seen)| (seen.0, seen.1, seen.2, i < from)).collect()
}

fn comes_out_as_from_software(encoder: &str, pixel_format: &str) {
    let planned = Planned::new(encoder, pixel_format, SOUND);
    let (expected, in_software) = planned.decode(None).unwrap();
    let (seen, counts) = planned.decode(Some(&gpu())).unwrap();
    assert_eq!(seen.len() as u64, FRAMES);
    assert_eq!(seen, on_the_gpu(&expected, seen.len()));
    let on_nvdec = |counts: &DecodeCounts| DecodeCounts { decoded_on: DecodedOn::Nvdec, ..counts.clone() };
    assert_eq!(counts, in_software.iter().map(on_nvdec).collect::<Vec<_>>());
}

#[test]
fn h264_comes_out_as_from_software() {
    match with_driver("h264_comes_out_as_from_software") {
        // Each segment but the last one decodes the first picture of the next one too.
        Some(left) => assert_eq!(left, Left::nothing(FRAMES as i64 + 2)),
        None => comes_out_as_from_software("-c:v libx264 -bf 3 -x264-params scenecut=0", "yuv420p"),
    }
}

#[test]
fn hevc_of_ten_bits_comes_out_as_from_software() {
    match with_driver("hevc_of_ten_bits_comes_out_as_from_software") {
        Some(left) => assert_eq!(left, Left::nothing(left.decoded)),
        None => comes_out_as_from_software("-c:v libx265 -x265-params log-level=error:scenecut=0", "yuv420p10le"),
    }
}

#[test]
fn vp9_comes_out_as_from_software() {
    match with_driver("vp9_comes_out_as_from_software") {
        Some(left) => assert_eq!(left, Left::nothing(left.decoded)),
        None => comes_out_as_from_software("-c:v libvpx-vp9 -deadline realtime -auto-alt-ref 0", "yuv420p"),
    }
}

#[test]
fn where_nvdec_fails_software_goes_on_with_the_next_frame() {
    let Some(left) = with_driver("where_nvdec_fails_software_goes_on_with_the_next_frame") else {
        // Invalid value: an error that passes.
        let planned = Planned::new("-c:v libx264 -bf 0 -x264-params scenecut=0", "yuv420p", "40 1");
        let (expected, _) = planned.decode(None).unwrap();
        let (seen, counts) = planned.decode(Some(&gpu())).unwrap();
        let from = seen.iter().filter(|seen| seen.3).count();
        assert!((26..40).contains(&from), "{from} frames are from the GPU");
        assert_eq!(seen, on_the_gpu(&expected, from));
        let on: Vec<_> = counts.iter().map(|counts| counts.decoded_on).collect();
        assert_eq!(on, [DecodedOn::Nvdec, DecodedOn::Software, DecodedOn::Software]);
        let reasons: Vec<_> = counts.iter().map(|counts| counts.software_because.clone()).collect();
        assert_eq!((&reasons[0], &reasons[1]), (&None, &reasons[2]));
        let said = reasons[1].as_deref().unwrap();
        assert!(said.contains("cuvidDecodePicture") && said.contains("CUDA_ERROR_OF_TEST"), "{said}");
        return;
    };
    assert_eq!(left, Left::nothing(41));
}

#[test]
fn a_gpu_that_is_lost_ends_the_work() {
    let Some(left) = with_driver("a_gpu_that_is_lost_ends_the_work") else {
        // Unspecified launch failure: an error that stays.
        let planned = Planned::new("-c:v libx264 -bf 0 -x264-params scenecut=0", "yuv420p", "40 719");
        let error = planned.decode(Some(&gpu())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceLost, "{error}");
        return;
    };
    assert_eq!((left.decoded, left.decoders, left.calls_without_context), (41, 0, 0));
}

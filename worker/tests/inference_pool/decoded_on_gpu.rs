//! Whole jobs on a pretended GPU, from the packets to the tracks: no picture comes to the host and none goes back.

use super::on_pretended_gpu::{batches_of, bench_on};
use super::pretended_gpu::{Clip, Counts, Encoding, PretendedGpu, in_its_own_process, nvdec_of};
use super::{Bench, ENCODER, SAMPLE, SEGMENT_SECONDS, tracks};
use framefleet_contract::detection_file::DecodedOn;
use framefleet_contract::summary::{DecodedFrames, Summary};
use framefleet_models::RecordedFrames;
use framefleet_native::picture::Picture;
use framefleet_worker::decode::DecodedFrame;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::Finished;
use std::thread;
use std::time::Instant;

const FRAMES: u64 = 40;
/// Where a picture lies, and how it goes into the model's input, is told in less.
const BYTES_OF_PARAMETERS: i64 = 1000;

fn h264() -> Clip {
    Clip::new("h264", Encoding { input: SAMPLE, encoder: ENCODER, pixel_format: "yuv420p", segment: SEGMENT_SECONDS })
}

fn hevc_of_ten_bits() -> Clip {
    let encoder = "-c:v libx265 -x265-params log-level=error:keyint=20:pools=1";
    Clip::new("hevc", Encoding { input: SAMPLE, encoder, pixel_format: "yuv420p10le", segment: SEGMENT_SECONDS })
}

/// One that decodes too.
fn bench(gpu: PretendedGpu) -> Bench {
    let gpu = gpu.take_up();
    let hardware = nvdec_of(&gpu);
    bench_on(gpu, Some(hardware), batches_of(4))
}

fn run(bench: &Bench, name: &str, clip: &Clip) -> Finished {
    bench.run(name, &clip.path, &bench.street(), &Stop::default()).unwrap()
}

/// What the CPU finds: something.
fn on_cpu(clip: &Clip) -> Vec<u8> {
    let bench = Bench::new();
    let finished = run(&bench, "cpu", clip);
    let Summary { tracks: found, decoded_on, .. } = summary(&finished);
    assert_eq!(decoded_on, DecodedFrames { nvdec: 0, software: FRAMES, software_because: None });
    assert!(found > 3, "{found} tracks");
    tracks(&finished)
}

fn summary(finished: &Finished) -> Summary {
    finished.folder.summary().unwrap().unwrap()
}

fn decoded_on(finished: &Finished) -> Vec<DecodedOn> {
    let segments = finished.folder.published_segments().unwrap();
    segments.into_iter().map(|index| finished.folder.segment_info(index).unwrap().decoded_on).collect()
}

#[test]
fn whole_jobs_on_a_gpu_give_the_bytes_of_the_cpu() {
    in_its_own_process(|| {
        let (h264, hevc) = (h264(), hevc_of_ten_bits());
        let expected = [on_cpu(&h264), on_cpu(&hevc)];
        let bench = bench(PretendedGpu::SOUND);
        let street = bench.street();
        // Warming up is done with pictures of the host's.
        street.warm(1, None).unwrap();
        let before = Counts::now();
        let jobs = thread::scope(|scope| {
            let jobs = [("a", &h264), ("b", &hevc), ("c", &h264)].map(|(name, clip)| {
                let (bench, street) = (&bench, &street);
                scope.spawn(move || bench.run(name, &clip.path, street, &Stop::default()).unwrap())
            });
            jobs.map(|job| job.join().unwrap())
        });
        for (finished, expected) in jobs.iter().zip([&expected[0], &expected[1], &expected[0]]) {
            let on_nvdec = DecodedFrames { nvdec: FRAMES, software: 0, software_because: None };
            assert_eq!(summary(finished).decoded_on, on_nvdec);
            assert_eq!(decoded_on(finished), [DecodedOn::Nvdec; 2]);
            assert_eq!(summary(finished).device, "Pretended GPU");
            assert!(tracks(finished) == *expected, "{}", finished.folder.path().display());
        }
        drop((bench, street));
        let counts = Counts::at_the_end();
        // The first segment of each job decodes the first picture of the second too. HEVC's second begins with an open group,
        // for which the first is decoded again.
        assert_eq!(counts.decoded_pictures as u64, 3 * (FRAMES + 1) + FRAMES / 2);
        let batches = counts.preprocessed_batches - before.preprocessed_batches;
        let uploaded = counts.uploaded_bytes - before.uploaded_bytes;
        assert!(batches < 3 * FRAMES as i64 / 2, "{batches} batches");
        assert!(uploaded > 0 && uploaded <= batches * 4 * BYTES_OF_PARAMETERS, "{uploaded} bytes in {batches} batches");
    });
}

#[test]
fn where_nvdec_fails_the_bytes_stay_and_the_summary_says_why() {
    in_its_own_process(|| {
        let h264 = h264();
        let expected = on_cpu(&h264);
        // In the second segment, of an invalid value, which passes.
        let bench = bench(PretendedGpu { failing_picture: Some((30, 1)), ..PretendedGpu::SOUND });
        let finished = run(&bench, "fails", &h264);
        assert!(tracks(&finished) == expected);
        assert_eq!(decoded_on(&finished), [DecodedOn::Nvdec, DecodedOn::Software]);
        let DecodedFrames { nvdec, software, software_because } = summary(&finished).decoded_on;
        assert_eq!((nvdec, software), (FRAMES / 2, FRAMES / 2));
        let because = software_because.unwrap();
        assert!(because.contains("cuvidDecodePicture"), "{because}");
        drop(bench);
        assert_eq!(Counts::at_the_end().decoded_pictures, 31);
    });
}

#[test]
fn a_picture_on_a_gpu_is_recorded_as_software_decodes_it() {
    in_its_own_process(|| {
        let mut bench = bench(PretendedGpu::SOUND);
        for clip in [h264(), hevc_of_ten_bits()] {
            let recorded = RecordedFrames::default();
            bench.recorded = Some(recorded.clone());
            let began = Instant::now();
            let finished = run(&bench, "recorded", &clip);
            let seconds = began.elapsed().as_secs();
            assert_eq!(decoded_on(&finished), [DecodedOn::Nvdec; 2]);
            let pictures = recorded.pictures();
            assert!((1..=1 + seconds).contains(&(pictures.len() as u64)), "{} in {seconds} s", pictures.len());
            let decoded = in_software(&clip);
            assert!(pictures.iter().all(|picture| decoded.contains(&samples(&picture.picture()))));
        }
        drop(bench);
        Counts::at_the_end();
    });
}

fn in_software(clip: &Clip) -> Vec<(String, Vec<u8>)> {
    let mut decoded = Vec::new();
    let mut see = |frame: DecodedFrame| {
        decoded.push(samples(&frame.frame.picture().unwrap()));
        true
    };
    clip.decode(None, &mut see).unwrap();
    decoded
}

/// All of a picture, without what lies between its rows.
fn samples(picture: &Picture<'_>) -> (String, Vec<u8>) {
    let Picture { width, height, depth, chroma_shift_x, chroma_shift_y, matrix, range, display, .. } = picture;
    let form = format!("{width} {height} {depth} {chroma_shift_x} {chroma_shift_y} {matrix:?} {range:?} {display:?}");
    let sample = if *depth > 8 { 2 } else { 1 };
    let chroma = width.div_ceil(1 << chroma_shift_x);
    let rows = picture.planes.iter().zip([*width, chroma, chroma]).flat_map(|(plane, width)| {
        plane.data.chunks(plane.stride).flat_map(move |row| row[..width * sample].iter().copied())
    });
    (form, rows.collect())
}

use super::folder;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::ModelRef;
use framefleet_contract::volume::Volume;
use framefleet_native::ffmpeg::hardware::Hardware;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use framefleet_worker::decode::{DecodeCounts, DecodedFrame, SegmentDecoder};
use framefleet_worker::error::Result;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::{probe, segment};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// A video that the driver gives the pictures of, as FFmpeg decodes them in software.
#[derive(Debug)]
pub struct Clip {
    pub path: PathBuf,
    pub plan: Plan,
    packets: JobFolder,
}

/// What a clip is made of.
#[derive(Debug, Clone, Copy)]
pub struct Encoding<'a> {
    /// FFmpeg's options for its input, and for what is done with the pictures.
    pub input: &'a str,
    pub encoder: &'a str,
    /// `yuv420p` or `yuv420p10le`.
    pub pixel_format: &'a str,
    /// Of a segment, in seconds.
    pub segment: f64,
}

impl Clip {
    /// Its name is that of no other clip of this process.
    pub fn new(name: &str, encoding: Encoding<'_>) -> Self {
        let Encoding { input, encoder, pixel_format, segment } = encoding;
        let root = folder().join("clips").join(name);
        fs::create_dir(&root).unwrap();
        let path = root.join("clip.mkv");
        ffmpeg(&format!("{input} {encoder} -pix_fmt {pixel_format} {}", path.display()));
        let (semi_planar, sample) = if pixel_format == "yuv420p" { ("nv12", 1) } else { ("p010le", 2) };
        let pictures = root.join("pictures");
        ffmpeg(&format!("-i {} -f rawvideo -pix_fmt {semi_planar} {}", path.display(), pictures.display()));

        let packets = JobFolder::new(&Volume::open(&root).unwrap(), &JobId::new("probed").unwrap());
        let (origin, limits, stop) = (Origin::from(&*path), Limits::default(), Stop::default());
        let probe = packets.put_packets(|push| probe::probe(&origin, limits, &stop, push)).unwrap();
        let model = ModelRef { name: "none".parse().unwrap(), sha256: Sha256::of(b"none") };
        let plan = segment::plan(&probe, &model, segment);
        let (width, height) = (plan.video.width, plan.video.height);
        fs::write(root.join("shape"), format!("{width} {height} {sample}")).unwrap();
        let clip = Self { path, plan, packets };
        fs::write(root.join("index"), clip.index()).unwrap();
        clip
    }

    /// Position and rank of each packet.
    fn index(&self) -> Vec<u8> {
        let rows = self.packets.packets(0, self.plan.video.packets).unwrap();
        let rows: Vec<_> = rows.map(|row| row.unwrap()).collect();
        let rank = |pts| rows.iter().filter(|row| row.shown && row.pts < pts).count() as u64;
        rows.iter().flat_map(|row| [row.position.unwrap() as u64, rank(row.pts)]).flat_map(u64::to_ne_bytes).collect()
    }

    /// All segments, on this hardware or in software.
    pub fn decode(
        &self,
        hardware: Option<&Arc<Hardware>>,
        see: &mut dyn FnMut(DecodedFrame) -> bool,
    ) -> Result<Vec<DecodeCounts>> {
        let (origin, stop) = (Origin::from(&*self.path), Stop::default());
        let decoder = SegmentDecoder::new(&origin, Limits::default(), &self.plan, &self.packets, &stop);
        let mut decoder = decoder.on(hardware);
        self.plan.segments.iter().map(|segment| decoder.decode(segment, see)).collect()
    }
}

fn ffmpeg(arguments: &str) {
    let mut ffmpeg = Command::new("ffmpeg");
    // The program has no business with this driver.
    ffmpeg.args(["-nostdin", "-v", "error"]).args(arguments.split(' ')).env_remove("LD_LIBRARY_PATH");
    assert!(ffmpeg.status().unwrap().success(), "{ffmpeg:?}");
}

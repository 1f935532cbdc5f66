//! What a model sees in one picture, drawn into it.

use crate::error::{JobError, Result};
use crate::probe::display_of_stream;
use crate::render::canvas::Canvas;
use crate::render::pen::Pen;
use framefleet_models::check::Checked;
use framefleet_models::{Detector, Runtime, Thresholds};
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Pictures, Received};
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::limits::Limits;
use opencv::core::{MatTraitConst, MatTraitConstManual};
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::Path;

/// Less certain boxes would only cover the picture.
const LEAST_SCORE: f32 = 0.25;

/// Draws what the model finds in a picture, or in the first frame of a video, into a PNG file, and gives the number of
/// boxes.
pub fn draw(checked: &Checked, image: &Path, png: &Path) -> Result<usize> {
    refuse_to_replace(png)?;
    let frame = first_frame(image)?;
    let manifest = &checked.model.manifest;
    let usual = Thresholds::from(&manifest.defaults);
    let thresholds = Thresholds { confidence: usual.confidence.max(LEAST_SCORE), ..usual };
    let mut detector = Detector::new(&Runtime::load()?, &checked.model)?;
    let picture = frame.picture().expect("it was decoded in software");
    let detections = detector.detect(&picture, &thresholds)?;
    let failed = |e: String| JobError::Draw(e);
    let mut canvas = Canvas::default();
    canvas.paint(&frame).map_err(|e| failed(e.to_string()))?;
    let pen = Pen::for_height(canvas.upright.rows() as u32);
    // The best are drawn last, on top of the others.
    for detection in detections.iter().rev() {
        let class_id = detection.class_id;
        let name = usize::try_from(class_id).ok().and_then(|id| manifest.classes.get(id));
        let label = format!("{} {:.2}", name.map_or("?", String::as_str), detection.score);
        let colour = i64::from(class_id) + 1;
        pen.boxed(&mut canvas.upright, colour, detection, &label).map_err(|e| failed(e.to_string()))?;
    }
    write_png(&canvas, png).map_err(|e| failed(format!("{} cannot be written: {e}", png.display())))?;
    Ok(detections.len())
}

/// What is no picture of an earlier call may be worth more than one of this.
fn refuse_to_replace(png: &Path) -> Result<()> {
    let mut start = [0; PNG.len()];
    match File::open(png).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) if start == *PNG => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => {
            let what = format!("{} is there and is no PNG file; name another one with --drawn", png.display());
            Err(JobError::BadRequest(what))
        }
    }
}

/// What such files begin with.
const PNG: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

fn first_frame(path: &Path) -> Result<Frame> {
    let limits = Limits::default();
    let mut demuxer = match Demuxer::open_picture(path, limits) {
        // No picture, then: a video it may be.
        Err(MediaError::FormatDenied { .. } | MediaError::NoVideo { .. }) => Demuxer::open(path, limits)?,
        opened => opened?,
    };
    let mut decoder = Decoder::open(&demuxer, display_of_stream(&demuxer.info()?), Pictures::Cleared)?;
    let mut at_end = false;
    while !at_end {
        if let Some(packet) = demuxer.next_packet()? {
            decoder.send_as_is(&packet)?;
        } else {
            at_end = true;
            decoder.send_end()?;
        }
        loop {
            match decoder.receive()? {
                Received::Frame(frame) => return Ok(frame),
                Received::Damaged => {}
                Received::Nothing => break,
            }
        }
    }
    let reason = "no picture comes out of it".to_owned();
    Err(MediaError::NoVideo { path: path.to_owned(), reason }.into())
}

fn write_png(canvas: &Canvas, path: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (width, height) = (canvas.upright.cols() as u32, canvas.upright.rows() as u32);
    let rgb: Vec<u8> = canvas.upright.data_bytes()?.as_chunks().0.iter().flat_map(|&[b, g, r]| [r, g, b]).collect();
    let mut file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(file.flush()?)
}

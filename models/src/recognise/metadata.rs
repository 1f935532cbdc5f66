//! What Ultralytics' exporters write beside the graph; each value is a Python `repr`.

use super::{LARGEST_SIDE, Refusal, class_names, refuse};
use crate::onnx::Header;

pub struct Metadata {
    pub task: Option<String>,
    pub stride: Option<u32>,
    pub image_size: Option<u32>,
    pub names: Option<Vec<String>>,
    /// Whether the head is that of RT-DETR.
    pub is_rt_detr: bool,
    /// Somebody else whose exporter writes the same keys.
    pub other_maker: Option<String>,
}

impl Metadata {
    pub fn read(header: &Header) -> Result<Self, Refusal> {
        let text = |key: &str| header.metadata.get(key).map(|value| value.trim());
        let names = match text("names") {
            None => None,
            Some(names) => match class_names::parse(names) {
                Ok(names) => Some(names),
                Err(problem) => return refuse(format!("its metadata `names` cannot be read: {problem}")),
            },
        };
        let stride = match text("stride") {
            None => None,
            Some(stride) => match stride.trim_end_matches(".0").parse() {
                Ok(stride @ (8 | 16 | 32 | 64 | 128)) => Some(stride),
                _ => return refuse(format!("its metadata `stride` is {stride:?}, not 8 to 128")),
            },
        };
        let sides = text("imgsz").map(|sides| {
            sides.trim_matches(['[', ']', '(', ')']).split(',').filter_map(|side| side.trim().parse().ok()).max()
        });
        let image_size = match sides {
            None => None,
            Some(Some(side @ 1..=LARGEST_SIDE)) => Some(side),
            Some(_) => return refuse("its metadata `imgsz` is no size of a picture"),
        };
        if let Some(channels) = text("channels").filter(|channels| *channels != "3") {
            return refuse(format!("its metadata says {channels} channels; only colour pictures are supported"));
        }
        let description = text("description").unwrap_or_default().to_ascii_lowercase();
        let is_rt_detr = text("head") == Some("RTDETRDecoder")
            || ["rtdetr", "rt-detr"].iter().any(|name| description.contains(name));
        let other_maker = text("libreyolo_version").map(|_| "LibreYOLO".to_owned());
        Ok(Self { task: text("task").map(str::to_owned), stride, image_size, names, is_rt_detr, other_maker })
    }
}

//! `model.toml`: what the owner of a model says about it, instead of what is recognised.
//!
//! Strict: a key that is not known is an error. `models/README.md` documents every key with its unit and default.

use crate::manifest::{ColourOrder, Defaults, HeadFamily, Placement, Preprocessing, Resize, Rounding};
use crate::recognise::class_names;
use framefleet_contract::tracker_settings::ByteTrackSettings;
use serde::Deserialize;

/// The file's content; every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelToml {
    pub head: Option<HeadFamily>,
    /// In the order in which the head reads them.
    pub outputs: Option<Vec<String>>,
    pub classes: Option<ClassList>,
    pub stride: Option<u32>,
    pub image_size: Option<u32>,
    pub warm_up: Option<[u32; 2]>,

    colour: Option<ColourOrder>,
    scale: Option<f64>,
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
    resize: Option<Resize>,
    placement: Option<Placement>,
    rounding: Option<Rounding>,
    pad: Option<u8>,

    confidence: Option<f32>,
    iou: Option<f32>,
    class_agnostic: Option<bool>,
    max_detections: Option<u32>,
    tracker: Option<ByteTrackSettings>,
}

/// Names by class id, or the name of a list that is known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ClassList {
    Known(KnownClasses),
    Names(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownClasses {
    /// The 80 classes of COCO, from 0.
    Coco,
    /// COCO's own numbers from 0 to 90, some of which are unused.
    #[serde(rename = "coco-91")]
    Coco91,
}

impl ClassList {
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Known(KnownClasses::Coco) => class_names::coco(),
            Self::Known(KnownClasses::Coco91) => class_names::coco_91(),
            Self::Names(names) => names.clone(),
        }
    }
}

/// More bytes than a `model.toml` with 65,536 names has.
pub(crate) const LARGEST: usize = 4 << 20;

impl ModelToml {
    /// Reads the file's text; the error says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("model.toml is larger than {LARGEST} bytes"));
        }
        let toml: Self = toml::from_str(text).map_err(|error| format!("model.toml: {}", explain(&error, text)))?;
        toml.check().map_err(|problem| format!("model.toml: {problem}"))?;
        Ok(toml)
    }

    fn check(&self) -> Result<(), String> {
        let share = |key: &str, value: Option<f32>| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(format!("{key} is {value}, not from 0 to 1")),
            _ => Ok(()),
        };
        share("confidence", self.confidence)?;
        share("iou", self.iou)?;
        if self.scale.is_some_and(|scale| !(scale > 0.0 && scale.is_finite())) {
            return Err("scale must be greater than 0".to_owned());
        }
        if self.std.is_some_and(|std| !std.iter().all(|std| *std > 0.0 && std.is_finite())) {
            return Err("each std must be greater than 0".to_owned());
        }
        if self.mean.is_some_and(|mean| !mean.iter().all(|mean| mean.is_finite())) {
            return Err("each mean must be a number".to_owned());
        }
        if self.stride.is_some_and(|stride| !(1..=128).contains(&stride)) {
            return Err("stride must be from 1 to 128".to_owned());
        }
        if self.image_size.is_some_and(|side| !(1..=8192).contains(&side)) {
            return Err("image_size must be from 1 to 8192".to_owned());
        }
        if self.warm_up.is_some_and(|sides| !sides.iter().all(|side| (16..=8192).contains(side))) {
            return Err("warm_up must be a width and a height from 16 to 8192".to_owned());
        }
        if self.max_detections.is_some_and(|most| !(1..=100_000).contains(&most)) {
            return Err("max_detections must be from 1 to 100000".to_owned());
        }
        if let Some(ClassList::Names(names)) = &self.classes
            && !(1..=crate::recognise::MOST_CLASSES).contains(&names.len())
        {
            return Err(format!("classes lists {} names, not 1 to {}", names.len(), crate::recognise::MOST_CLASSES));
        }
        self.tracker.map_or(Ok(()), |tracker| tracker.validate().map_err(|error| error.to_string()))
    }

    /// Whether the file says how samples are normalised: one of the two without the other says nothing.
    pub fn says_mean_and_std(&self) -> bool {
        self.mean.is_some() && self.std.is_some()
    }

    /// What was recognised, with what the file says instead.
    pub fn preprocessing(&self, recognised: Preprocessing) -> Preprocessing {
        Preprocessing {
            colour: self.colour.unwrap_or(recognised.colour),
            scale: self.scale.unwrap_or(recognised.scale),
            mean: self.mean.unwrap_or(recognised.mean),
            std: self.std.unwrap_or(recognised.std),
            resize: self.resize.unwrap_or(recognised.resize),
            placement: self.placement.unwrap_or(recognised.placement),
            rounding: self.rounding.unwrap_or(recognised.rounding),
            pad: self.pad.unwrap_or(recognised.pad),
        }
    }

    pub fn defaults(&self) -> Defaults {
        let usual = Defaults::default();
        Defaults {
            confidence: self.confidence.unwrap_or(usual.confidence),
            iou: self.iou.unwrap_or(usual.iou),
            class_agnostic: self.class_agnostic.unwrap_or(usual.class_agnostic),
            max_detections: self.max_detections.unwrap_or(usual.max_detections),
            tracker: self.tracker.unwrap_or(usual.tracker),
        }
    }

    /// For the manifest's reason: that there is such a file.
    pub fn reason(&self) -> &'static str {
        if *self == Self::default() { "" } else { "; model.toml overrides what it names" }
    }
}

/// Bytes of an error with the line that it is about; of what is longer, a person sees no more than where it is.
const LONGEST_ERROR: usize = 600;

fn explain(error: &toml::de::Error, text: &str) -> String {
    let whole = error.to_string();
    if whole.len() <= LONGEST_ERROR {
        return one_line(&whole);
    }
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_overrides_what_was_recognised() {
        let toml = ModelToml::parse(
            "head = \"detr-sigmoid\"\noutputs = [\"b\", \"a\"]\nclasses = [\"cat\", \"dog\"]\nstride = 16\n\
             image_size = 320\nwarm_up = [640, 481]\ncolour = \"bgr\"\nscale = 1\nmean = [1, 2, 3]\nstd = [4.0, 5.0, 6.0]\n\
             resize = \"letterbox\"\nplacement = \"top-left\"\nrounding = \"truncate\"\npad = 7\nconfidence = 0.3\n\
             iou = 0.4\nclass_agnostic = true\nmax_detections = 50\n[tracker]\ntrack_thresh = 0.5\n",
        )
        .unwrap();
        assert_eq!((toml.head, toml.stride, toml.image_size), (Some(HeadFamily::DetrSigmoid), Some(16), Some(320)));
        assert_eq!(toml.warm_up, Some([640, 481]));
        let expected = Preprocessing {
            colour: ColourOrder::Bgr,
            scale: 1.0,
            mean: [1.0, 2.0, 3.0],
            std: [4.0, 5.0, 6.0],
            resize: Resize::Letterbox,
            placement: Placement::TopLeft,
            rounding: Rounding::Truncate,
            pad: 7,
        };
        assert_eq!(toml.preprocessing(Preprocessing::IMAGENET), expected);
        let defaults = toml.defaults();
        assert_eq!((defaults.confidence, defaults.iou, defaults.class_agnostic), (0.3, 0.4, true));
        assert_eq!((defaults.max_detections, defaults.tracker.track_thresh), (50, 0.5));
        assert_eq!(toml.classes.unwrap().names(), ["cat", "dog"]);
    }

    #[test]
    fn only_mean_and_std_together_say_how_samples_are_normalised() {
        let says = |text: &str| ModelToml::parse(text).unwrap().says_mean_and_std();
        assert!(says("mean = [0, 0, 0]\nstd = [1, 1, 1]"));
        assert!(!["", "scale = 1", "mean = [0, 0, 0]", "std = [1, 1, 1]"].into_iter().any(says));
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        let toml = ModelToml::parse("# nothing\n").unwrap();
        assert_eq!(toml.preprocessing(Preprocessing::NANODET), Preprocessing::NANODET);
        assert_eq!((toml.defaults(), toml.reason()), (Defaults::default(), ""));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, part) in [
            ("heads = \"v8\"", "heads"),
            ("head = \"v99\"", "v99"),
            ("confidence = 1.5", "confidence"),
            ("iou = nan", "iou"),
            ("scale = 0", "scale"),
            ("std = [1, 0, 1]", "std"),
            ("mean = [1, inf, 1]", "mean"),
            ("mean = [1, 2]", "mean"),
            ("stride = 0", "stride"),
            ("image_size = 9000", "image_size"),
            ("warm_up = [1280, 0]", "warm_up"),
            ("warm_up = [1280]", "warm_up"),
            ("max_detections = 0", "max_detections"),
            ("classes = []", "classes"),
            ("pad = 256", "pad"),
            ("[tracker]\ntrack_tresh = 0.5", "track_tresh"),
            ("[tracker]\nmatch_thresh = 2.0", "match_thresh"),
            ("head =", "model.toml"),
        ] {
            let problem = ModelToml::parse(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains('\n'), "{text}: {problem}");
        }
    }

    #[test]
    fn cocos_own_numbers_have_their_gaps() {
        let names = ClassList::Known(KnownClasses::Coco91).names();
        assert_eq!(names.len(), 91);
        assert_eq!((names[0].as_str(), names[1].as_str(), names[12].as_str()), ("", "person", ""));
        assert_eq!((names[13].as_str(), names[90].as_str()), ("stop sign", "toothbrush"));
    }
}

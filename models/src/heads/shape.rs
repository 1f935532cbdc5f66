//! Which shapes a head's outputs can have.

use super::{Head, OutputView};
use crate::letterbox::Size;
use crate::manifest::HeadFamily;

/// No head reads more.
pub(crate) const MOST_OUTPUTS: usize = 8;

/// The strides of feature maps that detectors are built with: the usual ones, with a finer one, with a coarser one.
pub(crate) const LEVELS: [&[usize]; 3] = [&[8, 16, 32], &[4, 8, 16, 32], &[8, 16, 32, 64]];

/// How many places feature maps of these strides have; `None` when the input is no multiple of the largest.
pub(crate) fn places(model: Size, levels: &[usize]) -> Option<usize> {
    let fits = levels.iter().all(|stride| model.width.is_multiple_of(*stride) && model.height.is_multiple_of(*stride));
    fits.then(|| levels.iter().map(|stride| (model.width / stride) * (model.height / stride)).sum())
}

/// How many cells NanoDet-Plus looks at: its coarsest map is rounded up where the input is no multiple of it.
pub(crate) fn nanodet_plus_cells(model: Size) -> usize {
    LEVELS[2].iter().map(|stride| model.width.div_ceil(*stride) * model.height.div_ceil(*stride)).sum()
}

impl Head {
    /// Whether tensors of these shapes can come from this head; the error says what was expected.
    pub fn check(&self, outputs: &[OutputView<'_>]) -> Result<(), String> {
        // This is asked for every frame, so it must not cost an allocation.
        let mut room: [&[usize]; MOST_OUTPUTS] = [&[]; MOST_OUTPUTS];
        let shapes = &mut room[..outputs.len().min(MOST_OUTPUTS)];
        for (shape, output) in shapes.iter_mut().zip(outputs) {
            *shape = output.shape;
        }
        let whole = outputs.iter().all(|output| output.shape.iter().product::<usize>() == output.values.len());
        if whole && self.fits(shapes) { Ok(()) } else { Err(self.mismatch(shapes)) }
    }

    /// Whether every run gives outputs of the same shapes, so that there can be memory of their own for them.
    pub fn has_fixed_shape(&self) -> bool {
        self.needs_suppression()
    }

    pub(super) fn fits(&self, shapes: &[&[usize]]) -> bool {
        let classes = self.classes;
        if shapes.iter().any(|shape| shape.len() == 3 && shape[0] == 0) {
            return false;
        }
        match (self.family, shapes) {
            (HeadFamily::Yolox, &[&[_, rows, columns]]) => {
                columns == 5 + classes && Some(rows) == places(self.model, LEVELS[0])
            }
            (HeadFamily::YoloxDecoded | HeadFamily::V6, &[&[_, rows, columns]]) => {
                columns == 5 + classes && self.is_places(rows, 1)
            }
            (HeadFamily::V8, &[&[_, rows, columns]]) => rows == 4 + classes && self.is_places(columns, 1),
            (HeadFamily::V5, &[&[_, rows, columns]]) => columns == 5 + classes && self.is_places(rows, 3),
            (HeadFamily::EndToEnd | HeadFamily::RtDetrListed, &[&[_, _, columns]])
            | (HeadFamily::Paddle, &[&[_, columns], &[_]]) => columns == 6,
            (HeadFamily::V7EndToEnd | HeadFamily::YoloNasFlat, &[&[_, columns]]) => columns == 7,
            (HeadFamily::UltralyticsRtDetr, &[&[_, _, columns]]) => columns == 4 + classes,
            (HeadFamily::DetrSigmoid, &[&[_, boxes, 4], &[_, rows, columns]]) => boxes == rows && columns == classes,
            (HeadFamily::DetrSoftmax, &[&[_, boxes, 4], &[_, rows, columns]]) => {
                boxes == rows && columns == classes + 1
            }
            (HeadFamily::DamoYolo, &[&[_, rows, columns], &[_, boxes, 4]]) => {
                boxes == rows && columns == classes && self.is_places(rows, 1)
            }
            (HeadFamily::NanodetPlus, &[&[_, rows, columns]]) => {
                columns == classes + 32 && rows == nanodet_plus_cells(self.model)
            }
            (HeadFamily::Nanodet, levels) => self.fits_levels(levels),
            (HeadFamily::NmsOutputs, &[&[_, 1] | &[_], &[_, boxes, 4], &[_, scores], &[_, labels]])
            | (HeadFamily::TfDetection, &[&[_, boxes, 4], &[_, labels], &[_, scores], &[_, 1] | &[_]])
            | (HeadFamily::RtDetr, &[&[_, labels], &[_, boxes, 4], &[_, scores]])
            | (HeadFamily::Torchvision, &[&[boxes, 4], &[scores], &[labels]]) => boxes == scores && scores == labels,
            _ => false,
        }
    }

    /// Scores of each stride, then distances of each.
    fn fits_levels(&self, shapes: &[&[usize]]) -> bool {
        let strides = shapes.len() / 2;
        (3..=4).contains(&strides)
            && shapes.len() == 2 * strides
            && shapes[..strides].iter().zip(&shapes[strides..]).zip(LEVELS[2]).all(|((scores, distances), stride)| {
                let cells = self.model.width.div_ceil(*stride) * self.model.height.div_ceil(*stride);
                matches!((*scores, *distances), ([_, rows, columns], [_, others, 32])
                    if *rows == cells && *others == cells && *columns == self.classes)
            })
    }

    fn is_places(&self, count: usize, per_cell: usize) -> bool {
        LEVELS.iter().any(|levels| places(self.model, levels).is_some_and(|places| per_cell * places == count))
    }

    fn mismatch(&self, shapes: &[&[usize]]) -> String {
        let Size { width, height } = self.model;
        let classes = self.classes;
        let usual = places(self.model, LEVELS[0]).unwrap_or(0);
        let expected = match self.family {
            HeadFamily::Yolox | HeadFamily::YoloxDecoded | HeadFamily::V6 => format!("[B, {usual}, {}]", 5 + classes),
            HeadFamily::V8 => format!("[B, {}, {usual}]", 4 + classes),
            HeadFamily::V5 => format!("[B, {}, {}]", 3 * usual, 5 + classes),
            HeadFamily::EndToEnd | HeadFamily::RtDetrListed => "[B, D, 6]".to_owned(),
            HeadFamily::V7EndToEnd | HeadFamily::YoloNasFlat => "[N, 7]".to_owned(),
            HeadFamily::Paddle => "[N, 6] and [B]".to_owned(),
            HeadFamily::UltralyticsRtDetr => format!("[B, D, {}]", 4 + classes),
            HeadFamily::DetrSigmoid => format!("[B, D, 4] and [B, D, {classes}]"),
            HeadFamily::DetrSoftmax => format!("[B, D, 4] and [B, D, {}]", classes + 1),
            HeadFamily::DamoYolo => format!("[B, {usual}, {classes}] and [B, {usual}, 4]"),
            HeadFamily::NanodetPlus => {
                format!("[B, {}, {}]", nanodet_plus_cells(self.model), classes + 32)
            }
            HeadFamily::Nanodet => format!("[B, cells, {classes}] and [B, cells, 32] for each stride"),
            HeadFamily::NmsOutputs => "[B, 1], [B, D, 4], [B, D] and [B, D]".to_owned(),
            HeadFamily::RtDetr => "[B, D], [B, D, 4] and [B, D]".to_owned(),
            HeadFamily::Torchvision => "[D, 4], [D] and [D]".to_owned(),
            HeadFamily::TfDetection => "[B, D, 4], [B, D], [B, D] and [B]".to_owned(),
        };
        let seen: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
        let seen = seen.join(" and ");
        format!("its output is {seen} for an input of {width}x{height}, where {expected} was expected")
    }
}

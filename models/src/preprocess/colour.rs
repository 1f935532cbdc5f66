//! From YUV to a model's channels (ITU-T H.273, section 8.3).

use super::Geometry;
use super::taps::{COLUMN_BITS, ROW_BITS};
use crate::manifest::{ColourOrder, Preprocessing};
use framefleet_native::picture::{Matrix, Range};

/// Coefficients that turn gathered samples into a model's values: fixed point, offsets, range and scale are folded in.
#[derive(Debug, Clone, Copy)]
pub struct Colours {
    /// What a gathered Y counts for, in all channels.
    luma: f32,
    red: Chroma,
    green: Chroma,
    blue: Chroma,
    order: ColourOrder,
    /// White.
    highest: f32,
}

/// What gathered U and V count for in a channel, and what is added.
#[derive(Debug, Clone, Copy)]
struct Chroma {
    u: f32,
    v: f32,
    offset: f32,
}

/// Columns converted together. All of them are read before any is written, so that the compiler can use vectors
/// without proving that the planes do not overlap.
const LANES: usize = 8;

impl Colours {
    pub fn new(geometry: &Geometry, preprocessing: Preprocessing) -> Self {
        let highest = 255.0 * preprocessing.scale;
        // Each product is made in f64 and rounded once.
        let sample = highest / f64::from(1_u32 << (ROW_BITS + COLUMN_BITS));
        let Conversion { luma, chroma, offset } = Conversion::new(geometry);
        let [red, green, blue] = [0, 1, 2].map(|channel| {
            let [u, v] = chroma[channel].map(|weight| (weight * sample) as f32);
            Chroma { u, v, offset: (offset[channel] * highest) as f32 }
        });
        let order = preprocessing.colour;
        Self { luma: (luma * sample) as f32, red, green, blue, order, highest: highest as f32 }
    }

    /// Converts one row. Each of the six slices has a value for each column.
    pub fn convert(&self, [y, u, v]: [&[i32]; 3], [first, second, third]: [&mut [f32]; 3]) {
        let (red, blue) = match self.order {
            ColourOrder::Rgb => (first, third),
            ColourOrder::Bgr => (third, first),
        };
        let ((y, y_rest), (u, u_rest), (v, v_rest)) = (y.as_chunks(), u.as_chunks(), v.as_chunks());
        let (red, red_rest) = red.as_chunks_mut();
        let (green, green_rest) = second.as_chunks_mut();
        let (blue, blue_rest) = blue.as_chunks_mut();
        let colours = red.iter_mut().zip(green).zip(blue);
        for (((red, green), blue), ((y, u), v)) in colours.zip(y.iter().zip(u).zip(v)) {
            [*red, *green, *blue] = self.convert_columns::<LANES>(y, u, v);
        }
        let colours = red_rest.iter_mut().zip(green_rest).zip(blue_rest);
        for (((red, green), blue), ((y, u), v)) in colours.zip(y_rest.iter().zip(u_rest).zip(v_rest)) {
            [[*red], [*green], [*blue]] = self.convert_columns(&[*y], &[*u], &[*v]);
        }
    }

    /// Red, green and blue. Red has no part of U and blue none of V.
    #[inline]
    fn convert_columns<const N: usize>(&self, y: &[i32; N], u: &[i32; N], v: &[i32; N]) -> [[f32; N]; 3] {
        let mut colours = [[0.0; N]; 3];
        for column in 0..N {
            let y = y[column] as f32 * self.luma;
            let (u, v) = (u[column] as f32, v[column] as f32);
            let limit = |value: f32| value.max(0.0).min(self.highest);
            colours[0][column] = limit(y + (v * self.red.v + self.red.offset));
            colours[1][column] = limit(y + (u * self.green.u + v * self.green.v + self.green.offset));
            colours[2][column] = limit(y + (u * self.blue.u + self.blue.offset));
        }
        colours
    }
}

/// R, G and B, 0 to 1, from Y, U and V on the scale of 8 bits: weights, and what is added.
struct Conversion {
    luma: f64,
    /// By channel, of U and V.
    chroma: [[f64; 2]; 3],
    offset: [f64; 3],
}

impl Conversion {
    fn new(geometry: &Geometry) -> Self {
        let (red, blue) = match geometry.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let green = 1.0 - red - blue;
        let (black, luma_span, chroma_span) = match geometry.range {
            Range::Limited => (16.0, 219.0, 224.0),
            // With 10 bits the largest code is 1023, which is 255.75 on this scale.
            Range::Full => {
                let span = f64::from((1_u32 << geometry.depth) - 1) / f64::from(1_u32 << (geometry.depth - 8));
                (0.0, span, span)
            }
        };
        // With the standard's Kr, Kg and Kb: R = Y + 2(1-Kr)V, B = Y + 2(1-Kb)U, and G is what is left of Y.
        let (red_v, blue_u) = (2.0 * (1.0 - red) / chroma_span, 2.0 * (1.0 - blue) / chroma_span);
        let chroma = [[0.0, red_v], [-blue * blue_u / green, -red * red_v / green], [blue_u, 0.0]];
        let luma = 1.0 / luma_span;
        Self { luma, chroma, offset: chroma.map(|[u, v]| -(luma * black + (u + v) * 128.0)) }
    }
}

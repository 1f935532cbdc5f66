//! From YUV to a model's channels (ITU-T H.273, section 8.3).

use super::Geometry;
use super::taps::{COLUMN_BITS, ROW_BITS};
use crate::manifest::{ColourOrder, Preprocessing};
use framefleet_native::picture::{Matrix, Range};

/// Coefficients that turn gathered samples into a model's values: fixed point, offsets, range, scale, mean and
/// deviation are folded in.
#[derive(Debug, Clone, Copy)]
pub struct Colours {
    red: Channel,
    green: Channel,
    blue: Channel,
    order: ColourOrder,
}

/// What gathered Y, U and V count for in a channel, what is added, and the values of black and white.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    pub y: f32,
    pub u: f32,
    pub v: f32,
    pub offset: f32,
    pub black: f32,
    pub white: f32,
}

/// Columns converted together. All of them are read before any is written, so that the compiler can use vectors
/// without proving that the planes do not overlap.
const LANES: usize = 8;

impl Colours {
    pub fn new(geometry: &Geometry, preprocessing: &Preprocessing) -> Self {
        let conversion = Conversion::new(geometry);
        let order = preprocessing.colour;
        let [red, green, blue] = [0, 1, 2].map(|colour| {
            // The mean and the deviation are in the order of the input's channels.
            let channel = if order == ColourOrder::Rgb { colour } else { 2 - colour };
            conversion.channel(colour, preprocessing, channel)
        });
        Self { red, green, blue, order }
    }

    /// In the order of the input's.
    pub fn channels(&self) -> [Channel; 3] {
        match self.order {
            ColourOrder::Rgb => [self.red, self.green, self.blue],
            ColourOrder::Bgr => [self.blue, self.green, self.red],
        }
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
        let Self { red, green, blue, .. } = self;
        let mut colours = [[0.0; N]; 3];
        for column in 0..N {
            let (y, u, v) = (y[column] as f32, u[column] as f32, v[column] as f32);
            colours[0][column] = red.limit(y * red.y + (v * red.v + red.offset));
            colours[1][column] = green.limit(y * green.y + (u * green.u + v * green.v + green.offset));
            colours[2][column] = blue.limit(y * blue.y + (u * blue.u + blue.offset));
        }
        colours
    }
}

impl Channel {
    /// As comparisons, because `max` and `min` look for NaN too, of which there is none.
    #[inline]
    fn limit(&self, value: f32) -> f32 {
        let value = if value > self.black { value } else { self.black };
        if value < self.white { value } else { self.white }
    }
}

/// The padding's grey, by channel of the input.
pub fn padding(preprocessing: &Preprocessing) -> [f32; 3] {
    let Preprocessing { scale, mean, std, pad, .. } = *preprocessing;
    std::array::from_fn(|channel| (f32::from(pad) * scale as f32 - mean[channel] as f32) / std[channel] as f32)
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

    /// A channel of the input that holds a colour. Each product is made in f64 and rounded once.
    fn channel(&self, colour: usize, preprocessing: &Preprocessing, channel: usize) -> Channel {
        let Preprocessing { scale, mean, std, .. } = *preprocessing;
        let (mean, std) = (mean[channel], std[channel]);
        let highest = 255.0 * scale;
        let sample = highest / f64::from(1_u32 << (ROW_BITS + COLUMN_BITS));
        let weight = |weight: f64| (weight * sample / std) as f32;
        let value = |share: f64| ((share * highest - mean) / std) as f32;
        let [u, v] = self.chroma[colour].map(weight);
        Channel { y: weight(self.luma), u, v, offset: value(self.offset[colour]), black: value(0.0), white: value(1.0) }
    }
}

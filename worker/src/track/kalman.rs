//! The Kalman filter of a track: a box that moves at constant velocity, as in `ByteTrack` and, before it, SORT and
//! `DeepSORT` (Wojke et al., arXiv 1703.07402, section 2.1).
//!
//! The state of eight numbers is the centre, the aspect ratio (width over height) and the height of the box, and the
//! change of each per frame. Motion joins a coordinate only to its own velocity, the noise of one coordinate says
//! nothing about another's, and each is measured by itself: the 8 × 8 covariance has entries nowhere else than in
//! four 2 × 2 blocks, and stays so. Four filters of two numbers are therefore the same filter, in a tenth of the
//! arithmetic and without matrices.

use super::iou::PixelBox;

/// Standard deviation of a length, in heights of the box.
const LENGTH_STD: f64 = 1.0 / 20.0;
/// Standard deviation of the change of a length per frame, in heights of the box.
const LENGTH_VELOCITY_STD: f64 = 1.0 / 160.0;
/// Standard deviations of the aspect ratio, which has no unit: predicted, measured, and its change per frame.
const ASPECT_STD: f64 = 1e-2;
const MEASURED_ASPECT_STD: f64 = 1e-1;
const ASPECT_VELOCITY_STD: f64 = 1e-5;

/// Where a box is believed to be, and how it moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxFilter {
    centre_x: Coordinate,
    centre_y: Coordinate,
    aspect: Coordinate,
    height: Coordinate,
}

impl BoxFilter {
    /// Believes a first measurement, at rest, with a wide doubt.
    pub fn starting_at(measured: &PixelBox) -> Self {
        let [x, y, aspect, height] = measure(measured);
        let length = 2.0 * LENGTH_STD * height;
        let velocity = 10.0 * LENGTH_VELOCITY_STD * height;
        Self {
            centre_x: Coordinate::at_rest(x, length, velocity),
            centre_y: Coordinate::at_rest(y, length, velocity),
            aspect: Coordinate::at_rest(aspect, ASPECT_STD, ASPECT_VELOCITY_STD),
            height: Coordinate::at_rest(height, length, velocity),
        }
    }

    /// Moves the belief on by one frame.
    pub fn predict(&mut self) {
        let length = LENGTH_STD * self.height.value;
        let velocity = LENGTH_VELOCITY_STD * self.height.value;
        self.centre_x.predict(length, velocity);
        self.centre_y.predict(length, velocity);
        self.aspect.predict(ASPECT_STD, ASPECT_VELOCITY_STD);
        self.height.predict(length, velocity);
    }

    /// Draws the belief towards a measurement of the present frame.
    pub fn update(&mut self, measured: &PixelBox) {
        let [x, y, aspect, height] = measure(measured);
        let length = LENGTH_STD * self.height.value;
        self.centre_x.update(x, length);
        self.centre_y.update(y, length);
        self.aspect.update(aspect, MEASURED_ASPECT_STD);
        self.height.update(height, length);
    }

    /// Keeps the height from growing or shrinking, for a track that is not seen.
    pub fn hold_height(&mut self) {
        self.height.velocity = 0.0;
    }

    pub fn pixel_box(&self) -> PixelBox {
        let (x, y, height) = (self.centre_x.value, self.centre_y.value, self.height.value);
        let width = self.aspect.value * height;
        PixelBox { x1: x - width / 2.0, y1: y - height / 2.0, x2: x + width / 2.0, y2: y + height / 2.0 }
    }
}

/// Centre x, centre y, aspect ratio and height.
fn measure(pixels: &PixelBox) -> [f64; 4] {
    let (width, height) = (pixels.x2 - pixels.x1, pixels.y2 - pixels.y1);
    [pixels.x1 + width / 2.0, pixels.y1 + height / 2.0, width / height, height]
}

/// One coordinate of the box with its velocity, and their symmetric covariance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Coordinate {
    value: f64,
    velocity: f64,
    value_variance: f64,
    covariance: f64,
    velocity_variance: f64,
}

impl Coordinate {
    fn at_rest(value: f64, value_std: f64, velocity_std: f64) -> Self {
        Self {
            value,
            velocity: 0.0,
            value_variance: value_std * value_std,
            covariance: 0.0,
            velocity_variance: velocity_std * velocity_std,
        }
    }

    /// `F P Fᵀ + Q` with `F = [1 1; 0 1]` and a diagonal `Q`.
    fn predict(&mut self, value_std: f64, velocity_std: f64) {
        self.value += self.velocity;
        self.value_variance += 2.0 * self.covariance + self.velocity_variance + value_std * value_std;
        self.covariance += self.velocity_variance;
        self.velocity_variance += velocity_std * velocity_std;
    }

    /// `P - K S Kᵀ`, where only the value is measured.
    fn update(&mut self, measured: f64, measured_std: f64) {
        let innovation = measured - self.value;
        let innovation_variance = self.value_variance + measured_std * measured_std;
        let value_gain = self.value_variance / innovation_variance;
        let velocity_gain = self.covariance / innovation_variance;
        self.value += value_gain * innovation;
        self.velocity += velocity_gain * innovation;
        self.velocity_variance -= velocity_gain * self.covariance;
        self.covariance -= value_gain * self.covariance;
        self.value_variance -= value_gain * self.value_variance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Corners of a box.
    type Corners = [f64; 4];

    fn pixel_box([x1, y1, x2, y2]: Corners) -> PixelBox {
        PixelBox { x1, y1, x2, y2 }
    }

    fn assert_near(filter: &BoxFilter, expected: Corners) {
        let PixelBox { x1, y1, x2, y2 } = filter.pixel_box();
        let found = [x1, y1, x2, y2];
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-8);
        assert!(near, "{found:?} is not {expected:?}");
    }

    /// The expected corners were computed with 8 × 8 matrices in numpy 2.4.6: `F P Fᵀ + Q`, the inverse of
    /// `H P Hᵀ + R` for the gain `K`, and `P - K S Kᵀ`.
    #[test]
    fn four_small_filters_do_what_the_filter_of_eight_numbers_does() {
        let mut filter = BoxFilter::starting_at(&pixel_box([100.0, 50.0, 140.0, 150.0]));
        let steps = [
            ([104.0, 51.0, 145.0, 153.0], [103.555_895_538, 50.867_768_595, 144.254_021_817, 152.603_305_785]),
            ([109.0, 53.0, 150.0, 154.0], [108.182_643_362, 52.564_598_439, 148.707_621_177, 153.824_344_435]),
            ([115.0, 54.0, 155.0, 158.0], [113.363_590_918, 53.853_285_551, 154.669_758_459, 157.215_245_325]),
        ];
        for (measured, expected) in steps {
            filter.predict();
            filter.update(&pixel_box(measured));
            assert_near(&filter, expected);
        }
        filter.hold_height();
        filter.predict();
        filter.predict();
        assert_near(&filter, [120.361_245_282, 56.569_464_033, 161.667_412_679, 159.931_423_807]);
    }

    #[test]
    fn a_first_measurement_is_believed_as_it_is() {
        let measured = pixel_box([10.0, 20.0, 18.0, 36.0]);
        assert_eq!(BoxFilter::starting_at(&measured).pixel_box(), measured);
    }
}

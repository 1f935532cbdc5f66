//! The same figure, measured several times.

use std::fmt;

#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] }
    }

    /// Repeat by repeat, the rate of doing all of these in turn: 1 / (1/a + 1/b + 1/c).
    pub fn in_turn(parts: [&Self; 3]) -> Self {
        let cost = |repeat: usize| parts.iter().map(|part| 1.0 / part.0[repeat]).sum::<f64>();
        (0..parts[0].0.len()).map(|repeat| 1.0 / cost(repeat)).collect()
    }

    /// Repeat by repeat: what is measured right after each other is hit by the same noise.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs).collect()
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The median, and the least and the greatest value. With three digits unless told otherwise.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = self.median();
        let digits = f.precision().unwrap_or(match median {
            100.0.. => 0,
            10.0..100.0 => 1,
            _ => 2,
        });
        write!(f, "{median:.digits$}")?;
        if self.0.len() > 1 { write!(f, " ({least:.digits$} to {greatest:.digits$})") } else { Ok(()) }
    }
}

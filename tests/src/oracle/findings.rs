//! What an oracle finds wrong.

use std::fmt;

#[derive(Debug, Default)]
pub struct Findings {
    /// Jobs that ended.
    pub outcomes: usize,
    /// Jobs with more than one outcome.
    pub duplicates: Vec<String>,
    /// Jobs without an outcome, and messages that are never finished.
    pub losses: Vec<String>,
    /// Files, statuses, frames or tracks that are not as they must be.
    pub others: Vec<String>,
}

impl Findings {
    pub fn are_none(&self) -> bool {
        self.duplicates.is_empty() && self.losses.is_empty() && self.others.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcomes, duplicates, losses, others } = self;
        let counts = [duplicates.len(), losses.len(), others.len()];
        let [duplicated, lost, other] = counts;
        write!(f, "{outcomes} outcomes, {duplicated} duplicates, {lost} losses, {other} other findings")?;
        duplicates.iter().chain(losses).chain(others).try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

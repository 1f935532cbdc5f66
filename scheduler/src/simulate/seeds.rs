//! Seeds as a user names them.

use std::collections::BTreeSet;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(Vec<u64>);

impl Seeds {
    pub fn list(&self) -> &[u64] {
        &self.0
    }
}

impl FromStr for Seeds {
    type Err = String;

    /// `1..5` with both ends, or `1,2,7`.
    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: u64 = 1000;
        let number =
            |part: &str| part.trim().parse::<u64>().map_err(|_| format!("{part:?} is no seed: write 1..5 or 1,2,7"));
        if let Some((first, last)) = text.split_once("..") {
            let (first, last) = (number(first)?, number(last)?);
            return match last.checked_sub(first) {
                Some(more) if more < MOST => Ok(Self((first..=last).collect())),
                Some(_) => Err(format!("{first}..{last} are more than {MOST} seeds: write fewer")),
                None => Err(format!("{first}..{last} is none: write the smaller one first")),
            };
        }
        let seeds = text.split(',').map(number).collect::<Result<Vec<u64>, _>>()?;
        let different: BTreeSet<u64> = seeds.iter().copied().collect();
        if different.len() < seeds.len() {
            return Err(format!("{text:?} names a seed twice: the same seed is the same run"));
        }
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_both_ends_or_a_list() {
        let list = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(list("1..3"), Ok(vec![1, 2, 3]));
        assert_eq!(list("7"), Ok(vec![7]));
        assert_eq!(list("7, 9"), Ok(vec![7, 9]));
        for wrong in ["", "1,2,1", "5..1", "1..9999999", "x", "1..", "-1", "1.5"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}

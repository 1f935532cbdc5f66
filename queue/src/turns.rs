//! Whose turn it is, of queues with weights: stride scheduling (Waldspurger and Weihl, 1995). Pure.

use std::collections::BTreeMap;

/// Gives queues their turns so that the work done for each is in proportion to its weight, and none is ever passed over
/// for ever.
#[derive(Debug, Clone)]
pub struct Turns {
    queues: BTreeMap<String, Queue>,
    /// The pass of the queue that was served last.
    now: f64,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    weight: f64,
    /// Work that it was given, over its weight.
    pass: f64,
}

impl Turns {
    /// Queues with their weights, each at least 1.
    pub fn new(weights: &BTreeMap<String, u32>) -> Self {
        let queue = |weight: u32| Queue { weight: f64::from(weight.max(1)), pass: 0.0 };
        Self { queues: weights.iter().map(|(name, weight)| (name.clone(), queue(*weight))).collect(), now: 0.0 }
    }

    /// Of the queues that have something, the one whose turn it is. Among equals the one of the greatest weight.
    pub fn next<'a>(&self, with_work: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let pass = |name: &str| self.queues.get(name).map(|queue| (queue.pass.max(self.now), -queue.weight));
        let passes = with_work.filter_map(|name| Some((name, pass(name)?)));
        passes.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(name, _)| name)
    }

    /// The queue was given so much work. What it did not use while it was empty is not saved up.
    pub fn served(&mut self, name: &str, work: f64) {
        if let Some(queue) = self.queues.get_mut(name) {
            let begin = queue.pass.max(self.now);
            self.now = begin;
            queue.pass = begin + work.max(1.0) / queue.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[(&str, u32)]) -> Turns {
        Turns::new(&weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
    }

    /// How often each queue is served in `n` turns, while all of them have work.
    fn served(turns: &mut Turns, names: &[&str], n: u32, work: impl Fn(&str) -> f64) -> BTreeMap<String, u32> {
        let mut count = BTreeMap::new();
        for _ in 0..n {
            let name = turns.next(names.iter().copied()).unwrap().to_owned();
            turns.served(&name, work(&name));
            *count.entry(name).or_default() += 1;
        }
        count
    }

    #[test]
    fn queues_are_served_by_their_weights_and_none_starves() {
        let names = ["high", "normal", "low"];
        let mut turns = turns(&[("high", 16), ("normal", 4), ("low", 1)]);
        assert_eq!(turns.next(names.into_iter()), Some("high"));
        let count = served(&mut turns, &names, 210, |_| 100.0);
        assert_eq!((count["high"], count["normal"], count["low"]), (160, 40, 10));
    }

    #[test]
    fn work_counts_and_not_the_number_of_messages() {
        let mut turns = turns(&[("films", 1), ("clips", 1)]);
        let count = served(&mut turns, &["films", "clips"], 110, |name| if name == "films" { 1000.0 } else { 100.0 });
        assert_eq!((count["films"], count["clips"]), (10, 100));
    }

    #[test]
    fn a_queue_that_was_empty_does_not_catch_up() {
        let mut turns = turns(&[("a", 1), ("b", 1)]);
        served(&mut turns, &["a"], 100, |_| 1.0);
        let count = served(&mut turns, &["a", "b"], 20, |_| 1.0);
        assert!(count["b"] <= 11, "{count:?}");
        assert_eq!(turns.next(std::iter::empty()), None);
        assert_eq!(turns.next(["unknown"].into_iter()), None);
    }
}

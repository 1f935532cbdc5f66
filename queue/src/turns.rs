//! Whose turn it is, of queues with weights: stride scheduling (Waldspurger and Weihl, 1995). Pure.

use std::collections::BTreeMap;

/// Gives queues their turns so that the time that is spent on each is in proportion to its weight, and none is ever passed
/// over for ever. What a piece of work takes is not known before it is done: until then it is charged as the last ones say.
#[derive(Debug, Clone)]
pub struct Turns {
    queues: BTreeMap<String, Queue>,
    /// The pass of the queue that was served last.
    now: f64,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    weight: f64,
    /// Time that it was given, over its weight.
    pass: f64,
    done: Pace,
}

/// Of the last pieces of work.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    units: f64,
    seconds: f64,
}

/// A piece of work that is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    queue: String,
    units: f64,
    /// Seconds that it is expected to take.
    charged: f64,
}

impl Turns {
    /// Queues with their weights, each at least 1.
    pub fn new(weights: &BTreeMap<String, u32>) -> Self {
        let queue = |weight: u32| Queue { weight: f64::from(weight.max(1)), pass: 0.0, done: Pace::default() };
        Self { queues: weights.iter().map(|(name, weight)| (name.clone(), queue(*weight))).collect(), now: 0.0 }
    }

    /// Of the queues that have something, the one whose turn it is. Among equals the one of the greatest weight.
    pub fn next<'a>(&self, with_work: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let pass = |name: &str| self.queues.get(name).map(|queue| (queue.pass.max(self.now), -queue.weight));
        let passes = with_work.filter_map(|name| Some((name, pass(name)?)));
        passes.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(name, _)| name)
    }

    /// A piece of work is taken from the queue, of so many units. What the queue did not use while it was empty is not saved up.
    pub fn begin(&mut self, name: &str, units: f64) -> Turn {
        let units = units.max(1.0);
        let all = self.queues.values().fold(Pace::default(), |all, queue| all.and(queue.done));
        let Some(queue) = self.queues.get_mut(name) else {
            return Turn { queue: name.to_owned(), units, charged: 0.0 };
        };
        let charged = units * queue.done.seconds_per_unit().or(all.seconds_per_unit()).unwrap_or(0.0);
        self.now = queue.pass.max(self.now);
        queue.pass = self.now + charged / queue.weight;
        Turn { queue: name.to_owned(), units, charged }
    }

    /// It took so many seconds.
    pub fn end(&mut self, turn: &Turn, seconds: f64) {
        /// What is left of what was before, with each piece: the last ten count.
        const KEPT: f64 = 0.9;
        if let Some(queue) = self.queues.get_mut(&turn.queue) {
            queue.pass += (seconds - turn.charged) / queue.weight;
            let Pace { units, seconds: before } = queue.done;
            queue.done = Pace { units: units * KEPT + turn.units, seconds: before * KEPT + seconds };
        }
    }
}

impl Pace {
    fn and(self, other: Self) -> Self {
        Self { units: self.units + other.units, seconds: self.seconds + other.seconds }
    }

    fn seconds_per_unit(self) -> Option<f64> {
        (self.units > 0.0).then(|| self.seconds / self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[(&str, u32)]) -> Turns {
        Turns::new(&weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
    }

    /// The seconds that each queue gets in `n` turns, while all of them have work. `work`: units and seconds of a piece.
    fn served(turns: &mut Turns, names: &[&str], n: u32, work: impl Fn(&str) -> (f64, f64)) -> BTreeMap<String, f64> {
        let mut given = BTreeMap::new();
        for _ in 0..n {
            let name = turns.next(names.iter().copied()).unwrap().to_owned();
            let (units, seconds) = work(&name);
            let turn = turns.begin(&name, units);
            turns.end(&turn, seconds);
            *given.entry(name).or_default() += seconds;
        }
        given
    }

    #[test]
    fn queues_are_served_by_their_weights_and_none_starves() {
        let names = ["high", "normal", "low"];
        let mut turns = turns(&[("high", 16), ("normal", 4), ("low", 1)]);
        assert_eq!(turns.next(names.into_iter()), Some("high"));
        let given = served(&mut turns, &names, 210, |_| (100.0, 1.0));
        assert_eq!((given["high"], given["normal"], given["low"]), (160.0, 40.0, 10.0));
    }

    #[test]
    fn time_counts_and_neither_messages_nor_frames() {
        let mut turns = turns(&[("films", 1), ("clips", 1)]);
        let work = |name: &str| if name == "films" { (1000.0, 50.0) } else { (1000.0, 5.0) };
        let given = served(&mut turns, &["films", "clips"], 110, work);
        assert_eq!((given["films"], given["clips"]), (500.0, 500.0));
    }

    #[test]
    fn what_is_under_way_counts_as_the_last_pieces_say() {
        let mut turns = turns(&[("a", 1), ("b", 1)]);
        served(&mut turns, &["a", "b"], 20, |_| (10.0, 1.0));
        let long = turns.begin("a", 100.0);
        for _ in 0..9 {
            assert_eq!(turns.next(["a", "b"].into_iter()), Some("b"));
            let turn = turns.begin("b", 10.0);
            turns.end(&turn, 1.0);
        }
        // It took half as long, so that it is its turn again sooner.
        turns.end(&long, 5.0);
        assert_eq!(turns.next(["a", "b"].into_iter()), Some("a"));
    }

    #[test]
    fn before_anything_is_done_the_greatest_weight_is_served() {
        let mut turns = turns(&[("high", 4), ("low", 1)]);
        let first: Vec<Turn> = (0..4).map(|_| turns.begin("high", 10.0)).collect();
        assert_eq!(turns.next(["high", "low"].into_iter()), Some("high"));
        for turn in &first {
            turns.end(turn, 1.0);
        }
        assert_eq!(turns.next(["high", "low"].into_iter()), Some("low"));
    }

    #[test]
    fn a_queue_that_was_empty_does_not_catch_up() {
        let mut turns = turns(&[("a", 1), ("b", 1)]);
        served(&mut turns, &["a"], 100, |_| (1.0, 1.0));
        let given = served(&mut turns, &["a", "b"], 20, |_| (1.0, 1.0));
        assert!(given["b"] <= 11.0, "{given:?}");
        assert_eq!(turns.next(std::iter::empty()), None);
        assert_eq!(turns.next(["unknown"].into_iter()), None);
    }
}

//! What the real scheduler would read out of Kafka: work that is not done, by model, deadline and minute of arrival, and what
//! came in each minute of the last hour.

use std::collections::BTreeMap;

/// Of one queue.
#[derive(Debug, Default)]
pub struct Backlog {
    groups: BTreeMap<Group, Sum>,
    /// Frames by model and minute.
    came: BTreeMap<(usize, u32), f64>,
    items: u32,
}

/// Pieces of work that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub minute: u32,
    pub model: usize,
    /// Its bits: no deadline is negative, so that these have its order.
    deadline: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    pub frames: f64,
    pub items: u32,
    pub since: f64,
}

impl Group {
    pub fn new(published: f64, model: usize, deadline: Option<f64>) -> Self {
        Self { minute: minute(published), model, deadline: deadline.map(f64::to_bits) }
    }

    pub fn deadline(&self) -> Option<f64> {
        self.deadline.map(f64::from_bits)
    }
}

impl Backlog {
    pub fn add(&mut self, group: Group, frames: f64, now: f64) {
        let sum = self.groups.entry(group).or_insert(Sum { since: now, ..Sum::default() });
        sum.frames += frames;
        sum.items += 1;
        self.items += 1;
        *self.came.entry((group.model, group.minute)).or_default() += frames;
    }

    pub fn remove(&mut self, group: Group, frames: f64) {
        let Some(sum) = self.groups.get_mut(&group) else { return };
        sum.frames -= frames;
        sum.items -= 1;
        self.items -= 1;
        if sum.items == 0 {
            self.groups.remove(&group);
        }
    }

    /// Messages that are not done.
    pub fn items(&self) -> u32 {
        self.items
    }

    pub fn groups(&self) -> &BTreeMap<Group, Sum> {
        &self.groups
    }

    /// Frames of a model that come in a second: the median of the minutes of the last hour; none after five of silence.
    pub fn arriving(&self, model: usize, now: f64) -> f64 {
        const HOUR: u32 = 60;
        const SILENCE: u32 = 5;
        let now = minute(now);
        let of = |minute: u32| self.came.get(&(model, minute)).copied().unwrap_or(0.0);
        if (now.saturating_sub(SILENCE)..=now).all(|minute| of(minute) <= 0.0) {
            return 0.0;
        }
        let mut sums: Vec<f64> = (1..=HOUR).map(|ago| now.checked_sub(ago).map_or(0.0, of)).collect();
        sums.sort_by(f64::total_cmp);
        f64::midpoint(sums[29], sums[30]) / 60.0
    }
}

fn minute(time: f64) -> u32 {
    (time / 60.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_every_minute_is_its_mean_until_five_minutes_of_silence() {
        let mut backlog = Backlog::default();
        for minute in 0..60 {
            let now = f64::from(minute) * 60.0;
            backlog.add(Group::new(now, 0, None), 600.0, now);
        }
        assert!((backlog.arriving(0, 3600.0) - 10.0).abs() < 1e-9);
        assert!((backlog.arriving(0, 3600.0 + 4.0 * 60.0) - 10.0).abs() < 1e-9);
        assert!(backlog.arriving(0, 3600.0 + 5.0 * 60.0).abs() < 1e-9);
        assert!(backlog.arriving(1, 3600.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_done_is_no_work() {
        let mut backlog = Backlog::default();
        let group = Group::new(61.0, 0, Some(700.0));
        backlog.add(group, 100.0, 61.0);
        backlog.add(group, 50.0, 62.0);
        backlog.remove(group, 100.0);
        assert_eq!(backlog.groups()[&group], Sum { frames: 50.0, items: 1, since: 61.0 });
        backlog.remove(group, 50.0);
        assert!(backlog.groups().is_empty() && backlog.items() == 0);
    }
}

//! How much work comes all the time: what came in each minute of the last hour. Pure.

use super::jobs::Second;
use super::{Arriving, Model};
use std::collections::HashMap;
use std::sync::Arc;

/// Units of each model, by the minute in which they came.
#[derive(Debug, Default)]
pub struct Arrivals {
    models: HashMap<Arc<str>, Minutes>,
}

/// Minutes that are looked at, without the one that is not over.
const HOUR: usize = 60;
/// Work of which nothing came for so many minutes comes no more: the median alone would go on for half an hour.
const SILENCE: u32 = 5;
/// How far back a reader must go so that the first of these minutes is whole, seconds.
pub const LOOKED_BACK: Second = 61 * 60;

/// A ring.
#[derive(Debug)]
struct Minutes {
    sums: [f64; HOUR + 1],
    /// Since 1970, the last one that has a place.
    newest: u32,
}

impl Arrivals {
    /// What comes earlier than everything else may come late, as while partitions are read one after the other.
    pub fn add(&mut self, model: &Model, at: Second, units: f64) {
        let minute = at / 60;
        if let Some(minutes) = self.models.get_mut(model.as_str()) {
            minutes.add(minute, units);
            return;
        }
        let mut minutes = Minutes { sums: [0.0; HOUR + 1], newest: minute };
        minutes.add(minute, units);
        self.models.insert(model.as_str().into(), minutes);
    }

    /// By model; those of which nothing comes are not in it. A minute before the first message of a model counts as one in
    /// which none came.
    pub fn arriving(&self, now: Second) -> Vec<Arriving> {
        let arriving = |(model, minutes): (&Arc<str>, &Minutes)| {
            let units_per_second = minutes.median(now / 60) / 60.0;
            (units_per_second > 0.0).then(|| Arriving { model: Model::new(model), units_per_second })
        };
        let mut arriving: Vec<Arriving> = self.models.iter().filter_map(arriving).collect();
        arriving.sort_by(|a, b| a.model.cmp(&b.model));
        arriving
    }

    /// Forgets models of which nothing came in the last hour.
    pub fn sweep(&mut self, now: Second) {
        self.models.retain(|_, minutes| now / 60 <= minutes.newest + HOUR as u32);
    }
}

impl Minutes {
    fn add(&mut self, minute: u32, units: f64) {
        for skipped in self.newest + 1..=minute.min(self.newest + HOUR as u32 + 1) {
            self.sums[skipped as usize % (HOUR + 1)] = 0.0;
        }
        self.newest = self.newest.max(minute);
        if self.has(minute) {
            self.sums[minute as usize % (HOUR + 1)] += units;
        }
    }

    fn has(&self, minute: u32) -> bool {
        minute <= self.newest && self.newest - minute <= HOUR as u32
    }

    fn of(&self, minute: u32) -> f64 {
        if self.has(minute) { self.sums[minute as usize % (HOUR + 1)] } else { 0.0 }
    }

    /// Units of a minute.
    fn median(&self, now: u32) -> f64 {
        let is_silent = (now.saturating_sub(SILENCE)..=now).all(|minute| self.of(minute) <= 0.0);
        if is_silent {
            return 0.0;
        }
        let mut sums: [f64; HOUR] = std::array::from_fn(|ago| self.of(now.saturating_sub(ago as u32 + 1)));
        sums.sort_by(f64::total_cmp);
        f64::midpoint(sums[HOUR / 2 - 1], sums[HOUR / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute, since 1970, of our time.
    const NOW: u32 = 30_000_000;

    fn rate(arrivals: &Arrivals, minute: u32) -> f64 {
        arrivals.arriving(minute * 60 + 59).first().map_or(0.0, |arriving| arriving.units_per_second)
    }

    fn after(minutes: impl Iterator<Item = (u32, f64)>) -> Arrivals {
        let mut arrivals = Arrivals::default();
        minutes.for_each(|(minute, units)| arrivals.add(&Model::new("m"), minute * 60 + 7, units));
        arrivals
    }

    #[test]
    fn what_comes_every_minute_is_its_mean() {
        let steady = after((NOW - 60..=NOW).map(|minute| (minute, 600.0)));
        assert!((rate(&steady, NOW) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn half_an_hour_of_silence_before_the_first_message_is_silence() {
        for (minutes, expected) in [(29, 0.0), (30, 5.0), (31, 10.0)] {
            let new = after((NOW - minutes..NOW).map(|minute| (minute, 600.0)));
            assert!((rate(&new, NOW) - expected).abs() < 1e-9, "{minutes}");
        }
    }

    #[test]
    fn the_hour_is_the_sixty_minutes_that_are_over() {
        let half = (NOW - 60..=NOW - 31).map(|minute| (minute, 600.0)).chain([(NOW, 1.0)]);
        assert!((rate(&after(half), NOW) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn one_large_job_is_no_stream() {
        let mut arrivals = after([(NOW - 1, 1e6)].into_iter());
        assert_eq!(arrivals.arriving(NOW * 60), []);
        (0..20).for_each(|minute| arrivals.add(&Model::new("m"), (NOW - 40 + minute) * 60, 1.0));
        assert_eq!(arrivals.arriving(NOW * 60), []);
    }

    #[test]
    fn what_ends_is_noticed_after_five_minutes() {
        let ended = after((NOW - 60..=NOW).map(|minute| (minute, 600.0)));
        assert!(rate(&ended, NOW + 5) > 9.0);
        assert!(rate(&ended, NOW + 6) < 1e-9);
    }

    #[test]
    fn what_is_read_late_counts_and_what_is_too_old_does_not() {
        let backwards = after((NOW - 70..=NOW).rev().map(|minute| (minute, 60.0)));
        assert!((rate(&backwards, NOW) - 1.0).abs() < 1e-9);
        let forwards = after((NOW - 70..=NOW).map(|minute| (minute, 60.0)));
        assert_eq!(forwards.arriving(NOW * 60), backwards.arriving(NOW * 60));
    }

    #[test]
    fn each_model_has_its_own_and_is_forgotten_in_the_end() {
        let mut arrivals = after((NOW - 60..=NOW).map(|minute| (minute, 60.0)));
        (NOW - 60..=NOW).for_each(|minute| arrivals.add(&Model::new("n"), minute * 60, 120.0));
        let rates: Vec<f64> = arrivals.arriving(NOW * 60).iter().map(|arriving| arriving.units_per_second).collect();
        assert_eq!(rates, [1.0, 2.0]);
        arrivals.sweep((NOW + 60) * 60);
        assert_eq!(arrivals.models.len(), 2);
        arrivals.sweep((NOW + 61) * 60);
        assert_eq!(arrivals.models.len(), 0);
    }

    #[test]
    fn a_gap_leaves_nothing_of_the_hours_before() {
        for gap in [59, 60, 61, 62, 1000] {
            let arrivals = after([(NOW - gap, 1e9), (NOW, 1.0)].into_iter());
            let minutes = &arrivals.models["m"];
            let sum: f64 = minutes.sums.iter().sum();
            assert_eq!(sum > 2.0, gap <= 60, "{gap}");
        }
    }
}

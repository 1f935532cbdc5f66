//! What is known of jobs that makes their messages nobody's work any more. Pure.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

/// A job by a number that is its own for as long as anything is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobNumber(NonZeroU32);

impl JobNumber {
    fn of_place(place: usize) -> Self {
        let number = u32::try_from(place).ok().and_then(|place| NonZeroU32::MIN.checked_add(place));
        Self(number.expect("four billion jobs do not fit into memory"))
    }

    fn place(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

/// Seconds since 1970, which fit until 2106.
pub type Second = u32;

/// All jobs that were heard of lately.
#[derive(Debug, Default)]
pub struct Jobs {
    numbers: HashMap<Arc<str>, JobNumber>,
    known: Vec<Job>,
    free: Vec<JobNumber>,
}

#[derive(Debug, Default)]
struct Job {
    id: Option<Arc<str>>,
    /// Messages that are held for it.
    held: u32,
    has_ended: bool,
    cancelled: Option<Second>,
    /// What was said before that is of a job that was removed.
    forgotten: Option<Second>,
    /// Segments, with the times at which it was said.
    published: BTreeMap<u32, Second>,
    heard: Second,
}

/// The clocks of two machines may differ by so much: rather is the work of a removed job counted until somebody passes it
/// over than that of one that came right after it not at all.
const CLOCKS_DIFFER: Second = 60;
/// Messages of a job may come so long after its end, from a worker that stood still.
const KEPT: Second = 3600;

impl Jobs {
    pub fn number(&mut self, id: &str, now: Second) -> JobNumber {
        if let Some(number) = self.numbers.get(id).copied() {
            self.job_mut(number).heard = now;
            return number;
        }
        let id: Arc<str> = id.into();
        let number = self.free.pop().unwrap_or_else(|| {
            self.known.push(Job::default());
            JobNumber::of_place(self.known.len() - 1)
        });
        *self.job_mut(number) = Job { id: Some(id.clone()), heard: now, ..Job::default() };
        self.numbers.insert(id, number);
        number
    }

    /// Of a job that was heard of.
    pub fn known(&self, id: &str) -> Option<JobNumber> {
        self.numbers.get(id).copied()
    }

    pub fn hold(&mut self, job: JobNumber) {
        self.job_mut(job).held += 1;
    }

    pub fn let_go(&mut self, job: JobNumber) {
        let job = self.job_mut(job);
        job.held = job.held.saturating_sub(1);
    }

    pub fn ended(&mut self, job: JobNumber) {
        let job = self.job_mut(job);
        job.has_ended = true;
        job.published.clear();
    }

    /// Its outcome was taken back: whatever has its id from then on is another job.
    pub fn forgotten(&mut self, job: JobNumber, at: Second) {
        let job = self.job_mut(job);
        job.has_ended = false;
        job.forgotten = job.forgotten.max(Some(at));
    }

    pub fn cancelled(&mut self, job: JobNumber, at: Second) {
        let job = self.job_mut(job);
        job.cancelled = job.cancelled.max(Some(at));
    }

    pub fn published(&mut self, job: JobNumber, segment: u32, at: Second) {
        let job = self.job_mut(job);
        if !job.has_ended {
            let said = job.published.entry(segment).or_insert(at);
            *said = at.max(*said);
        }
    }

    /// Whether a message of the job that came at that time still asks for something.
    pub fn is_wanted(&self, job: JobNumber, at: Second) -> bool {
        let job = self.job(job);
        let is_cancelled = job.cancelled.is_some_and(|cancelled| job.forgotten < Some(cancelled));
        let is_forgotten = job.forgotten.is_some_and(|forgotten| at.saturating_add(CLOCKS_DIFFER) < forgotten);
        !job.has_ended && !is_cancelled && !is_forgotten
    }

    pub fn is_published(&self, job: JobNumber, segment: u32) -> bool {
        let job = self.job(job);
        !job.published.is_empty() && job.published.get(&segment).is_some_and(|at| job.forgotten < Some(*at))
    }

    /// Forgets those of which nothing waits and nothing was heard for long.
    pub fn sweep(&mut self, now: Second) {
        for place in 0..self.known.len() {
            let job = &mut self.known[place];
            if job.held == 0
                && now.saturating_sub(job.heard) > KEPT
                && let Some(id) = job.id.take()
            {
                *job = Job::default();
                self.numbers.remove(&id);
                self.free.push(JobNumber::of_place(place));
            }
        }
    }

    fn job(&self, number: JobNumber) -> &Job {
        &self.known[number.place()]
    }

    fn job_mut(&mut self, number: JobNumber) -> &mut Job {
        &mut self.known[number.place()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_or_was_cancelled_is_wanted_no_more() {
        let mut jobs = Jobs::default();
        let [ended, cancelled, other] = ["ended", "cancelled", "other"].map(|id| jobs.number(id, 1000));
        jobs.ended(ended);
        jobs.cancelled(cancelled, 990);
        assert_eq!([ended, cancelled, other].map(|job| jobs.is_wanted(job, 1000)), [false, false, true]);
        jobs.published(other, 3, 1000);
        assert!(jobs.is_published(other, 3) && !jobs.is_published(other, 4) && !jobs.is_published(cancelled, 3));
    }

    #[test]
    fn an_id_that_was_removed_can_be_another_job_s() {
        let mut jobs = Jobs::default();
        let job = jobs.number("a", 1000);
        jobs.published(job, 0, 1001);
        jobs.cancelled(job, 1002);
        jobs.forgotten(job, 2000);
        assert!(!jobs.is_wanted(job, 1939), "it waited before that");
        assert!(jobs.is_wanted(job, 1940), "the clock that said so may have been slow");
        assert!(jobs.is_wanted(job, 2001) && !jobs.is_published(job, 0));
        jobs.published(job, 0, 2002);
        assert!(jobs.is_published(job, 0));
        jobs.cancelled(job, 2003);
        assert!(!jobs.is_wanted(job, 2001));
        jobs.forgotten(job, 1500);
        assert!(!jobs.is_wanted(job, 2001), "an older word changes nothing");
    }

    #[test]
    fn what_ended_in_one_order_or_the_other_is_the_same() {
        let mut jobs = Jobs::default();
        let job = jobs.number("a", 1000);
        jobs.ended(job);
        jobs.published(job, 7, 1000);
        jobs.forgotten(job, 900);
        assert!(jobs.is_wanted(job, 1000) && !jobs.is_published(job, 7));
    }

    #[test]
    fn only_what_waits_is_remembered_for_long() {
        let mut jobs = Jobs::default();
        let [held, old, heard] = ["held", "old", "heard"].map(|id| jobs.number(id, 1000));
        jobs.hold(held);
        jobs.ended(old);
        jobs.number("heard", 1001);
        jobs.sweep(1001 + KEPT);
        assert_eq!([held, heard].map(Some), ["held", "heard"].map(|id| jobs.known(id)));
        assert_eq!(jobs.known("old"), None);
        let new = jobs.number("new", 5000);
        assert_eq!(new, old, "its number is given again");
        assert!(jobs.is_wanted(new, 5000));
        jobs.let_go(held);
        jobs.sweep(u32::MAX);
        assert!(jobs.numbers.is_empty() && jobs.free.len() == 3);
    }
}

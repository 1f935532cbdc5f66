//! Many runs, on all cores.

use super::ledger::{Ledger, Outcome};
use super::policy::Choice;
use super::scenario::Scenario;
use super::trace::Trace;
use super::world::World;
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A scenario with what comes by each of some seeds.
pub struct Runs<'a> {
    scenario: &'a Scenario,
    traces: Arc<[(u64, Trace)]>,
    /// Of these traces.
    used: usize,
}

impl<'a> Runs<'a> {
    pub fn new(scenario: &'a Scenario, seeds: &[u64]) -> Self {
        let traces = seeds.iter().map(|seed| (*seed, Trace::new(scenario, *seed))).collect();
        Self { scenario, traces, used: seeds.len() }
    }

    pub fn only_first(&self) -> Self {
        Self { scenario: self.scenario, traces: self.traces.clone(), used: 1 }
    }

    /// For each choice an outcome for each seed.
    pub fn outcomes(&self, choices: &[Choice], what: &str) -> Vec<Vec<Outcome>> {
        let all: Vec<(usize, usize)> =
            (0..choices.len()).flat_map(|choice| (0..self.used).map(move |trace| (choice, trace))).collect();
        let results = in_parallel(&all, what, |(choice, trace)| {
            let trace = &self.traces[trace];
            run(self.scenario, trace, &choices[choice]).outcome(self.scenario, &trace.1)
        });
        results.chunks(self.used.max(1)).map(<[Outcome]>::to_vec).collect()
    }

    pub fn description(&self) -> &str {
        &self.scenario.description
    }

    /// Of the first seed, pieces of work.
    pub fn segments(&self) -> usize {
        self.traces.first().map_or(0, |(_, trace)| trace.segments.len())
    }

    /// Of the first seed.
    pub fn first(&self, choice: &Choice) -> Ledger {
        run(self.scenario, &self.traces[0], choice)
    }
}

pub fn run(scenario: &Scenario, (seed, trace): &(u64, Trace), choice: &Choice) -> Ledger {
    World::new(scenario, trace, *seed, choice.rules(scenario)).run(&mut *choice.policy(scenario))
}

/// The answers are in the order of the questions, whichever thread was faster.
fn in_parallel<Q: Copy + Sync, A: Send>(questions: &[Q], what: &str, answer: impl Fn(Q) -> A + Sync) -> Vec<A> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(questions.len().max(1));
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(questions.len())));
    let progress = Progress::new(what, questions.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(question) = questions.get(index) else { break };
                    let given = answer(*question);
                    let mut answers = answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    answers.push((index, given));
                    progress.done(answers.len());
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// A line on stderr now and then, where it takes long.
struct Progress<'a> {
    what: &'a str,
    total: usize,
    begun: Instant,
    said: Mutex<Instant>,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str, total: usize) -> Self {
        Self { what, total, begun: Instant::now(), said: Mutex::new(Instant::now()) }
    }

    fn done(&self, done: usize) {
        let every = Duration::from_secs(if stderr().is_terminal() { 2 } else { 10 });
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.elapsed() < every || done == self.total {
            return;
        }
        *said = Instant::now();
        let seconds = self.begun.elapsed().as_secs_f64();
        let left = seconds / done as f64 * (self.total - done) as f64;
        let _ = writeln!(stderr(), "{}: {done} of {} runs, {left:.0} s left", self.what, self.total);
    }
}

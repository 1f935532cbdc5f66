//! What the leader remembers of a pool between two cycles. All of it can be lost: it is learned again, or is in the status.

use crate::conditions::Cause;
use crate::demand::{Costs, Model};
use crate::observe::{Objects, Starts, State};
use crate::plan::PoolPlan;
use crate::pool::{Decision, WorkerPool, WorkerPoolStatus};
use crate::seconds;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Memory {
    /// Of another pool of the same name nothing is remembered.
    uid: Option<String>,
    pub starts: Starts,
    /// Seconds of a worker for each unit of work.
    pub costs: BTreeMap<Model, f64>,
    /// Jobs that were made and are not to be seen yet.
    made: Vec<Made>,
    pub last_job: u32,
    /// How many workers were wanted, and when.
    wanted: Vec<(f64, u32)>,
    has_begun: bool,
    pub decisions: Vec<Decision>,
    /// What the API server, or the template, says against new workers, and the generation that it is about.
    pub refused: Option<Refused>,
    /// Why Kafka does not say what waits, as it was said last.
    pub said_of_kafka: Option<String>,
    /// The status that was written last, and when.
    pub told: Option<(WorkerPoolStatus, Instant)>,
    /// The Job whose pods are missing, and since when.
    pods_missing: Option<(String, Instant)>,
    /// Why the pods of a Job are not made, and when that was asked.
    pub no_pods: Option<(String, Option<String>, Instant)>,
    /// The generation of the Deployment that was applied, and what was.
    pub applied: Option<(i64, String)>,
    /// The generation of the pool of which the API server would take a Job.
    pub checked: Option<i64>,
}

#[derive(Debug, Clone)]
struct Made {
    name: String,
    workers: u32,
    stays: bool,
    at: Instant,
    /// When the API server was last asked for it.
    asked: Instant,
}

#[derive(Debug, Clone)]
pub struct Refused {
    pub cause: Cause,
    pub generation: Option<i64>,
    remedy: Remedy,
    times: u32,
    until: f64,
}

/// What has to come before it can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It passes by itself.
    Time,
    /// Somebody must change something.
    Somebody,
}

/// A Job that was made is seen by the watch within that time, or the API server is asked for it.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// After the first refusal, and at most; twice as long after each other one.
const PAUSES_S: [f64; 2] = [5.0, 120.0];
/// The same after what passes by itself.
const SHORT_PAUSES_S: [f64; 2] = [1.0, 15.0];
/// What was wanted within so many seconds is one entry.
const GRAIN_S: f64 = 15.0;
const MOST_DECISIONS: usize = 10;

impl Memory {
    pub fn new(pool: &WorkerPool) -> Self {
        let status = pool.status.clone().unwrap_or_default();
        let known = |cost: &crate::pool::ModelCost| (Model::new(&cost.model), cost.worker_seconds);
        Self {
            uid: pool.uid(),
            pods_missing: None,
            starts: Starts::new(pool),
            costs: status.models.iter().filter(|cost| cost.worker_seconds > 0.0).map(known).collect(),
            made: Vec::new(),
            last_job: status.last_job,
            wanted: Vec::new(),
            has_begun: false,
            decisions: status.decisions,
            refused: None,
            said_of_kafka: None,
            told: None,
            no_pods: None,
            applied: None,
            checked: None,
        }
    }

    pub fn is_of(&self, pool: &WorkerPool) -> bool {
        self.uid == pool.uid()
    }

    /// A new leader does not know what was wanted before, and takes what is there for it.
    pub fn begin(&mut self, state: &State, now: f64) {
        if !self.has_begun {
            self.has_begun = true;
            self.wanted.push((now, state.replicas.unwrap_or(state.ready + state.coming)));
        }
        self.last_job = self.last_job.max(state.last_job);
    }

    pub fn learn_costs(&mut self, pool: &str, costs: &Costs) {
        /// Those that a new leader or a change of many models leaves behind are forgotten.
        const MOST: usize = 250;
        let known = || costs.of(Some(pool)).into_iter().map(|(model, cost)| (model, cost.worker_seconds));
        self.costs.extend(known());
        if self.costs.len() > MOST {
            self.costs = known().collect();
        }
    }

    pub fn remember_made(&mut self, name: String, workers: u32, stays: bool) {
        let now = Instant::now();
        self.made.push(Made { name, workers, stays, at: now, asked: now });
    }

    /// Counts what was made and is not to be seen yet.
    pub fn add_made(&mut self, state: &mut State, objects: &Objects, cold_start: f64) {
        let is_seen = |made: &Made| objects.jobs.iter().any(|job| job.name_any() == made.name);
        self.made.retain(|made| !is_seen(made));
        for made in &self.made {
            state.coming += made.workers;
            state.coming_for += f64::from(made.workers) * made.at.elapsed().as_secs_f64().min(cold_start);
            if made.stays {
                state.staying += made.workers;
            }
        }
    }

    /// Jobs that should be to be seen by now: the watch is late, or somebody removed them before it saw them.
    pub fn doubtful(&self) -> Vec<String> {
        let late = self.made.iter().filter(|made| made.asked.elapsed() >= SEEN_WITHIN);
        late.map(|made| made.name.clone()).collect()
    }

    /// What the API server says of one that is doubtful.
    pub fn settle_doubt(&mut self, name: &str, is_there: bool) {
        if is_there {
            self.made.iter_mut().filter(|made| made.name == name).for_each(|made| made.asked = Instant::now());
        } else {
            self.made.retain(|made| made.name != name);
        }
    }

    /// For how long the pods of this Job have been missing.
    pub fn pods_missing_for(&mut self, job: Option<&str>) -> Duration {
        let Some(job) = job else {
            self.pods_missing = None;
            return Duration::ZERO;
        };
        match &self.pods_missing {
            Some((known, since)) if known == job => since.elapsed(),
            _ => {
                self.pods_missing = Some((job.to_owned(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    pub fn wanted_before(&self) -> Vec<(f64, u32)> {
        self.wanted.clone()
    }

    /// What was wanted while nothing was known says nothing.
    pub fn remember_wanted(&mut self, plan: &PoolPlan, window: f64, now: f64) {
        if plan.is_held() {
            return;
        }
        match self.wanted.last_mut() {
            Some((since, wanted)) if now - *since < GRAIN_S => *wanted = plan.wanted.max(*wanted),
            _ => self.wanted.push((now, plan.wanted)),
        }
        self.wanted.retain(|(time, _)| now - time <= window + GRAIN_S);
    }

    pub fn decide(&mut self, what: String) {
        self.decisions.insert(0, Decision { time: seconds::time(seconds::now()), what });
        self.decisions.truncate(MOST_DECISIONS);
    }

    pub fn refuse(&mut self, cause: Cause, generation: Option<i64>, remedy: Remedy) {
        let times = self.refused.as_ref().map_or(0, |refused| refused.times) + 1;
        let [first, longest] = match remedy {
            Remedy::Time => SHORT_PAUSES_S,
            Remedy::Somebody => PAUSES_S,
        };
        let pause = (first * f64::from(2_u32.saturating_pow(times.min(16) - 1))).min(longest);
        self.refused = Some(Refused { cause, generation, remedy, times, until: seconds::now() + pause });
    }

    /// Until then, and until the API server takes its workers again, other pools get this one's work. What passes by itself is
    /// waited for instead.
    pub fn refused_until(&self) -> Option<f64> {
        let refused = self.refused.as_ref().filter(|refused| refused.remedy == Remedy::Somebody);
        refused.map(|refused| refused.until.max(seconds::now() + 1.0))
    }

    /// Whether it is time to try what was refused, or the pool has changed since.
    pub fn may_try(&self, generation: Option<i64>) -> bool {
        self.refused.as_ref().is_none_or(|refused| refused.generation != generation || seconds::now() >= refused.until)
    }
}

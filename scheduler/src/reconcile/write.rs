//! Everything that is written to the API server. Each call is given up before another scheduler could lead.

use super::memory::{Memory, Remedy};
use super::status;
use crate::cluster::in_words;
use crate::conditions::Cause;
use crate::lease::{Leadership, MARGIN};
use crate::metrics;
use crate::observe::{MissingPods, NotBegun, State};
use crate::plan::PoolPlan;
use crate::pool::{RunAs, WorkerPool};
use crate::workloads::{self, Batch, DELETION_COST, MANAGER, TemplateError, job_name};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as CoreEvent, ObjectReference, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use std::time::{Duration, Instant};

/// Does what a plan says.
pub struct Writer {
    client: Client,
    leadership: Leadership,
    recorder: Recorder,
}

/// Jobs that are made in one cycle, which is not to take too long.
const MOST_AT_ONCE: u32 = 50;
/// Between two questions why a Job's pods are not made.
const EVENTS_PERIOD: Duration = Duration::from_secs(20);
/// Between two writes of a status in which only numbers have changed.
const NUMBERS_PERIOD: Duration = Duration::from_secs(15);

/// What can go wrong with a write.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("this scheduler leads no more")]
    LeadsNoMore,
    #[error("no answer from the API server")]
    NoAnswer,
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("{}", in_words(.0))]
    Kube(Box<kube::Error>),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

impl WriteError {
    fn code(&self) -> u16 {
        match self {
            Self::Kube(error) => match error.as_ref() {
                kube::Error::Api(status) => status.code,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// An object of this name is there. A conflict of another kind, as of a quota that changes at the same time, passes.
    fn is_there_already(&self) -> bool {
        let is_it = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists");
        matches!(self, Self::Kube(error) if is_it(error))
    }

    /// What a person must change, where it is not something that passes.
    fn cause(&self) -> Option<Cause> {
        match (self, self.code()) {
            (Self::Template(error), _) => Some(Cause::new("TemplateInvalid", error.to_string())),
            (_, 400 | 422) => Some(Cause::new("TemplateInvalid", format!("spec.template: {self}"))),
            (_, 403) => Some(Cause::new("Forbidden", format!("the API server refuses workers of this pool: {self}"))),
            _ => None,
        }
    }
}

impl Writer {
    pub fn new(client: Client, leadership: Leadership, identity: &str) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client.clone(), reporter), client, leadership }
    }

    pub async fn carry_out(&self, pool: &WorkerPool, state: &State, plan: &PoolPlan, memory: &mut Memory) {
        let generation = pool.metadata.generation;
        if plan.is_held() {
            return;
        }
        if !memory.may_try(generation) {
            return;
        }
        let was_refused = memory.refused_until().is_some();
        let done = match pool.spec.run_as {
            // Before it gets work that others could do, the API server is asked whether it would take a Job.
            RunAs::Jobs if was_refused => self.check(pool, memory).await,
            RunAs::Jobs => self.size_jobs(pool, state, plan, memory).await,
            RunAs::Deployment => self.size_deployment(pool, state, plan, memory).await,
        };
        match done {
            Ok(()) => memory.refused = None,
            Err(WriteError::LeadsNoMore) => {}
            Err(error) => self.not_done(pool, &error, memory).await,
        }
    }

    /// That Kafka does not say what waits any more, and why; once for each reason.
    pub async fn say_of_kafka(&self, pool: &WorkerPool, kafka: Option<&Cause>, memory: &mut Memory) {
        // What takes a moment is no news.
        let news = kafka.filter(|cause| !matches!(cause.reason.as_str(), "CatchingUp" | "NotFollowed"));
        let reason = news.map(|cause| cause.reason.clone());
        if let Some(cause) = news.filter(|_| memory.said_of_kafka != reason) {
            tracing::warn!(pool = pool.name_any(), "{}: {}", cause.reason, cause.message);
            let event = event(&cause.reason, &cause.message);
            self.say(pool, Event { type_: EventType::Warning, ..event }).await;
        }
        if kafka.is_none() || reason.is_some() {
            memory.said_of_kafka = reason;
        }
    }

    async fn not_done(&self, pool: &WorkerPool, error: &WriteError, memory: &mut Memory) {
        tracing::warn!(pool = pool.name_any(), "not done: {error}");
        metrics::api_error(error.code());
        let generation = pool.metadata.generation;
        let Some(cause) = error.cause() else {
            let message = format!("the API server: {error}; it is tried again");
            return memory.refuse(Cause::new("ApiServerError", message), generation, Remedy::Time);
        };
        if memory.refused.as_ref().is_none_or(|refused| refused.cause != cause) {
            let event = event(&cause.reason, &cause.message);
            self.say(pool, Event { type_: EventType::Warning, ..event }).await;
        }
        memory.checked = None;
        memory.refuse(cause, generation, Remedy::Somebody);
    }

    async fn size_jobs(
        &self,
        pool: &WorkerPool,
        state: &State,
        plan: &PoolPlan,
        memory: &mut Memory,
    ) -> Result<(), WriteError> {
        for NotBegun { job, .. } in state.not_begun.iter().filter(|job| job.is_outdated) {
            // What keeps its workers from running may be what was changed.
            self.cancel_job(pool, job, "none of its workers has begun, and the template was changed", memory).await?;
        }
        if plan.create == 0 && plan.surplus == 0 {
            return self.check(pool, memory).await;
        }
        let staying = plan.create.min(pool.spec.min_workers.saturating_sub(state.staying));
        // Each of the minimum's workers has a Job of its own, so that one can be let go.
        for _ in 0..staying.min(MOST_AT_ONCE) {
            self.make_job(pool, 1, true, plan, memory).await?;
        }
        if staying > MOST_AT_ONCE {
            return Ok(());
        }
        if plan.create > staying {
            self.make_job(pool, plan.create - staying, false, plan, memory).await?;
        }
        self.take_back(pool, state, plan, memory).await
    }

    /// Jobs that are not needed and whose workers do nothing.
    async fn take_back(
        &self,
        pool: &WorkerPool,
        state: &State,
        plan: &PoolPlan,
        memory: &mut Memory,
    ) -> Result<(), WriteError> {
        let mut surplus = plan.surplus;
        let mut too_many_stay = state.staying.saturating_sub(pool.spec.min_workers);
        let not_begun = state.not_begun.iter().filter(|job| !job.is_outdated);
        for NotBegun { job, workers, stays, .. } in not_begun {
            if *workers <= surplus && (!stays || too_many_stay > 0) {
                let why = format!("none of its workers has begun, and {}", plan.reason);
                self.cancel_job(pool, job, &why, memory).await?;
                surplus -= workers;
                too_many_stay -= u32::from(*stays);
            }
        }
        for job in state.idle_and_staying.iter().take(too_many_stay.min(surplus) as usize) {
            self.cancel_job(pool, job, "it is idle, and minWorkers is less", memory).await?;
        }
        Ok(())
    }

    /// A template of which nothing can be made is said before there is work for it: the API server is asked once for each.
    async fn check(&self, pool: &WorkerPool, memory: &mut Memory) -> Result<(), WriteError> {
        if memory.checked.is_some() && memory.checked == pool.metadata.generation {
            return Ok(());
        }
        let job = workloads::job(pool, Batch { number: memory.last_job + 1, workers: 1, stays: false })?;
        let dry_run = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        match self.in_time(self.of::<Job>(pool).create(&dry_run, &job)).await {
            Err(error) if !error.is_there_already() => return Err(error),
            _ => memory.checked = pool.metadata.generation,
        }
        Ok(())
    }

    async fn make_job(
        &self,
        pool: &WorkerPool,
        workers: u32,
        stays: bool,
        plan: &PoolPlan,
        memory: &mut Memory,
    ) -> Result<(), WriteError> {
        let number = memory.last_job + 1;
        let name = job_name(&pool.name_any(), number);
        let job = workloads::job(pool, Batch { number, workers, stays })?;
        let jobs: Api<Job> = self.of(pool);
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let made = self.in_time(jobs.create(&parameters, &job)).await;
        match made {
            Ok(_) => {
                memory.checked = pool.metadata.generation;
                let what = format!("started {workers} as {name}: {}", plan.reason);
                tracing::info!(pool = pool.name_any(), "{what}");
                self.say(pool, Event { secondary: Some(reference(pool, &name)), ..event("Started", &what) }).await;
                memory.decide(what);
            }
            // The leader before decided the same, and it is not to be seen yet.
            Err(error) if error.is_there_already() => tracing::info!("{name} is there already"),
            // It may have been made all the same, which is to be seen in a moment.
            Err(WriteError::NoAnswer) => tracing::warn!("whether {name} was made is not known yet"),
            Err(error) => return Err(error),
        }
        memory.last_job = number;
        memory.remember_made(name, workers, stays);
        Ok(())
    }

    /// Whether Jobs are there that were made, and that the watch should show by now.
    pub async fn ask_for_doubtful(&self, pool: &WorkerPool, memory: &mut Memory) {
        let jobs: Api<Job> = self.of(pool);
        for name in memory.doubtful() {
            match self.in_time(jobs.get_opt(&name)).await {
                Ok(found) => {
                    if found.is_some() {
                        tracing::warn!("{name} is there, and the watch does not show it yet");
                    }
                    memory.settle_doubt(&name, found.is_some());
                }
                Err(error) => tracing::warn!("whether {name} is there is not known: {error}"),
            }
        }
    }

    async fn cancel_job(&self, pool: &WorkerPool, job: &str, why: &str, memory: &mut Memory) -> Result<(), WriteError> {
        let jobs: Api<Job> = self.of(pool);
        match self.in_time(jobs.delete(job, &DeleteParams::background())).await {
            Ok(_) => {
                let what = format!("took back {job}: {why}");
                tracing::info!(pool = pool.name_any(), "{what}");
                self.say(pool, Event { secondary: Some(reference(pool, job)), ..event("TookBack", &what) }).await;
                memory.decide(what);
                Ok(())
            }
            Err(error) if error.code() == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn size_deployment(
        &self,
        pool: &WorkerPool,
        state: &State,
        plan: &PoolPlan,
        memory: &mut Memory,
    ) -> Result<(), WriteError> {
        let before = state.replicas;
        let replicas = match before {
            Some(before) if plan.desired < before => {
                before - self.free_to_go(pool, state, before - plan.desired).await?
            }
            _ => plan.desired.max(plan.wanted),
        };
        let wanted = workloads::deployment(pool, replicas)?;
        let said = serde_json::to_string(&wanted).unwrap_or_default();
        let is_applied = memory
            .applied
            .as_ref()
            .is_some_and(|(generation, applied)| *applied == said && state.deployment_generation == Some(*generation));
        if is_applied {
            return Ok(());
        }
        let deployments: Api<Deployment> = self.of(pool);
        let parameters = PatchParams::apply(MANAGER).force();
        let name = pool.name_any();
        let applied = self.in_time(deployments.patch(&name, &parameters, &Patch::Apply(&wanted))).await?;
        memory.applied = Some((applied.metadata.generation.unwrap_or(0), said));
        if before != Some(replicas) {
            let from = before.unwrap_or(0);
            let what = format!("from {from} to {replicas} workers: {}", plan.reason);
            tracing::info!(pool = name, "{what}");
            self.say(pool, Event { action: format!("ScaleTo{replicas}"), ..event("Scaled", &what) }).await;
            memory.decide(what);
        }
        Ok(())
    }

    /// How many of these may go, with the pods marked by what they have in hand: those with nothing go first, and only as
    /// many go as have nothing.
    async fn free_to_go(&self, pool: &WorkerPool, state: &State, surplus: u32) -> Result<u32, WriteError> {
        let idle = state.in_hand.iter().filter(|(_, in_hand, _)| *in_hand == 0).count() as u32;
        let never_made = state.replicas.unwrap_or(0).saturating_sub(state.in_hand.len() as u32);
        let free = surplus.min(idle + never_made);
        if free == 0 {
            return Ok(0);
        }
        let pods: Api<Pod> = self.of(pool);
        for (name, in_hand, marked) in &state.in_hand {
            if *marked == Some(*in_hand as i32) {
                continue;
            }
            let patch = json!({"metadata": {"annotations": {DELETION_COST: in_hand.to_string()}}});
            let marked = self.in_time(pods.patch(name, &PatchParams::default(), &Patch::Merge(&patch))).await;
            if let Err(error) = marked
                && error.code() != 404
            {
                return Err(error);
            }
        }
        Ok(free)
    }

    /// Writes the status, if there is something new to say.
    pub async fn tell(
        &self,
        pool: &WorkerPool,
        state: &State,
        plan: &PoolPlan,
        kafka: Option<&Cause>,
        memory: &mut Memory,
        now: f64,
    ) {
        let status = status::of(pool, &status::Facts { state, plan, kafka, now }, memory);
        let told = memory.told.as_ref();
        let is_new = match told {
            Some((told, at)) => {
                !status::is_same_but_for_numbers(told, &status) || (*told != status && at.elapsed() >= NUMBERS_PERIOD)
            }
            None => pool.status.as_ref() != Some(&status),
        };
        if !is_new {
            return;
        }
        let pools: Api<WorkerPool> = self.of(pool);
        let patch = json!({
            "apiVersion": WorkerPool::api_version(&()), "kind": WorkerPool::kind(&()), "status": status
        });
        let parameters = PatchParams::apply(MANAGER).force();
        let name = pool.name_any();
        match self.in_time(pools.patch_status(&name, &parameters, &Patch::Apply(&patch))).await {
            Ok(_) => memory.told = Some((status, Instant::now())),
            Err(WriteError::LeadsNoMore) => {}
            Err(error) if error.code() == 404 => {}
            Err(error) => {
                metrics::api_error(error.code());
                tracing::warn!(pool = name, "its status is not written: {error}");
            }
        }
    }

    /// What the cluster says of pods that a Job should have and does not.
    pub async fn why_no_pods(&self, pool: &WorkerPool, missing: &MissingPods, memory: &mut Memory) -> Option<String> {
        if let Some((job, answer, at)) = &memory.no_pods
            && *job == missing.job
            && at.elapsed() < EVENTS_PERIOD
        {
            return answer.clone();
        }
        let events: Api<CoreEvent> = self.of(pool);
        let about = format!("involvedObject.kind=Job,involvedObject.name={},reason=FailedCreate", missing.job);
        let found = self.in_time(events.list(&ListParams::default().fields(&about).limit(50))).await;
        let answer = match found {
            Ok(list) => list.items.into_iter().filter_map(|event| event.message).next_back(),
            Err(error) => {
                tracing::debug!("why {} lacks pods is not known: {error}", missing.job);
                None
            }
        };
        memory.no_pods = Some((missing.job.clone(), answer.clone(), Instant::now()));
        answer
    }

    /// An Event of the pool. That it is not written changes nothing. Of several within some minutes that differ in their note
    /// alone, the first is counted up.
    async fn say(&self, pool: &WorkerPool, event: Event) {
        if let Err(error) = self.in_time(self.recorder.publish(&event, &pool.object_ref(&()))).await {
            tracing::debug!("an Event is not written: {error}");
        }
    }

    fn of<K>(&self, pool: &WorkerPool) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &pool.namespace().unwrap_or_default())
    }

    /// A call that is made only while this scheduler leads, and given up before another one could.
    async fn in_time<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
        if !self.leadership.is_held() {
            return Err(WriteError::LeadsNoMore);
        }
        metrics::api_call();
        let patience = MARGIN.saturating_sub(Duration::from_secs(1));
        match tokio::time::timeout(patience, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(WriteError::NoAnswer),
        }
    }
}

fn event(reason: &str, note: &str) -> Event {
    /// The API server takes no longer note.
    const LONGEST_NOTE: usize = 1024;
    Event {
        type_: EventType::Normal,
        reason: reason.to_owned(),
        note: Some(note[..note.floor_char_boundary(LONGEST_NOTE)].to_owned()),
        action: "Scale".to_owned(),
        secondary: None,
    }
}

/// To a Job of the pool.
fn reference(pool: &WorkerPool, job: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(Job::api_version(&()).into_owned()),
        kind: Some(Job::kind(&()).into_owned()),
        name: Some(job.to_owned()),
        namespace: pool.namespace(),
        ..ObjectReference::default()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

//! A worker of a fleet: takes work from Kafka until it is told to leave.
//!
//! ```text
//! jobs ─────────────► plan ───► segments.<queue> ─► detect ───► finish ─► finish ─► outcomes
//!                      (6)                          (slots)                (2)
//! control ─► Cancelled ─► stops what runs     heart: marks, heartbeat, volume, leaving
//! ```
//!
//! Nothing durable lives here. A message is finished when what it asked for is in the job's folder and what follows from it
//! was acknowledged; before that it comes again, to this worker or another, and finds what is there.

mod announce;
mod answers;
mod beside;
mod cancelled;
mod detect;
mod drain;
mod finish;
mod gate;
mod health;
mod heartbeat;
mod in_flight;
mod intake;
mod leave;
mod measured;
mod models;
mod occupied;
mod plan;
mod retain;
mod settle;
mod standing;
mod worker;

use crate::cli::models::start as follow_models;
use crate::device::{self, DeviceWish, GpuWish, Settled};
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::source::Places;
use crate::watchdog::Watchdog;
use announce::Announcer;
use beside::again_and_again;
use cancelled::Cancelled;
use detect::DetectRole;
use finish::Finisher;
use framefleet_contract::attempt::TOUCH_PERIOD;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::retention::Keep;
use framefleet_contract::volume::Volume;
use framefleet_models::Follow;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_queue::{Connection, Delivery};
use gate::Gate;
use heartbeat::{Heart, Identity};
use intake::Intake;
use leave::LeaveWhenEmpty;
use measured::Measured;
use metrics_exporter_prometheus::PrometheusHandle;
use models::{LoadedModels, PlannedModels};
use plan::Planner;
use standing::Standing;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use worker::Worker;

/// How a worker is to work. None of it changes a result.
#[derive(Debug)]
pub struct Settings {
    pub connection: Connection,
    pub roles: Roles,
    /// By name, with their weights.
    pub queues: BTreeMap<String, u32>,
    pub results: PathBuf,
    pub models: PathBuf,
    pub places: Places,
    pub limits: Limits,
    pub device: DeviceWish,
    pub gpu: GpuWish,
    pub threads: usize,
    /// Segments at once.
    pub slots: usize,
    pub segment_seconds: f64,
    /// Work that does not fit into this is handed back when the worker leaves.
    pub grace: Duration,
    pub leave_when_empty: Option<Duration>,
    pub leave_when_idle: Option<Duration>,
    pub listen: Option<SocketAddr>,
    /// No work is taken while less of the volume is free.
    pub least_free: f64,
    pub keep: Keep,
    pub metrics: PrometheusHandle,
}

impl Settings {
    /// Only the role `detect` runs models.
    fn wish(&self) -> DeviceWish {
        if self.roles.detect { self.device } else { DeviceWish::Cpu }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub plan: bool,
    pub detect: bool,
    pub finish: bool,
}

impl Roles {
    fn names(self) -> Vec<String> {
        let roles = [(self.plan, "plan"), (self.detect, "detect"), (self.finish, "finish")];
        roles.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect()
    }
}

/// Threads of the role `plan`: some may wait for servers that do not answer while others answer cancellations.
const PLANNERS: usize = 6;
/// Threads of the role `finish`: one draws a long video while another tracks.
const FINISHERS: usize = 2;
/// Between two looks at whether the worker leaves.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at the volume, and at what is not to be kept.
const VOLUME_PERIOD: Duration = Duration::from_secs(2);
/// Between two looks at jobs that are cancelled and may have ended.
const CANCELLED_PERIOD: Duration = Duration::from_secs(2);
const RETAIN_PERIOD: Duration = Duration::from_mins(1);

/// Works until a signal, or until there is no work left, where that is asked for.
pub fn run(settings: &Settings, signals: &Stop) -> Result<()> {
    let volume = Volume::open(&settings.results)?;
    // What is wrong here is known sooner than what is wrong with a broker.
    let settled = device::settle(settings.wish(), settings.gpu)?;
    check_topics(settings)?;
    let id = worker_id();
    let announcer = Announcer::new(&settings.connection, &volume, &id)?;
    let worker = Arc::new(Worker {
        id,
        volume: volume.clone(),
        limits: settings.limits,
        announcer,
        gate: Gate::default(),
        cancelled: Cancelled::default(),
        in_flight: in_flight::InFlightWork::default(),
        standing: Standing::default(),
        hand_back: Stop::default(),
        announced: std::sync::Mutex::default(),
    });
    worker.standing.look_at(&volume, settings.least_free);
    let ends = Stop::default();
    worker.cancelled.follow(&settings.connection, &ends)?;
    let measured = Measured::default();
    let crew = Crew::muster(settings, &worker, &settled, &measured)?;
    let watchdog = crew.watch(settings.limits.stall_s);
    if let Some(address) = settings.listen {
        let bound = health::serve(address, crew.answers(settings.metrics.clone(), watchdog.looked()))
            .map_err(|e| JobError::BadRequest(format!("--listen {address}: {e}; choose another address")))?;
        tracing::info!("health and metrics at http://{bound}/");
    }
    let identity = Identity {
        roles: settings.roles.names(),
        queues: settings.queues.clone(),
        device: settled.device().to_owned(),
        slots: settings.slots as u32,
        threads: crew.detect.as_ref().map_or(settings.threads as u32, |role| role.pool.threads()),
        started: SystemTime::now(),
    };
    let heart = Heart::new(identity, measured);
    let ended = crew.work(settings, signals, heart);
    ends.fail();
    ended
}

/// Fails where a topic is missing that this worker hears or speaks to.
fn check_topics(settings: &Settings) -> Result<()> {
    let topics = settings.connection.topics();
    let always = [topics.jobs(), topics.finish(), topics.outcomes(), topics.status(), topics.control()];
    let queues = settings.queues.keys().map(|queue| topics.segments(queue));
    let all: Vec<String> = always.into_iter().chain([topics.workers(), topics.dead_letters()]).chain(queues).collect();
    framefleet_queue::topics::check_topics(&settings.connection, &all)?;
    Ok(())
}

/// The threads of the roles, and where their work comes from.
struct Crew {
    worker: Arc<Worker>,
    intakes: Vec<Arc<Intake>>,
    detect: Option<Arc<DetectRole>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn muster(settings: &Settings, worker: &Arc<Worker>, settled: &Settled, measured: &Measured) -> Result<Self> {
        let runtime = &settled.runtime;
        // In the order in which work goes through them: so nothing is missed where it is asked whether there is any.
        let mut this = Self { worker: worker.clone(), intakes: Vec::new(), detect: None, threads: Vec::new() };
        let topics = settings.connection.topics();
        let one = |topic: String| BTreeMap::from([(String::new(), (topic, 1))]);
        let models = LoadedModels::new(&worker.volume, runtime);
        if settings.roles.plan {
            let follow = Follow { results: Some(worker.volume.clone()), ..Follow::new(&settings.models) };
            let planner = Planner {
                models: PlannedModels {
                    directory: follow_models(follow, runtime)?,
                    place: settings.models.clone(),
                    results: worker.volume.clone(),
                },
                places: settings.places.clone(),
                segment_seconds: settings.segment_seconds,
            };
            let intake = Intake::start(&settings.connection, &one(topics.jobs()))?;
            this.man("plan", PLANNERS, intake, move |worker, delivery| planner.handle(worker, delivery))?;
        }
        if settings.roles.detect {
            let role = Arc::new(DetectRole {
                pool: settled.pool(settings.threads)?,
                models: models.clone(),
                measured: measured.clone(),
                places: settings.places.clone(),
                open: occupied::Occupied::default(),
            });
            this.detect = Some(role.clone());
            let queues = settings.queues.iter();
            let queues = queues.map(|(queue, weight)| (queue.clone(), (topics.segments(queue), *weight))).collect();
            let intake = Intake::start(&settings.connection, &queues)?;
            this.man("detect", settings.slots, intake, move |worker, delivery| role.handle(worker, delivery))?;
        }
        if settings.roles.finish {
            let finisher = Finisher::new(models, settings.places.clone());
            let intake = Intake::start(&settings.connection, &one(topics.finish()))?;
            this.man("finish", FINISHERS, intake, move |worker, delivery| finisher.handle(worker, delivery))?;
        }
        Ok(this)
    }

    /// Starts the threads of a role.
    fn man(
        &mut self,
        role: &str,
        threads: usize,
        intake: Intake,
        handle: impl Fn(&Worker, &Delivery) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let (intake, handle) = (Arc::new(intake), Arc::new(handle));
        self.intakes.push(intake.clone());
        for n in 0..threads {
            let (worker, intake, handle) = (self.worker.clone(), intake.clone(), handle.clone());
            let role_name = role.to_owned();
            let serve = move || {
                while !worker.standing.is_draining() {
                    if !worker.standing.takes_work() {
                        std::thread::sleep(LOOK);
                        continue;
                    }
                    if let Some((delivery, turn)) = intake.next(LOOK) {
                        let begun = Instant::now();
                        worker.settle(delivery, |delivery| handle(&worker, delivery));
                        let labels = [("role", role_name.clone())];
                        metrics::histogram!("framefleet_message_seconds", &labels).record(begun.elapsed());
                        intake.done(&turn, begun.elapsed());
                    }
                }
            };
            let thread = Builder::new().name(format!("{role}-{n}")).spawn(serve).map_err(|_| JobError::ThreadLost)?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Ends the process when a call into FFmpeg or a model does not come back, or the GPU is lost.
    fn watch(&self, stall_s: f64) -> Watchdog {
        let under_way = self.detect.as_ref().map(|role| role.pool.under_way()).unwrap_or_default();
        Watchdog::start(stall_s, under_way, |error| {
            tracing::error!("{}: {error}; the process ends", error.code());
            framefleet_native::process::end_process(crate::cli::status_of_end(&error).into());
        })
    }

    /// Everything beside the roles, until the worker leaves.
    fn work(self, settings: &Settings, signals: &Stop, heart: Heart) -> Result<()> {
        let is_time_to_leave = Arc::new(AtomicBool::new(false));
        let ends = Stop::default();
        self.begin_beside(settings, heart, &ends)?;
        self.begin_taking_back(settings, &ends)?;
        self.begin_retaining(settings, signals)?;
        self.begin_asking_whether_to_leave(settings, signals, &is_time_to_leave)?;
        let mut ended = None;
        while !signals.is_asked() && ended.is_none() && !is_time_to_leave.load(Ordering::Relaxed) {
            let pause = !self.worker.standing.takes_work();
            self.intakes.iter().for_each(|intake| intake.pause(pause));
            if !self.worker.standing.has_started() && self.consumers().all(framefleet_queue::Consumer::has_joined) {
                self.worker.standing.started();
                tracing::info!(worker = self.worker.id, "ready");
            }
            ended = self.consumers().find_map(framefleet_queue::Consumer::ended);
            std::thread::sleep(LOOK);
        }
        tracing::info!(worker = self.worker.id, "leaving");
        self.drain(settings.grace);
        ends.fail();
        ended.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Marks and heartbeats, until the very end, and the volume.
    fn begin_beside(&self, settings: &Settings, mut heart: Heart, ends: &Stop) -> Result<()> {
        let worker = self.worker.clone();
        again_and_again("heart", TOUCH_PERIOD, ends, move || {
            heart.beat(&worker);
            worker.standing.beat();
        })?;
        let (worker, least_free, metrics) = (self.worker.clone(), settings.least_free, settings.metrics.clone());
        again_and_again("volume", VOLUME_PERIOD, ends, move || {
            worker.standing.look_at(&worker.volume, least_free);
            // Otherwise what is measured would pile up as long as nobody asks for it.
            metrics.run_upkeep();
        })
    }

    /// A client says twice that a job is to end. The second word may come after the job has its outcome by the first, and
    /// would be heard for ever.
    fn begin_taking_back(&self, settings: &Settings, ends: &Stop) -> Result<()> {
        if !settings.roles.plan {
            return Ok(());
        }
        let (worker, stop) = (self.worker.clone(), ends.clone());
        again_and_again("cancelled", CANCELLED_PERIOD, ends, move || {
            for job_id in worker.cancelled.jobs() {
                let has_ended =
                    JobFolder::new(&worker.volume, &job_id).outcome().is_ok_and(|outcome| outcome.is_some());
                if has_ended && worker.announcer.cancellation_is_done(&job_id, &stop).is_err() {
                    return;
                }
            }
        })
    }

    fn begin_retaining(&self, settings: &Settings, signals: &Stop) -> Result<()> {
        if !settings.roles.finish || settings.keep == Keep::default() {
            return Ok(());
        }
        let (worker, keep, stop) = (self.worker.clone(), settings.keep, signals.clone());
        again_and_again("retain", RETAIN_PERIOD, signals, move || {
            let removed = retain::remove_expired(&worker.volume, keep, &worker.announcer, &stop);
            if let Err(error) = removed.or_else(|error| if stop.is_asked() { Ok(()) } else { Err(error) }) {
                tracing::warn!("old jobs are not removed: {error}");
            }
        })
    }

    fn begin_asking_whether_to_leave(
        &self,
        settings: &Settings,
        signals: &Stop,
        is_time: &Arc<AtomicBool>,
    ) -> Result<()> {
        let mut leave = match (settings.leave_when_empty, settings.leave_when_idle) {
            (Some(after), _) => LeaveWhenEmpty::new(&settings.connection, &self.topics(), after)?,
            // What others have is not asked about.
            (None, Some(after)) => LeaveWhenEmpty::new(&settings.connection, &[], after)?,
            (None, None) => return Ok(()),
        };
        let (worker, intakes, is_time) = (self.worker.clone(), self.intakes.clone(), is_time.clone());
        again_and_again("leave", LOOK, signals, move || {
            let mut consumers = intakes.iter().flat_map(|intake| intake.consumers());
            // One that has not joined yet, or cannot work now, has nothing to do for another reason: another would not either.
            let standing = &worker.standing;
            let could_work = standing.has_started() && standing.takes_work() && !standing.is_kafka_silent();
            let is_idle = could_work && worker.in_flight.is_empty() && consumers.all(|consumer| consumer.open() == 0);
            if leave.is_time(is_idle) && !is_time.swap(true, Ordering::Relaxed) {
                tracing::info!("no work is left");
            }
        })
    }

    fn consumers(&self) -> impl Iterator<Item = &framefleet_queue::Consumer> {
        self.intakes.iter().flat_map(|intake| intake.consumers())
    }

    fn topics(&self) -> Vec<String> {
        self.consumers().map(|consumer| consumer.topic().to_owned()).collect()
    }
}

/// Unlike any other's, also of a process that had the same number on the same host before.
fn worker_id() -> String {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{:x}", crate::summarise::host(), std::process::id(), since_1970.as_micros() & 0xff_ffff)
}

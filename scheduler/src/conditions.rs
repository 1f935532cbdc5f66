//! A pool's conditions, in words that a user can act on. Pure.

#[cfg(test)]
mod tests;

use crate::observe::{State, Trouble};
use crate::plan::{Finding, Limit, PoolPlan};
use crate::seconds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What is known of a pool when its conditions are written.
#[derive(Debug)]
pub struct View<'a> {
    pub generation: Option<i64>,
    pub plan: &'a PoolPlan,
    pub state: &'a State,
    /// Why Kafka does not say what waits, where it does not.
    pub kafka: Option<&'a Cause>,
    /// What the API server, or the template, says against workers of this pool.
    pub refused: Option<&'a Cause>,
    pub now: f64,
}

/// A condition's reason, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// One word in `CamelCase`, for programs.
    pub reason: String,
    pub message: String,
}

impl Cause {
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// All conditions. One that has not changed keeps the time at which it last did.
pub fn of(view: &View<'_>, before: &[Condition]) -> Vec<Condition> {
    let all = [
        ("Ready", ready(view)),
        ("Progressing", progressing(view)),
        ("Degraded", degraded(view)),
        ("KafkaAvailable", kafka(view)),
        ("CapacityAvailable", capacity(view)),
        ("DeadlineAtRisk", deadline_at_risk(view)),
        ("DrainTargetImpossible", drain_target(view)),
        ("Paused", paused(view)),
    ];
    all.into_iter().map(|(type_, (is_so, cause))| condition(type_, is_so, cause, view, before)).collect()
}

fn condition(type_: &str, is_so: bool, cause: Cause, view: &View<'_>, before: &[Condition]) -> Condition {
    let status = if is_so { "True" } else { "False" };
    let same = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: same.map_or_else(|| seconds::time(view.now), |same| same.last_transition_time.clone()),
        observed_generation: view.generation,
        reason: cause.reason,
        message: cause.message,
    }
}

/// The one to look at first: its reason is the pool's state.
fn ready(view: &View<'_>) -> (bool, Cause) {
    let said = &view.plan.reason;
    if let Some(cause) = view.refused.or(view.kafka) {
        return (false, cause.clone());
    }
    if has(view, |finding| matches!(finding, Finding::Paused)) {
        return (false, Cause::new("Paused", said));
    }
    if has(view, |finding| matches!(finding, Finding::Held(_))) {
        return (false, Cause::new("Held", said));
    }
    if let (true, cause) = degraded(view) {
        return (false, cause);
    }
    match capacity(view) {
        (false, cause) if view.state.ready == 0 => return (false, cause),
        _ => {}
    }
    let state = match (view.state.coming + view.plan.create, view.state.ready) {
        _ if has(view, |finding| matches!(finding, Finding::Measuring)) => "Measuring",
        (1.., _) => "Starting",
        (0, 1..) => "Working",
        (0, 0) => "Idle",
    };
    (true, Cause::new(state, said))
}

fn progressing(view: &View<'_>) -> (bool, Cause) {
    let coming = view.state.coming + view.plan.create;
    if coming > 0 {
        let message = format!("{} of {} workers are ready, {coming} come", view.state.ready, view.plan.desired);
        return (true, Cause::new("WorkersStarting", message));
    }
    (false, Cause::new("Settled", format!("{} workers are ready", view.state.ready)))
}

fn degraded(view: &View<'_>) -> (bool, Cause) {
    if let Some(cause) = view.refused {
        return (true, cause.clone());
    }
    if let Some(Trouble::CannotStart { reason, message }) = &view.state.trouble {
        let advice = "nothing more is started here until it can; kubectl describe one of its pods";
        return (true, Cause::new(reason, format!("workers cannot start: {message}; {advice}")));
    }
    let failures = &view.state.failures;
    if failures.in_a_row > 0 {
        let message = format!(
            "the workers of the last {} Jobs failed: {}; kubectl logs of one of its pods says why",
            failures.in_a_row, failures.message
        );
        return (true, Cause::new("WorkersFail", message));
    }
    if has(view, |finding| matches!(finding, Finding::ModelTooLarge)) {
        let message =
            "a model that waits needs more memory than spec.gpu.memory: a pool with larger GPUs must serve its queue";
        return (true, Cause::new("ModelTooLarge", message));
    }
    (false, Cause::new("AsExpected", ""))
}

fn kafka(view: &View<'_>) -> (bool, Cause) {
    match view.kafka {
        Some(cause) => (false, cause.clone()),
        None => (true, Cause::new("Answers", "")),
    }
}

fn capacity(view: &View<'_>) -> (bool, Cause) {
    match &view.state.trouble {
        Some(Trouble::Refused(message)) => {
            let is_quota = message.contains("exceeded quota") || message.contains("quota");
            let reason = if is_quota { "QuotaExceeded" } else { "PodsRefused" };
            return (false, Cause::new(reason, message));
        }
        Some(Trouble::Unschedulable(message)) => {
            let reason = if view.state.stuck > 0 { "NodesDoNotCome" } else { "Unschedulable" };
            let message = format!("{message}; a node pool that scales by itself brings nodes, or someone must");
            return (false, Cause::new(reason, message));
        }
        _ => {}
    }
    if view.state.stuck > 0 {
        let message = format!("{} workers were asked for and do not come", view.state.stuck);
        return (false, Cause::new("WorkersDoNotCome", message));
    }
    (true, Cause::new("AsExpected", ""))
}

fn deadline_at_risk(view: &View<'_>) -> (bool, Cause) {
    let at_risk = view.plan.findings.iter().find_map(|finding| match finding {
        Finding::DeadlineAtRisk { worker_seconds, earliest } => Some((*worker_seconds, *earliest)),
        _ => None,
    });
    match at_risk {
        Some((worker_seconds, earliest)) => {
            let what =
                if worker_seconds > 0.0 { format!("{worker_seconds:.0} worker-s") } else { "some work".to_owned() };
            let first = seconds::time(earliest).0;
            let message = format!("{what} cannot be done by its deadlines, the first of which is {first}");
            (true, Cause::new("TooLate", message))
        }
        None => (false, Cause::new("AsExpected", "")),
    }
}

fn drain_target(view: &View<'_>) -> (bool, Cause) {
    let limited = view.plan.findings.iter().find_map(|finding| match finding {
        Finding::Limited(limit @ (Limit::MaxWorkers | Limit::Budget | Limit::Partitions)) => Some(limit),
        _ => None,
    });
    if has(view, |finding| matches!(finding, Finding::DrainTargetImpossible)) {
        return (true, Cause::new("WaitedTooLong", &view.plan.reason));
    }
    match limited {
        Some(_) => (true, Cause::new("Limited", &view.plan.reason)),
        None => (false, Cause::new("AsExpected", "")),
    }
}

fn paused(view: &View<'_>) -> (bool, Cause) {
    if has(view, |finding| matches!(finding, Finding::Paused)) {
        return (true, Cause::new("SpecSaysSo", "spec.paused is true: no worker is started or stopped"));
    }
    (false, Cause::new("NotAsked", ""))
}

fn has(view: &View<'_>, is_it: impl Fn(&Finding) -> bool) -> bool {
    view.plan.findings.iter().any(is_it)
}

//! A plan in words and numbers.

use super::sheet::Sheet;
use super::{Finding, Limit, PoolPlan};
use std::fmt::Write as _;

/// One line, as short as the case allows: `5400 worker-s waiting, drain within 600 s: 12 workers`.
pub fn of(sheet: &Sheet<'_>, plan: &PoolPlan) -> String {
    let held = plan.findings.iter().find_map(|finding| match finding {
        Finding::Held(why) => Some(why),
        _ => None,
    });
    if let Some(why) = held {
        return format!("held at {}: {why}", workers(plan.desired));
    }
    if plan.findings.contains(&Finding::Paused) {
        return format!("paused at {}", workers(plan.desired));
    }
    let mut said = numbers(sheet, plan);
    for finding in &plan.findings {
        let _ = match finding {
            Finding::Held(_) | Finding::Paused => Ok(()),
            Finding::Measuring => write!(said, "; measuring what it costs"),
            Finding::DrainTargetImpossible => {
                let (age, start) = (sheet.age, sheet.pool.cold_start);
                write!(said, "; too late for the target: the oldest waits for {age:.0} s, a start takes {start:.0} s")
            }
            Finding::DeadlineAtRisk { worker_seconds, earliest } => {
                let what =
                    if *worker_seconds > 0.0 { format!("{worker_seconds:.0} worker-s") } else { "some".to_owned() };
                match earliest - sheet.now {
                    left if left > 0.0 => {
                        write!(said, "; {what} cannot be done by their deadlines, the first in {left:.0} s")
                    }
                    _ => write!(said, "; {what} cannot be done by their deadlines, the first of which is over"),
                }
            }
            Finding::Limited(limit) => write!(said, "; limited by {}", name(*limit)),
            Finding::Stuck(stuck) => write!(said, "; {stuck} that were asked for do not come"),
            Finding::BackingOff { until } => {
                write!(said, "; the last ones failed, next try in {:.0} s", until - sheet.now)
            }
            Finding::ModelTooLarge => write!(said, "; a model needs more memory than there is here"),
        };
    }
    said
}

fn numbers(sheet: &Sheet<'_>, plan: &PoolPlan) -> String {
    let mut waits = Vec::new();
    if plan.work > 0.0 {
        waits.push(format!("{:.0} worker-s waiting", plan.work));
    }
    let (pieces, units) = sheet.unmeasured;
    if pieces > 0 {
        waits.push(format!("{pieces} pieces of {units:.0} units waiting whose cost is not known"));
    }
    if plan.arriving > 0.0 {
        waits.push(format!("{:.2} workers' work arriving", plan.arriving));
    }
    if waits.is_empty() {
        waits.push("nothing waits".to_owned());
    }
    let mut said = waits.join(", ");
    if sheet.undated > 0.0 {
        let _ = write!(said, ", drain within {:.0} s", sheet.pool.drain_within);
    }
    match sheet.first_deadline.map(|deadline| deadline - sheet.now) {
        Some(left) if left <= 0.0 => said.push_str(", first deadline is over"),
        Some(left) => _ = write!(said, ", first deadline in {left:.0} s"),
        None => {}
    }
    if plan.desired > plan.wanted {
        let _ = write!(said, ": {}, kept at {} for now", workers(plan.wanted), plan.desired);
    } else {
        let _ = write!(said, ": {}", workers(plan.wanted));
    }
    if plan.wanted > 0 && plan.wanted == sheet.pool.min_workers && sheet.needed() < plan.wanted {
        said.push_str(", the minimum");
    }
    said
}

fn workers(count: u32) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

fn name(limit: Limit) -> &'static str {
    match limit {
        Limit::MaxWorkers => "maxWorkers",
        Limit::Budget => "budgetPerHour",
        Limit::Partitions => "the queue's partitions",
        Limit::Items => "the segments that wait",
        Limit::Supply => "workers that do not come",
    }
}

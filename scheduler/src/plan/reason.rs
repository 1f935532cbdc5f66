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
            Finding::Measuring => write!(said, "; measuring what a frame costs"),
            Finding::DrainTargetImpossible => {
                let (age, start) = (sheet.age, sheet.pool.cold_start);
                write!(said, "; the target cannot be met: it waits for {age:.0} s, a start takes {start:.0} s")
            }
            Finding::DeadlineAtRisk { worker_seconds, earliest } => {
                let left = earliest - sheet.now;
                write!(
                    said,
                    "; {worker_seconds:.0} worker-s cannot be done by their deadlines, the first in {left:.0} s"
                )
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
    let mut said = match (plan.work > 0.0, plan.arriving > 0.0) {
        (false, false) => "nothing waits".to_owned(),
        (true, false) => format!("{:.0} worker-s waiting", plan.work),
        (false, true) => format!("{:.2} workers' work arriving", plan.arriving),
        (true, true) => format!("{:.0} worker-s waiting, {:.2} workers' work arriving", plan.work, plan.arriving),
    };
    if sheet.undated > 0.0 {
        let _ = write!(said, ", drain within {:.0} s", sheet.pool.drain_within);
    }
    if let Some(deadline) = sheet.first_deadline {
        let _ = write!(said, ", first deadline in {:.0} s", deadline - sheet.now);
    }
    if plan.desired > plan.wanted {
        let _ = write!(said, ": {}, kept at {} for now", workers(plan.wanted), plan.desired);
    } else {
        let _ = write!(said, ": {}", workers(plan.wanted));
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

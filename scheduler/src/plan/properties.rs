//! What holds of every plan.

use super::tests::{self, NOW, model, normal, pool, ready, work};
use super::*;
use crate::demand::Arriving;
use proptest::prelude::*;

fn any_pool() -> impl Strategy<Value = Pool> {
    let limits = (0_u32..4, 0_u32..60, 1_u32..4, prop::option::of(1.0..40.0_f64));
    let money = (0.0..4.0_f64, any::<bool>(), any::<bool>());
    let times = (10.0..2000.0_f64, 0.0..600.0_f64, 0.0..900.0_f64);
    let cost = prop::option::weighted(0.9, 0.001..0.1_f64);
    let serves = (1_u32..20, prop::option::of(1_u32..20));
    let serves = serves.prop_map(|(of_normal, of_low)| {
        [(normal(), Some(of_normal)), (low(), of_low)]
            .into_iter()
            .filter_map(|(lane, weight)| Some((lane, weight?)))
            .collect()
    });
    (limits, money, times, cost, serves).prop_map(
        |((min, more, slots, budget), (price, is_spot, leaves), times, cost, serves)| Pool {
            serves,
            min_workers: min,
            max_workers: min + more,
            slots,
            budget_per_hour: budget,
            is_spot,
            leaves_by_itself: leaves,
            drain_within: times.0,
            stabilization: times.1,
            cold_start: times.2,
            cost: cost.map(|cost| (model(), cost)).into_iter().collect(),
            ..pool("any", price)
        },
    )
}

fn any_pools() -> impl Strategy<Value = Vec<Pool>> {
    let named = |pools: Vec<Pool>| {
        pools.into_iter().enumerate().map(|(n, pool)| Pool { name: format!("pool-{n}"), ..pool }).collect()
    };
    prop::collection::vec(any_pool(), 1..5).prop_map(named)
}

fn any_work() -> impl Strategy<Value = Work> {
    let deadline = prop::option::weighted(0.3, -500.0..9000.0_f64);
    (0.0..50_000.0_f64, 0.0..3000.0_f64, deadline).prop_map(|(worker_seconds, age, deadline)| Work {
        since: NOW - age,
        deadline: deadline.map(|left| NOW + left),
        ..work(worker_seconds)
    })
}

/// Work of two queues, and of a model in the second that pools need not know.
fn any_demand() -> impl Strategy<Value = Demand> {
    let model = prop::sample::select(vec![model(), Model::new("unheard-of")]);
    (one_lane(), prop::collection::vec(any_work(), 0..4), 1_u32..200, model).prop_map(
        |(mut demand, work, partitions, model)| {
            let mut waiting: Vec<Work> = work.into_iter().map(|work| Work { model: model.clone(), ..work }).collect();
            waiting.sort_by(|a, b| a.since.total_cmp(&b.since));
            demand.lanes.insert(low(), LaneDemand { waiting, partitions, ..LaneDemand::default() });
            demand
        },
    )
}

fn low() -> Lane {
    Lane::Detect("low".to_owned())
}

fn one_lane() -> impl Strategy<Value = Demand> {
    (prop::collection::vec(any_work(), 0..8), 0.0..3000.0_f64, 1_u32..200).prop_map(
        |(mut waiting, rate, partitions)| {
            waiting.sort_by(|a, b| a.since.total_cmp(&b.since));
            let arriving = vec![Arriving { model: model(), units_per_second: rate }];
            let lane = LaneDemand { unknown: None, waiting, arriving, partitions };
            Demand { lanes: BTreeMap::from([(normal(), lane)]) }
        },
    )
}

fn any_observed() -> impl Strategy<Value = Observed> {
    (0_u32..30, 0_u32..30, prop::option::weighted(0.1, 1_u32..9), prop::option::weighted(0.1, -90.0..90.0_f64))
        .prop_map(|(ready, coming, stuck, not_before)| Observed {
            ready,
            coming,
            coming_for: f64::from(coming) * 20.0,
            stuck: stuck.unwrap_or(0),
            not_before: not_before.map(|left| NOW + left),
            wanted_before: vec![(NOW - 100.0, ready / 2)],
            unknown: None,
        })
}

fn total(plans: &[PoolPlan]) -> u32 {
    plans.iter().map(|plan| plan.wanted).sum()
}

proptest! {
    #[test]
    fn limits_are_never_passed(
        pools in any_pools(),
        demand in any_demand(),
        seen in prop::collection::vec(any_observed(), 4),
    ) {
        for (plan, (pool, seen)) in plan(&pools, &demand, &seen[..pools.len()], NOW).iter().zip(pools.iter().zip(&seen)) {
            prop_assert!(plan.wanted <= pool.max_workers);
            prop_assert!(seen.there() + plan.create <= pool.max_workers.max(seen.there()));
            if let Some(budget) = pool.budget_per_hour.filter(|_| plan.create > 0) {
                prop_assert!(f64::from(seen.there() + plan.create) * pool.price_per_hour <= budget + 1e-6);
            }
            prop_assert!(plan.surplus == 0 || plan.create == 0);
            prop_assert!(plan.surplus <= seen.asked_for());
            prop_assert!(plan.work.is_finite() && plan.arriving.is_finite() && !plan.reason.is_empty());
            let can_start = seen.stuck == 0 && seen.not_before.is_none_or(|time| time <= NOW);
            prop_assert!(can_start || plan.create == 0);
        }
    }

    #[test]
    fn nothing_shrinks_or_grows_on_what_is_not_known(
        pools in any_pools(),
        mut demand in any_demand(),
        seen in prop::collection::vec(any_observed(), 4),
    ) {
        demand.lanes.get_mut(&normal()).unwrap().unknown = Some("silence".to_owned());
        for (plan, seen) in plan(&pools, &demand, &seen[..pools.len()], NOW).iter().zip(&seen) {
            prop_assert_eq!((plan.create, plan.surplus, plan.desired), (0, 0, seen.asked_for()));
        }
    }

    #[test]
    fn more_work_never_needs_fewer_workers(
        pool in any_pool(),
        mut demand in any_demand(),
        seen in any_observed(),
        more in 0.0..50_000.0_f64,
    ) {
        // Nobody is bought for a deadline that what is served before makes impossible.
        demand.lanes.get_mut(&low()).unwrap().waiting.iter_mut().for_each(|work| work.deadline = None);
        let (pools, seen) = ([pool], [seen]);
        let mut larger = demand.clone();
        larger.lanes.get_mut(&normal()).unwrap().waiting.push(work(more));
        let (less, more) = (plan(&pools, &demand, &seen, NOW), plan(&pools, &larger, &seen, NOW));
        prop_assert!(total(&less) <= total(&more), "{} and {}", less[0].reason, more[0].reason);
    }

    /// What is planned is done, and then nothing more is asked for.
    #[test]
    fn no_second_worker_is_asked_for_while_the_first_comes(
        pools in any_pools(),
        mut demand in any_demand(),
        seen in prop::collection::vec(any_observed(), 4),
    ) {
        if pools.len() > 1 {
            // Workers that were bought may be cheaper than those that had the work before, and then give way to what is urgent.
            demand.lanes.remove(&low());
            demand.lanes.values_mut().flat_map(|lane| &mut lane.waiting).for_each(|work| work.deadline = None);
        }
        let mut seen: Vec<Observed> = seen[..pools.len()].to_vec();
        for (pool, seen) in pools.iter().zip(&mut seen) {
            seen.coming_for = seen.coming_for.min(f64::from(seen.coming) * pool.cold_start);
        }
        for (plan, seen) in plan(&pools, &demand, &seen, NOW).iter().zip(&mut seen) {
            seen.coming += plan.create;
        }
        for plan in plan(&pools, &demand, &seen, NOW) {
            prop_assert_eq!(plan.create, 0, "{}", plan.reason);
        }
    }

    /// While a node boots, the work grows older and nothing else happens.
    #[test]
    fn nothing_more_is_asked_for_while_what_was_asked_for_starts(worker_seconds in 1.0..20_000.0_f64, start in 1.0..300.0_f64) {
        let pool = Pool { cold_start: start, ..pool("a", 1.0) };
        let demand = demand_of(worker_seconds);
        let coming = plan(std::slice::from_ref(&pool), &demand, &[ready(0)], NOW)[0].create;
        for tenth in 0..=10 {
            let after = start * f64::from(tenth) / 10.0;
            let seen = Observed { coming, coming_for: f64::from(coming) * after, ..Observed::default() };
            let later = plan(std::slice::from_ref(&pool), &demand, &[seen], NOW + after);
            prop_assert_eq!(later[0].create, 0, "after {} of {} s: {}", after, start, &later[0].reason);
        }
    }

    /// A pool beside another does not make the fleet buy what one alone would not.
    #[test]
    fn two_pools_on_one_queue_never_both_buy_the_same_work(worker_seconds in 1.0..50_000.0_f64, price in 0.5..4.0_f64) {
        let demand = demand_of(worker_seconds);
        let alone = plan(&[pool("a", 1.0)], &demand, &[ready(0)], NOW);
        let both = plan(&[pool("a", 1.0), pool("b", price)], &demand, &[ready(0), ready(0)], NOW);
        prop_assert_eq!(total(&alone), total(&both));
        let work: f64 = both.iter().map(|plan| plan.work).sum();
        prop_assert!((work - alone[0].work).abs() < 1e-6);
    }

    /// Work that comes as fast as it is done neither calls nor dismisses workers.
    #[test]
    fn steady_work_keeps_a_steady_fleet(rate in 100.0..5000.0_f64, waited in 0.0..150.0_f64, leaves in any::<bool>()) {
        let pool = Pool { leaves_by_itself: leaves, ..pool("a", 1.0) };
        let busy = rate * 0.01;
        let mut demand = tests::demand(vec![Work { since: NOW - waited, ..work(busy * waited) }]);
        let lane = demand.lanes.get_mut(&normal()).unwrap();
        lane.arriving = vec![Arriving { model: model(), units_per_second: rate }];
        let there = busy.ceil() as u32;
        let plan = &plan(std::slice::from_ref(&pool), &demand, &[ready(there)], NOW)[0];
        prop_assert_eq!(plan.create, 0, "{}", plan.reason);
        prop_assert!(leaves || plan.surplus == 0, "{}", plan.reason);
    }
}

fn demand_of(worker_seconds: f64) -> Demand {
    tests::demand(vec![work(worker_seconds)])
}

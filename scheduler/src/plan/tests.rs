use super::*;
use crate::demand::Arriving;

pub(super) fn normal() -> Lane {
    Lane::Detect("normal".to_owned())
}

pub(super) fn model() -> Model {
    Model::new("m")
}

/// A pool of GPUs that takes a hundredth of a second for a frame and a minute to start.
pub(super) fn pool(name: &str, price: f64) -> Pool {
    Pool {
        name: name.to_owned(),
        serves: BTreeMap::from([(normal(), 1)]),
        min_workers: 0,
        max_workers: 100,
        slots: 2,
        price_per_hour: price,
        budget_per_hour: None,
        is_spot: false,
        leaves_by_itself: true,
        drain_within: 600.0,
        stabilization: 300.0,
        cold_start: 60.0,
        paused: false,
        memory: None,
        cost: BTreeMap::from([(model(), 0.01)]),
    }
}

/// So many worker-seconds of the pools above, in pieces of ten, that came now. Of ten minutes a tenth is kept, and twenty
/// seconds for the last piece: 520 are left, and 460 for workers that take a minute to start.
pub(super) fn work(worker_seconds: f64) -> Work {
    Work {
        model: model(),
        units: worker_seconds * 100.0,
        items: (worker_seconds / 10.0).ceil() as u32,
        since: NOW,
        deadline: None,
        memory: None,
    }
}

pub(super) fn demand(waiting: Vec<Work>) -> Demand {
    let lane = LaneDemand { unknown: None, waiting, arriving: Vec::new(), partitions: 96 };
    Demand { lanes: BTreeMap::from([(normal(), lane)]) }
}

pub(super) fn ready(workers: u32) -> Observed {
    Observed { ready: workers, ..Observed::default() }
}

pub(super) const NOW: f64 = 1_000_000.0;

fn plan_one(pool: &Pool, demand: &Demand, seen: &Observed) -> PoolPlan {
    plan(std::slice::from_ref(pool), demand, std::slice::from_ref(seen), NOW).remove(0)
}

#[test]
fn what_waits_is_drained_in_the_time_that_a_start_leaves() {
    let answer = plan_one(&pool("a", 1.0), &demand(vec![work(5400.0)]), &ready(0));
    assert_eq!((answer.wanted, answer.create, answer.surplus), (12, 12, 0));
    assert_eq!(answer.reason, "5400 worker-s waiting, drain within 600 s: 12 workers");
}

#[test]
fn workers_that_are_ready_work_while_others_start() {
    // Ten do 5200 in the 520 s, and another one that starts now 460.
    let created = |waiting| plan_one(&pool("a", 1.0), &demand(vec![work(waiting)]), &ready(10)).create;
    assert_eq!([created(5200.0), created(5650.0), created(5670.0)], [0, 1, 2]);
}

#[test]
fn workers_that_come_are_not_asked_for_twice() {
    let seen = Observed { ready: 2, coming: 7, ..Observed::default() };
    let answer = plan_one(&pool("a", 1.0), &demand(vec![work(4600.0)]), &seen);
    assert_eq!((answer.wanted, answer.create), (10, 1));
}

#[test]
fn the_time_for_which_workers_have_been_coming_counts() {
    for waited in [0.0, 20.0, 40.0, 60.0, 80.0] {
        let old = Work { since: NOW - waited, ..work(12.0 * 460.0) };
        let seen = Observed { coming: 12, coming_for: 12.0 * waited.min(60.0), ..Observed::default() };
        let answer = plan_one(&pool("a", 1.0), &demand(vec![old]), &seen);
        assert_eq!(answer.create, u32::from(waited > 60.0), "asked for {waited} s ago: {}", answer.reason);
    }
}

#[test]
fn no_work_needs_no_workers_and_minimum_stays() {
    let nothing = demand(Vec::new());
    let answer = plan_one(&pool("a", 1.0), &nothing, &ready(3));
    assert_eq!((answer.wanted, answer.create, answer.surplus), (0, 0, 3));
    assert_eq!(answer.reason, "nothing waits: 0 workers");
    let answer = plan_one(&Pool { min_workers: 2, ..pool("a", 1.0) }, &nothing, &ready(0));
    assert_eq!((answer.wanted, answer.create), (2, 2));
    assert_eq!(answer.reason, "nothing waits: 2 workers, the minimum");
}

#[test]
fn a_pool_shrinks_to_the_most_that_were_wanted_of_late() {
    let seen = Observed { wanted_before: vec![(NOW - 301.0, 9), (NOW - 299.0, 4), (NOW, 1)], ..ready(9) };
    let answer = plan_one(&pool("a", 1.0), &demand(Vec::new()), &seen);
    assert_eq!((answer.wanted, answer.desired, answer.surplus, answer.create), (0, 4, 5, 0));
    assert!(answer.reason.contains("kept at 4"), "{}", answer.reason);
}

#[test]
fn a_worker_is_not_taken_away_from_work_that_it_does_before_another_could_come() {
    let answer = plan_one(&pool("a", 1.0), &demand(vec![work(30.0)]), &ready(1));
    assert_eq!((answer.wanted, answer.surplus), (1, 0));
}

#[test]
fn what_is_not_known_changes_nothing() {
    let mut unknown = demand(vec![work(5400.0)]);
    unknown.lanes.get_mut(&normal()).unwrap().unknown = Some("no answer for 40 s".to_owned());
    let answer = plan_one(&pool("a", 1.0), &unknown, &ready(3));
    assert_eq!((answer.desired, answer.create, answer.surplus), (3, 0, 0));
    assert_eq!(answer.reason, "held at 3 workers: queue normal: no answer for 40 s");
    let never_asked = plan_one(&pool("a", 1.0), &Demand::default(), &ready(3));
    assert_eq!((never_asked.create, never_asked.surplus), (0, 0));
    let blind = Observed { unknown: Some("the API server is silent".to_owned()), ..ready(3) };
    let answer = plan_one(&pool("a", 1.0), &demand(Vec::new()), &blind);
    assert_eq!((answer.create, answer.surplus), (0, 0));
}

#[test]
fn an_unknown_cost_is_measured_by_one_worker() {
    let new = Pool { cost: BTreeMap::new(), ..pool("a", 1.0) };
    let answer = plan_one(&new, &demand(vec![work(5400.0)]), &ready(0));
    assert_eq!((answer.wanted, answer.create), (1, 1));
    assert_eq!(
        answer.reason,
        "540 pieces of 540000 units waiting whose cost is not known: 1 worker; measuring what it costs"
    );
    let over = Work { deadline: Some(NOW - 1.0), ..work(10.0) };
    let answer = plan_one(&new, &demand(vec![over]), &ready(0));
    assert!(
        answer.reason.ends_with("some cannot be done by their deadlines, the first of which is over"),
        "{answer:?}"
    );
    assert_eq!(plan_one(&new, &demand(vec![work(5400.0)]), &ready(1)).create, 0);
    // Where another pool knows it, one worker of a cheaper one finds out, and the rest goes to the one that knows.
    let pools = [new, pool("b", 2.0)];
    let answers = plan(&pools, &demand(vec![work(5400.0)]), &[ready(0), ready(0)], NOW);
    assert_eq!((answers[0].create, answers[1].create), (1, 11));
    assert!(answers[0].findings.contains(&Finding::Measuring) && !answers[1].findings.contains(&Finding::Measuring));
}

#[test]
fn a_model_that_nobody_had_yet_costs_no_less_than_the_cheapest_that_is_known() {
    let cost = BTreeMap::from([(Model::new("small"), 0.002), (Model::new("large"), 0.05)]);
    let new = Pool { cost, ..pool("a", 1.0) };
    let answer = plan_one(&new, &demand(vec![work(5400.0)]), &ready(0));
    assert_eq!((answer.create, answer.work.round()), (3, 1080.0), "a fifth of what it turns out to be");
    assert!(answer.findings.contains(&Finding::Measuring));
    // What it takes to plan a video says nothing of a frame.
    let planner = Pool { cost: BTreeMap::from([(Model::plan(), 3.0)]), ..pool("a", 1.0) };
    assert_eq!(plan_one(&planner, &demand(vec![work(5400.0)]), &ready(0)).create, 1);
}

#[test]
fn the_partitions_of_one_queue_do_not_limit_another() {
    let few = Lane::Detect("few".to_owned());
    let both = Pool { serves: BTreeMap::from([(few.clone(), 4), (normal(), 1)]), ..pool("a", 1.0) };
    let wanted = |waiting: Vec<Work>| {
        let mut demand = demand(waiting);
        let of_few = LaneDemand { waiting: vec![work(54_000.0)], partitions: 3, ..LaneDemand::default() };
        demand.lanes.insert(few.clone(), of_few);
        let answer = plan_one(&both, &demand, &ready(0));
        (answer.wanted, answer.findings.contains(&Finding::Limited(Limit::Partitions)))
    };
    assert_eq!(wanted(Vec::new()), (3, true));
    assert!(wanted(vec![work(460.0 * 20.0)]).0 >= 20);
}

#[test]
fn work_is_due_when_its_own_time_is_over() {
    let waiting = |first: f64| vec![Work { since: NOW - 400.0, ..work(first) }, work(2300.0)];
    let wanted = |first| plan_one(&pool("a", 1.0), &demand(waiting(first)), &ready(0)).wanted;
    // The old has 150 s after a start, the least that there is, and the new 460.
    assert_eq!([wanted(150.0), wanted(900.0), wanted(1200.0)], [6, 7, 8]);
}

#[test]
fn the_cheapest_pool_that_is_large_enough_is_taken_and_the_next_when_it_is_full() {
    let small = Pool { max_workers: 4, ..pool("small", 1.0) };
    let pools = [pool("dear", 3.0), small.clone(), pool("cheap", 2.0)];
    let seen = [ready(0), ready(0), ready(0)];
    let created =
        |waiting| plan(&pools, &demand(waiting), &seen, NOW).iter().map(|plan| plan.create).collect::<Vec<_>>();
    assert_eq!(created(vec![work(460.0 * 3.0)]), [0, 3, 0]);
    assert_eq!(created(vec![work(460.0 * 9.0)]), [0, 4, 5]);
    // Twice as slow is dearer than its price says.
    let slow = Pool { cost: BTreeMap::from([(model(), 0.04)]), ..small };
    let answers = plan(&[pool("cheap", 2.0), slow], &demand(vec![work(460.0)]), &seen[..2], NOW);
    assert_eq!((answers[0].create, answers[1].create), (1, 0));
}

#[test]
fn a_model_goes_where_it_fits() {
    let small = Pool { memory: Some(8 << 30), ..pool("small", 1.0) };
    let large = Pool { memory: Some(80 << 30), ..pool("large", 4.0) };
    let heavy = Work { memory: Some(20 << 30), ..work(460.0) };
    let answers = plan(&[small, large], &demand(vec![heavy]), &[ready(0), ready(0)], NOW);
    assert_eq!((answers[0].create, answers[1].create), (0, 1));
    assert!(answers[0].findings.contains(&Finding::ModelTooLarge));
}

#[test]
fn workers_of_any_pool_that_are_there_are_used_before_others_are_bought() {
    let pools = [pool("cheap", 1.0), pool("dear", 3.0)];
    let answers = plan(&pools, &demand(vec![work(520.0 * 5.0)]), &[ready(0), ready(5)], NOW);
    assert_eq!((answers[0].create, answers[1].create, answers[1].wanted), (0, 0, 5));
}

#[test]
fn spot_is_taken_while_it_can_be_lost_once_and_on_demand_when_not() {
    let spot = Pool { is_spot: true, cold_start: 300.0, ..pool("spot", 1.0) };
    let steady = Pool { cold_start: 300.0, ..pool("on-demand", 3.0) };
    let created = |deadline| {
        let due = Work { deadline: Some(NOW + deadline), ..work(900.0) };
        let answers = plan(&[spot.clone(), steady.clone()], &demand(vec![due]), &[ready(0), ready(0)], NOW);
        (answers[0].create, answers[1].create)
    };
    assert_eq!(created(3600.0), (1, 0));
    assert_eq!(created(500.0), (0, 7), "430 s are left, and 130 after a start");
}

#[test]
fn a_deadline_needs_as_many_workers_as_do_all_that_is_served_before_it() {
    let relaxed = Pool { drain_within: 36_000.0, ..pool("a", 1.0) };
    let due = Work { deadline: Some(NOW + 600.0), ..work(2300.0) };
    let answer = plan_one(&relaxed, &demand(vec![work(2300.0), due]), &ready(0));
    assert_eq!(answer.wanted, 10);
    assert!(!answer.findings.iter().any(|finding| matches!(finding, Finding::DeadlineAtRisk { .. })));
}

#[test]
fn work_with_a_late_deadline_need_not_be_done_within_the_usual_time() {
    let archive = Work { deadline: Some(NOW + 36_000.0), ..work(50_000.0) };
    let answer = plan_one(&pool("a", 1.0), &demand(vec![archive]), &ready(0));
    assert_eq!(answer.reason, "50000 worker-s waiting, first deadline in 36000 s: 2 workers");
}

#[test]
fn what_a_lane_of_less_weight_gets_meanwhile_is_counted() {
    let low = Lane::Detect("low".to_owned());
    let both = Pool { serves: BTreeMap::from([(normal(), 4), (low.clone(), 1)]), ..pool("a", 1.0) };
    let wanted = |archived: f64| {
        let mut demand = demand(vec![work(4600.0)]);
        let archive = Work { deadline: Some(NOW + 360_000.0), ..work(archived) };
        let of_low = LaneDemand { waiting: vec![archive], partitions: 96, ..LaneDemand::default() };
        demand.lanes.insert(low.clone(), of_low);
        plan_one(&both, &demand, &ready(0)).wanted
    };
    assert_eq!([wanted(0.0), wanted(460.0), wanted(50_000.0)], [10, 11, 15]);
}

#[test]
fn no_worker_is_bought_for_a_deadline_that_none_can_meet() {
    let relaxed = Pool { drain_within: 36_000.0, ..pool("a", 1.0) };
    for deadline in [59.0, 0.0, -100.0] {
        let due = Work { deadline: Some(NOW + deadline), ..work(3000.0) };
        let answer = plan_one(&relaxed, &demand(vec![due]), &ready(0));
        assert_eq!(answer.wanted, 1, "as without any deadline");
        let earliest = NOW + deadline;
        assert!(answer.findings.contains(&Finding::DeadlineAtRisk { worker_seconds: 3000.0, earliest }));
    }
}

#[test]
fn a_target_that_a_start_does_not_leave_time_for_is_said_to_be_impossible() {
    let hasty = Pool { drain_within: 40.0, ..pool("a", 1.0) };
    let answer = plan_one(&hasty, &demand(vec![work(100.0)]), &ready(0));
    assert_eq!(answer.wanted, 5, "ten seconds, and as many as there are pieces for: 10 pieces, 2 at once");
    assert!(answer.findings.contains(&Finding::DrainTargetImpossible));
    // Of ten minutes half of one is left, which is enough for workers that are there.
    let old = demand(vec![Work { since: NOW - 570.0, ..work(100.0) }]);
    let is_impossible =
        |workers| plan_one(&pool("a", 1.0), &old, &ready(workers)).findings.contains(&Finding::DrainTargetImpossible);
    assert_eq!([is_impossible(3), is_impossible(4)], [true, false]);
}

#[test]
fn limits_are_kept_and_named() {
    let limited = |pool: Pool, demand: &Demand| {
        let answer = plan_one(&pool, demand, &ready(0));
        let by = answer.findings.iter().find_map(|finding| match finding {
            Finding::Limited(limit) => Some(*limit),
            _ => None,
        });
        (answer.wanted, by)
    };
    let much = demand(vec![work(540_000.0)]);
    assert_eq!(limited(pool("a", 1.0), &much), (96, Some(Limit::Partitions)));
    assert_eq!(limited(Pool { max_workers: 7, ..pool("a", 1.0) }, &much), (7, Some(Limit::MaxWorkers)));
    assert_eq!(limited(Pool { budget_per_hour: Some(6.0), ..pool("a", 2.0) }, &much), (3, Some(Limit::Budget)));
    let few = Work { items: 5, ..work(54_000.0) };
    assert_eq!(limited(pool("a", 1.0), &demand(vec![few])), (3, Some(Limit::Items)));
}

#[test]
fn what_is_paused_stays_as_it_is() {
    let paused = Pool { paused: true, ..pool("a", 1.0) };
    let answers =
        plan(&[paused, pool("b", 9.0)], &demand(vec![work(2.0 * 520.0 + 10.0 * 460.0)]), &[ready(2), ready(0)], NOW);
    assert_eq!((answers[0].desired, answers[0].create, answers[0].surplus), (2, 0, 0));
    assert_eq!(answers[1].create, 10, "what the two that are there do is not bought again");
}

#[test]
fn work_goes_elsewhere_when_workers_do_not_come_or_fail() {
    let pools = [pool("cheap", 1.0), pool("dear", 3.0)];
    let stuck = Observed { stuck: 10, ..Observed::default() };
    let answers = plan(&pools, &demand(vec![work(5400.0)]), &[stuck, ready(0)], NOW);
    assert_eq!((answers[0].create, answers[1].create), (0, 12));
    assert!(answers[0].findings.contains(&Finding::Stuck(10)));
    let failing = Observed { not_before: Some(NOW + 60.0), ..Observed::default() };
    let answers = plan(&pools, &demand(vec![work(5400.0)]), &[failing, ready(0)], NOW);
    assert_eq!((answers[0].create, answers[1].create), (0, 12));
    // With nobody else, it stays where it is, and the status tells of it.
    let stuck = Observed { stuck: 10, ..Observed::default() };
    let alone = plan_one(&pool("alone", 1.0), &demand(vec![work(5400.0)]), &stuck);
    assert_eq!((alone.create, alone.work), (0, 5400.0));
    let paused = plan_one(&Pool { paused: true, ..pool("a", 1.0) }, &demand(vec![work(5400.0)]), &ready(0));
    assert_eq!((paused.create, paused.work), (0, 5400.0));
}

#[test]
fn work_that_comes_all_the_time_keeps_workers_of_a_deployment() {
    let steady = Pool { leaves_by_itself: false, ..pool("a", 1.0) };
    let mut coming = demand(Vec::new());
    let lane = coming.lanes.get_mut(&normal()).unwrap();
    lane.arriving = vec![Arriving { model: model(), units_per_second: 250.0 }];
    assert_eq!(plan_one(&steady, &coming, &ready(0)).wanted, 3);
    assert_eq!(plan_one(&pool("a", 1.0), &coming, &ready(0)).wanted, 0, "Jobs come when something waits");
}

#[test]
fn frames_that_are_not_counted_are_some() {
    let uncounted = Work { units: 0.0, ..work(10.0) };
    assert_eq!(plan_one(&pool("a", 1.0), &demand(vec![uncounted]), &ready(0)).wanted, 1);
}

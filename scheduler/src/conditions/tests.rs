use super::*;

const NOW: f64 = 1_800_000_000.0;

fn planned(findings: Vec<Finding>) -> PoolPlan {
    PoolPlan {
        wanted: 0,
        desired: 0,
        create: 0,
        surplus: 0,
        work: 0.0,
        arriving: 0.0,
        findings,
        reason: "as said".to_owned(),
    }
}

fn said(plan: &PoolPlan, state: &State, kafka: Option<&Cause>, refused: Option<&Cause>) -> Vec<Condition> {
    of(&View { generation: Some(3), plan, state, kafka, refused, now: NOW }, &[])
}

/// Status and reason of a condition.
fn read<'a>(conditions: &'a [Condition], type_: &str) -> (&'a str, &'a str) {
    let found = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (&found.status, &found.reason)
}

fn stuck(trouble: Option<Trouble>) -> State {
    State { stuck: 2, trouble, ..State::default() }
}

#[test]
fn workers_that_do_not_come_are_said_with_their_cause() {
    let plan = planned(vec![Finding::Stuck(2)]);
    let no_nodes = || Trouble::Unschedulable("0/3 nodes are available".to_owned());
    let waiting = State { coming: 2, trouble: Some(no_nodes()), ..State::default() };
    for (state, reason) in [
        (stuck(Some(no_nodes())), "NodesDoNotCome"),
        (waiting, "Unschedulable"),
        (stuck(None), "WorkersDoNotCome"),
        (stuck(Some(Trouble::Refused("exceeded quota: gpus".to_owned()))), "QuotaExceeded"),
        (stuck(Some(Trouble::Refused("denied by a webhook".to_owned()))), "PodsRefused"),
    ] {
        let conditions = said(&plan, &state, None, None);
        assert_eq!(read(&conditions, "CapacityAvailable"), ("False", reason));
        assert_eq!(read(&conditions, "Ready"), ("False", reason), "with no worker at all");
        let with_others = said(&plan, &State { ready: 1, ..state }, None, None);
        assert_eq!(read(&with_others, "Ready").0, "True");
    }
}

#[test]
fn the_gravest_cause_is_the_state_of_the_pool() {
    let mut failing = stuck(None);
    failing.failures.in_a_row = 2;
    let cannot_start = Trouble::CannotStart { reason: "ErrImagePull".to_owned(), message: "no such image".to_owned() };
    let (kafka, template) = (Cause::new("BrokerUnreachable", "silent"), Cause::new("TemplateInvalid", "no image"));
    let held = planned(vec![Finding::Held("silent".to_owned())]);
    let reason =
        |plan: &PoolPlan, state: &State, kafka, refused| read(&said(plan, state, kafka, refused), "Ready").1.to_owned();
    assert_eq!(reason(&held, &failing, Some(&kafka), Some(&template)), "TemplateInvalid");
    assert_eq!(reason(&held, &failing, Some(&kafka), None), "BrokerUnreachable");
    assert_eq!(reason(&held, &failing, None, None), "Held");
    assert_eq!(reason(&planned(vec![]), &failing, None, None), "WorkersFail");
    assert_eq!(reason(&planned(vec![]), &stuck(Some(cannot_start)), None, None), "ErrImagePull");
    assert_eq!(reason(&planned(vec![Finding::ModelTooLarge]), &State::default(), None, None), "ModelTooLarge");
    assert_eq!(reason(&planned(vec![Finding::Paused]), &failing, None, None), "Paused");
}

#[test]
fn a_pool_that_is_well_says_what_it_does() {
    let reason = |findings, create, state: State| {
        let conditions = said(&PoolPlan { create, ..planned(findings) }, &state, None, None);
        let (status, reason) = read(&conditions, "Ready");
        assert_eq!(status, "True");
        reason.to_owned()
    };
    assert_eq!(reason(vec![Finding::Measuring], 1, State::default()), "Measuring");
    assert_eq!(reason(vec![], 1, State::default()), "Starting");
    assert_eq!(reason(vec![], 0, State { coming: 1, ready: 4, ..State::default() }), "Starting");
    assert_eq!(reason(vec![], 0, State { ready: 4, ..State::default() }), "Working");
    assert_eq!(reason(vec![], 0, State::default()), "Idle");
}

#[test]
fn targets_that_are_missed_are_said() {
    let late = Finding::DeadlineAtRisk { worker_seconds: 90.0, earliest: NOW + 60.0 };
    let conditions = said(&planned(vec![late, Finding::DrainTargetImpossible]), &State::default(), None, None);
    assert_eq!(read(&conditions, "DeadlineAtRisk"), ("True", "TooLate"));
    assert_eq!(read(&conditions, "DrainTargetImpossible"), ("True", "WaitedTooLong"));
    for (limit, expected) in [
        (Limit::MaxWorkers, ("True", "Limited")),
        (Limit::Budget, ("True", "Limited")),
        (Limit::Items, ("False", "AsExpected")),
    ] {
        let conditions = said(&planned(vec![Finding::Limited(limit)]), &State::default(), None, None);
        assert_eq!(read(&conditions, "DrainTargetImpossible"), expected, "{limit:?}");
    }
}

#[test]
fn a_condition_keeps_the_time_at_which_it_last_changed() {
    let (plan, state) = (planned(vec![]), State::default());
    let view = |now| View { generation: Some(3), plan: &plan, state: &state, kafka: None, refused: None, now };
    let first = of(&view(NOW), &[]);
    let second = of(&view(NOW + 60.0), &first);
    assert!(first.iter().zip(&second).all(|(a, b)| a.last_transition_time == b.last_transition_time));
    let silent = Cause::new("BrokerUnreachable", "silent");
    let third = of(&View { kafka: Some(&silent), ..view(NOW + 90.0) }, &second);
    let changed: Vec<&str> = third
        .iter()
        .zip(&second)
        .filter(|(a, b)| a.last_transition_time != b.last_transition_time)
        .map(|(a, _)| a.type_.as_str())
        .collect();
    assert_eq!(changed, ["Ready", "KafkaAvailable"]);
}

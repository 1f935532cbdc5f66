use super::*;

fn burst() -> String {
    std::fs::read_to_string(folder().join("burst.toml")).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[test]
fn all_scenarios_that_come_with_it_are_valid() {
    let mut count = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        assert!(Scenario::read(&path).is_ok(), "{:?}", Scenario::read(&path).err());
        count += 1;
    }
    assert!(count >= 6);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        ("slots = 2", "slotz = 2", "line", "unknown field `slotz`"),
        ("slots = 2", "slots = 0", "pools[0].slots", "0 is not between 1 and 256"),
        ("slots = 2", "slots = -1", "line", "invalid value: integer `-1`"),
        ("slots = 2", "slots = 99999999999", "line", "invalid value: integer `99999999999`"),
        ("price_per_hour = 0.71", "price_per_hour = nan", "pools[0].price_per_hour", "NaN is not between"),
        ("price_per_hour = 0.71", "price_per_hour = inf", "pools[0].price_per_hour", "inf is not between"),
        (
            "seconds_per_frame = 0.010",
            "seconds_per_frame = -0.01",
            "models[0].seconds_per_frame",
            "-0.01 is not between",
        ),
        ("duration = \"7h\"", "duration = \"7\"", "line 2", "is no duration such as"),
        ("duration = \"7h\"", "duration = \"1000000days\"", "duration", "is not between 1m and 14days"),
        ("duration = \"7h\"", "duration = \"18446744073709551615s\"", "duration", "is not between 1m and 14days"),
        ("name = \"rtdetr-x\"", "name = \"yolo11m\"", "models", "two are called \"yolo11m\""),
        ("queue = \"normal\"", "queue = \"fast\"", "jobs[0].queue", "\"fast\" is none of the queues: normal"),
        ("count = 1500", "count = 1000000000", "bursts[0].count", "is not between 1 and 1000000"),
        ("count = 1500", "count = 1000000", "jobs", ""),
        ("tail = 1.0", "tail = 0.0", "jobs[0].length.tail", "0 is not between"),
        ("least = \"5s\", most = \"5m\"", "least = \"6m\", most = \"5m\"", "jobs[0].length.least", "is not between"),
        ("[planner]", "[planer]", "line", "unknown field `planer`"),
    ];
    for (right, wrong, place, what) in cases {
        let text = burst();
        assert!(text.contains(right), "{right}");
        let parsed = Scenario::parse(&text.replacen(right, wrong, 1));
        if what.is_empty() {
            assert!(parsed.is_ok(), "{wrong} is large and can be done: {parsed:?}");
            continue;
        }
        let problem = parsed.unwrap_err();
        assert!(problem.place.starts_with(place) && problem.what.contains(what), "{wrong}: {problem}");
    }
    let many = burst().replacen("per_hour = 0.0", "per_hour = 1000000.0", 1);
    assert!(Scenario::parse(&many).unwrap_err().what.contains("at most 5000000 can be simulated"));
    let none = burst().split("[[bursts]]").next().unwrap().to_owned();
    assert!(Scenario::parse(&none).unwrap_err().what.contains("no job would come"));
}

#[test]
fn errors_have_stable_codes_and_name_the_file() {
    let missing = Scenario::read(Path::new("/nowhere/a.toml")).unwrap_err();
    assert_eq!(missing.code(), "SCENARIO_NOT_FOUND");
    assert!(missing.to_string().starts_with("/nowhere/a.toml: cannot be read"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    for content in [&b"duration = "[..], b"\xff\xfe", b""] {
        std::fs::write(&path, content).unwrap();
        let wrong = Scenario::read(&path).unwrap_err();
        assert!(wrong.to_string().contains("b.toml"), "{wrong}");
    }
    let wrong = Scenario::read(&path).unwrap_err();
    assert_eq!(wrong.code(), "SCENARIO_INVALID");
}

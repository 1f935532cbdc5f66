use super::*;
use crate::layout;
use std::{fs, path::Path};

const SETTLE: Duration = Duration::from_millis(500);

/// A directory whose clocks stand still until they are told.
struct Told {
    directory: tempfile::TempDir,
    entries: Entries,
    now: Instant,
    wall: SystemTime,
}

impl Told {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, entries: Entries::default(), now: Instant::now(), wall: SystemTime::now() }
    }

    fn write(&self, name: &str, bytes: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn look(&mut self, after: Duration, renamed: &[&Path]) -> BTreeSet<String> {
        self.now += after;
        let renamed = renamed.iter().map(|path| (*path).to_owned()).collect();
        let found = layout::scan(self.directory.path(), None, &self.entries.known_weights()).unwrap();
        let look = Look { found, renamed: &renamed, now: self.now, wall: self.wall, settle: SETTLE };
        self.entries.absorb(look)
    }

    fn due(&self) -> Option<(String, Option<String>)> {
        self.entries.next_to_check(&Pins::default(), Trials::Every).map(|key| (key.name, key.version))
    }

    fn only(&self) -> &Entry {
        self.entries.iter().next().unwrap().1
    }

    fn refuse(&mut self, name: &str) {
        let key = Key { name: name.to_owned(), version: None };
        self.entries.get_mut(&key).unwrap().refuse(ModelError::Changed { model: name.to_owned() });
    }

    fn ready(&mut self, name: &str, version: Option<&str>) {
        let key = Key { name: name.to_owned(), version: version.map(str::to_owned) };
        self.entries.get_mut(&key).unwrap().accept(crate::fixtures::checked("v8.onnx"));
    }
}

/// Those of `x`.
fn pins(version: Option<&str>) -> Pins {
    let results = tempfile::tempdir().unwrap();
    let volume = framefleet_contract::volume::Volume::open(results.path()).unwrap();
    if let Some(version) = version {
        crate::pins::pin(&volume, "x", version).unwrap();
    }
    Pins::read(volume.root(), None)
}

fn version(version: &str) -> Key {
    Key { name: "x".to_owned(), version: Some(version.to_owned()) }
}

#[test]
fn a_file_counts_when_it_stood_still() {
    let mut told = Told::new();
    for n in 1..10 {
        told.write("x.onnx", &"x".repeat(n));
        told.look(SETTLE / 2, &[]);
        assert_eq!(told.due(), None);
    }
    told.look(SETTLE / 2, &[]);
    assert_eq!(told.due(), None);
    assert_eq!(told.entries.next_to_settle(SETTLE), Some(told.now + SETTLE / 2));
    told.look(SETTLE / 2, &[]);
    assert_eq!(told.due(), Some(("x".to_owned(), None)));
}

#[test]
fn a_file_that_is_old_counts_at_once() {
    let mut told = Told::new();
    told.write("x.onnx", "x");
    told.wall += CLOCKS_DIFFER + SETTLE;
    told.look(Duration::ZERO, &[]);
    assert!(told.due().is_some());
}

#[test]
fn what_is_told_to_wait_waits_however_old_it_is() {
    let mut told = Told::new();
    told.write("x/1/model.onnx", "x");
    told.wall += CLOCKS_DIFFER * 2;
    told.look(Duration::ZERO, &[]);
    let later = told.now + SETTLE * 10;
    let entry = told.entries.get_mut(&version("1")).unwrap();
    entry.wait(entry.fingerprint.clone(), later);
    told.look(SETTLE * 9, &[]);
    assert_eq!(told.due(), None);
    told.look(SETTLE, &[]);
    assert!(told.due().is_some());
}

#[test]
fn a_file_that_is_being_written_is_not_old_where_the_servers_clock_is_behind() {
    let mut told = Told::new();
    told.wall += CLOCKS_DIFFER / 2;
    for n in 1..10 {
        told.write("x.onnx", &"x".repeat(n));
        told.look(SETTLE / 2, &[]);
        assert_eq!(told.due(), None);
    }
    told.look(SETTLE, &[]);
    assert!(told.due().is_some());
}

#[test]
fn a_file_that_was_renamed_into_place_counts_at_once_as_it_is() {
    let mut told = Told::new();
    let path = told.write("x.onnx", "x");
    let version = told.write("deep/1/model.onnx", "x");
    told.look(Duration::ZERO, &[&path, version.parent().unwrap()]);
    assert_eq!(told.entries.iter().filter(|(_, entry)| entry.is_due()).count(), 2);
    told.write("x.onnx", "xy");
    told.look(Duration::ZERO, &[]);
    assert_eq!(told.due().unwrap().0, "deep");
}

#[test]
fn weights_beside_a_file_count_when_they_stood_still_too() {
    let mut told = Told::new();
    let path = told.write("x.onnx", "x");
    for n in 1..10 {
        told.write("weights", &"w".repeat(n));
        told.look(SETTLE, &[&path]);
        assert_eq!(told.due(), None);
    }
    assert_eq!(told.entries.next_to_settle(SETTLE), Some(told.now + SETTLE));
    told.look(SETTLE, &[]);
    assert!(told.due().is_some());
    told.ready("x", None);
    // It needs no weights, so these are not its own.
    told.write("weights", "others");
    told.look(SETTLE, &[]);
    assert_eq!((told.due(), &told.only().state), (None, &State::Ready));
}

#[test]
fn what_never_stands_still_holds_a_model_up_for_a_minute() {
    let mut told = Told::new();
    told.write("x.onnx", "x");
    let begin = told.now;
    for n in 1.. {
        told.write("log", &"l".repeat(n));
        told.look(SETTLE * 20, &[]);
        if told.due().is_some() {
            break;
        }
        assert!(told.now < begin + LONGEST_WAIT * 2);
    }
    assert!(told.now >= begin + LONGEST_WAIT);
    // If it is refused, the log may have been of its weights after all.
    told.refuse("x");
    told.write("log", "whole");
    told.look(SETTLE, &[]);
    assert_eq!(told.due(), None);
    told.look(SETTLE * 2, &[]);
    assert!(told.due().is_some());
}

#[test]
fn a_refused_model_is_tried_again_ever_more_seldom_when_something_beside_it_changes() {
    let mut told = Told::new();
    told.write("x.onnx", "x");
    told.look(Duration::ZERO, &[]);
    told.look(SETTLE, &[]);
    for n in 1..20 {
        assert!(told.due().is_some());
        told.refuse("x");
        told.write("log", &"l".repeat(n));
        told.look(SETTLE, &[]);
        assert!(matches!(told.only().state, State::Refused { .. }), "what is known of it stays known");
        let patience = SETTLE * (1 << n.min(7));
        assert_eq!(told.entries.next_to_settle(SETTLE), Some(told.now + patience));
        told.look(patience.saturating_sub(SETTLE / 2), &[]);
        assert_eq!(told.due(), None);
        told.look(SETTLE / 2, &[]);
    }
    // With another file it begins anew.
    told.refuse("x");
    told.write("x.onnx", "xy");
    told.look(SETTLE, &[]);
    told.look(SETTLE, &[]);
    assert!(told.due().is_some());
}

#[test]
fn a_file_that_is_gone_is_retired_when_it_stays_away() {
    let mut told = Told::new();
    let path = told.write("x.onnx", "x");
    told.look(Duration::ZERO, &[&path]);
    fs::remove_file(&path).unwrap();
    assert!(told.look(SETTLE, &[]).is_empty());
    assert_eq!(told.due(), None);
    told.write("x.onnx", "x");
    assert!(told.look(SETTLE / 2, &[]).is_empty());
    fs::remove_file(&path).unwrap();
    assert!(told.look(SETTLE, &[]).is_empty());
    assert_eq!(told.look(SETTLE, &[]).into_iter().collect::<Vec<_>>(), ["x"]);
    assert_eq!(told.entries.retired().len(), 1);
}

#[test]
fn the_newest_is_checked_first_or_the_pinned_one() {
    let mut told = Told::new();
    for name in ["x/9/model.onnx", "x/10/model.onnx", "a/1/model.onnx", "a/2/model.onnx"] {
        told.write(name, "x");
    }
    told.look(Duration::ZERO, &[]);
    told.look(SETTLE, &[]);
    assert_eq!(told.due(), Some(("a".to_owned(), Some("2".to_owned()))));
    assert_eq!(told.entries.next_to_check(&pins(Some("9")), Trials::Every), Some(version("9")));
    for newest in ["2", "1"] {
        told.ready("a", Some(newest));
    }
    assert_eq!(told.entries.next_to_check(&pins(None), Trials::Every), Some(version("10")));
}

#[test]
fn where_one_name_is_followed_only_what_would_serve_is_checked() {
    let mut told = Told::new();
    for name in ["x/9/model.onnx", "x/10/model.onnx", "x/11/model.onnx"] {
        told.write(name, "x");
    }
    told.look(Duration::ZERO, &[]);
    told.look(SETTLE, &[]);
    let next = |told: &Told, pinned, serves: Option<&str>| {
        let serves = serves.map(version);
        let next = told.entries.next_to_check(&pins(pinned), Trials::Needed { serves: serves.as_ref() });
        next.and_then(|key| key.version)
    };
    assert_eq!(next(&told, None, None).as_deref(), Some("11"));
    assert_eq!(next(&told, None, Some("11")).as_deref(), Some("11"));
    told.entries.get_mut(&version("11")).unwrap().refuse(ModelError::Changed { model: "x".to_owned() });
    assert_eq!(next(&told, None, None).as_deref(), Some("10"));
    assert_eq!(next(&told, None, Some("11")), None);
    told.ready("x", Some("10"));
    assert_eq!(next(&told, None, None), None);
    assert_eq!(next(&told, Some("9"), Some("10")).as_deref(), Some("9"));
    told.entries.get_mut(&version("9")).unwrap().refuse(ModelError::Changed { model: "x".to_owned() });
    assert_eq!(next(&told, Some("9"), None), None);
}

#[test]
fn the_newest_serves_or_the_pinned_one_and_no_other() {
    let mut told = Told::new();
    for name in ["x/8/model.onnx", "x/9/model.onnx", "x/10/model.onnx", "x/11/model.onnx"] {
        told.write(name, "x");
    }
    told.look(Duration::ZERO, &[]);
    told.ready("x", Some("9"));
    told.ready("x", Some("10"));
    told.entries.get_mut(&version("8")).unwrap().refuse(ModelError::Changed { model: "x".to_owned() });
    let nine = version("9");
    let serves = Some(&nine);
    let at = |version: &str| Held::At(version.to_owned());
    assert_eq!(told.entries.wanted("x", &Held::Nowhere, serves), Some(version("10")));
    assert_eq!(told.entries.wanted("x", &at("9"), None), Some(version("9")));
    // Refused, not ready yet and not there: what serves stays, and nothing else serves instead.
    for (held, why) in [(at("8"), Some("is refused: ")), (at("11"), None), (at("12"), Some("is not there"))] {
        assert_eq!(told.entries.wanted("x", &held, serves), None);
        assert_eq!(told.entries.wanted("x", &held, None), None);
        let error = told.entries.refusal("x", &held).map(|error| error.to_string());
        assert_eq!(error.is_some(), why.is_some(), "only what may come is waited for: {held:?}");
        for part in why.into_iter().chain(why.map(|_| "`framefleet models unpin x`")) {
            assert!(error.as_ref().unwrap().contains(part), "{error:?}");
        }
    }
    let unknown = Held::Unknown("the disk is away".to_owned());
    assert_eq!(told.entries.wanted("x", &unknown, None), None);
    assert!(told.entries.refusal("x", &unknown).unwrap().to_string().contains("the disk is away"));
    assert_eq!(told.entries.wanted("y", &Held::Nowhere, None), None);
    // The one that serves is being replaced: the older ones are no better.
    assert_eq!(told.entries.wanted("x", &Held::Nowhere, Some(&version("11"))), None);
}

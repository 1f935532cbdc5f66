use super::*;
use crate::{
    check::{Checked, ModelPlace},
    fixtures::{Grey, Recognise, graph},
    pins, store,
};
use framefleet_contract::error_code::ErrorCode;
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    sync::{
        Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

const SETTLE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_mins(2);

/// Recognises, and says what it looked at.
#[derive(Debug, Clone, Default)]
struct Noted {
    checked: Arc<Mutex<Vec<(ModelPlace, u64)>>>,
}

impl Check for Noted {
    fn check(&self, place: &ModelPlace, stop: &dyn Fn() -> bool) -> Result<Checked, ModelError> {
        let bytes = fs::metadata(&place.onnx).map_or(0, |metadata| metadata.len());
        self.checked.lock().unwrap().push((place.clone(), bytes));
        Recognise.check(place, stop)
    }
}

impl Noted {
    fn count(&self) -> usize {
        self.checked.lock().unwrap().len()
    }
}

/// Says that it began, and goes on when it is told to, with what it is told.
struct Gated {
    began: SyncSender<()>,
    go: Receiver<Option<ModelError>>,
}

impl Check for Gated {
    fn check(&self, place: &ModelPlace, stop: &dyn Fn() -> bool) -> Result<Checked, ModelError> {
        let checked = Recognise.check(place, stop);
        // A test that fails drops the directory, which waits for this.
        let told = self.began.try_send(()).ok().and_then(|()| self.go.recv_timeout(DEADLINE).ok());
        told.flatten().map_or(checked, Err)
    }
}

/// A model directory in a folder of its own.
struct Dropped {
    folder: tempfile::TempDir,
    noted: Noted,
}

impl Dropped {
    fn new() -> Self {
        let dropped = Self { folder: tempfile::tempdir().unwrap(), noted: Noted::default() };
        fs::create_dir(dropped.path("")).unwrap();
        dropped
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("models").join(name)
    }

    /// As `cp` does it.
    fn copy(&self, from: &str, name: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), fs::read(graph(from)).unwrap()).unwrap();
    }

    /// As it should be done.
    fn rename(&self, from: &str, name: &str) {
        self.copy(from, ".part");
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::rename(self.path(".part"), self.path(name)).unwrap();
    }

    fn follow(&self) -> Follow {
        Follow { settle: SETTLE, poll: Duration::from_millis(20), ..Follow::new(self.path("")) }
    }

    fn start(&self) -> ModelDirectory {
        start(self.follow(), self.noted.clone())
    }
}

fn start(follow: Follow, checker: impl Check + 'static) -> ModelDirectory {
    let runtime = Runtime::load().expect("./dev setup installs ONNX Runtime");
    ModelDirectory::start(follow, checker, &runtime).unwrap()
}

/// Waits until what is made known is so.
#[track_caller]
fn until(directory: &ModelDirectory, is_so: impl Fn(&Published) -> bool) {
    let published = directory.shared.published();
    let waited = directory.shared.changed.wait_timeout_while(published, DEADLINE, |published| !is_so(published));
    let (published, timeout) = waited.unwrap();
    assert!(!timeout.timed_out(), "{:#?}", published.statuses);
}

#[track_caller]
fn until_state(directory: &ModelDirectory, name: &str, version: Option<&str>, state: &str) {
    until(directory, |published| {
        let status = status_in(&published.statuses, name, version);
        status.is_some_and(|status| crate::metrics::STATES[status.state.index()] == state)
    });
}

#[track_caller]
fn until_serves(directory: &ModelDirectory, name: &str, version: Option<&str>) {
    until(directory, |published| published.serving.get(name).is_some_and(|serving| serving.version() == version));
}

/// Waits for the next look into the directory.
fn next_look(directory: &ModelDirectory) {
    let published = directory.shared.published();
    let (_published, timeout) = directory.shared.changed.wait_timeout(published, DEADLINE).unwrap();
    assert!(!timeout.timed_out());
}

fn status_in<'a>(statuses: &'a [ModelStatus], name: &str, version: Option<&str>) -> Option<&'a ModelStatus> {
    statuses.iter().find(|status| status.name == name && status.version.as_deref() == version)
}

fn status(directory: &ModelDirectory, name: &str, version: Option<&str>) -> ModelStatus {
    status_in(&directory.snapshot(), name, version).unwrap().clone()
}

#[test]
fn a_file_that_grows_is_not_checked_before_it_is_whole() {
    let dropped = Dropped::new();
    let follow = Follow { settle: SETTLE * 2, ..dropped.follow() };
    let directory = start(follow, dropped.noted.clone());
    let whole = fs::read(graph("v8.onnx")).unwrap();
    let mut file = File::create(dropped.path("x.onnx")).unwrap();
    let begun = Instant::now();
    for bytes in whole.chunks(whole.len() / 60) {
        file.write_all(bytes).unwrap();
        next_look(&directory);
        next_look(&directory);
    }
    assert!(begun.elapsed() > SETTLE * 2, "it would not have been checked anyway");
    directory.wait_for("x", DEADLINE).unwrap();
    let checked = dropped.noted.checked.lock().unwrap();
    assert_eq!(checked.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [whole.len() as u64]);
}

#[test]
fn what_is_renamed_into_place_needs_no_patience() {
    let dropped = Dropped::new();
    let hour = Duration::from_hours(1);
    // Into a folder that was made a moment ago a rename may come before the folder is watched; then it has to settle.
    fs::create_dir(dropped.path("deep")).unwrap();
    let directory = start(Follow { settle: hour, ..dropped.follow() }, Recognise);
    dropped.rename("v8.onnx", "x.onnx");
    directory.wait_for("x", DEADLINE).unwrap();
    dropped.copy("v5.onnx", ".staged/model.onnx");
    fs::rename(dropped.path(".staged"), dropped.path("deep/1")).unwrap();
    until_serves(&directory, "deep", Some("1"));
}

#[test]
fn events_are_enough_and_so_is_polling() {
    let dropped = Dropped::new();
    let hour = Duration::from_hours(1);
    let directory = start(Follow { poll: hour, ..dropped.follow() }, Recognise);
    dropped.copy("v8.onnx", "x.onnx");
    directory.wait_for("x", DEADLINE).unwrap();
    drop(directory);
    // Events of a folder behind a link do not arrive, as from a network volume.
    let other = tempfile::tempdir_in(dropped.path("")).unwrap();
    let hidden = other.path().parent().unwrap().join(".data");
    fs::rename(other.path(), &hidden).unwrap();
    let directory = dropped.start();
    fs::write(hidden.join("y.onnx"), fs::read(graph("v8.onnx")).unwrap()).unwrap();
    symlink(".data/y.onnx", dropped.path("y.onnx")).unwrap();
    directory.wait_for("y", DEADLINE).unwrap();
}

#[test]
fn a_truncated_replacement_changes_nothing_and_a_good_one_does() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    let directory = dropped.start();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    let sha256 = first.checked().model.sha256.clone();
    fs::write(dropped.path("x.onnx"), &fs::read(graph("v5.onnx")).unwrap()[..4000]).unwrap();
    until_state(&directory, "x", None, "refused");
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
    let seen = status(&directory, "x", None);
    assert_eq!((seen.serving, seen.serving_sha256, seen.sha256), (true, Some(sha256.clone()), None));
    assert!(matches!(seen.state, State::Refused { code: ErrorCode::ModelInvalid, .. }));
    // It is not tried again and again.
    let count = dropped.noted.count();
    for _ in 0..30 {
        next_look(&directory);
    }
    assert_eq!(dropped.noted.count(), count);
    dropped.copy("v5.onnx", "x.onnx");
    until(&directory, |published| published.serving["x"].checked().model.sha256 != sha256);
    assert_eq!(status(&directory, "x", None).state, State::Ready);
}

#[test]
fn weights_that_come_later_or_are_replaced_make_another_model() {
    let dropped = Dropped::new();
    dropped.copy("external.onnx", "x.onnx");
    dropped.copy("external.onnx", "deep/1/model.onnx");
    let directory = dropped.start();
    let places = [("x", None, "external.bin"), ("deep", Some("1"), "deep/1/external.bin")];
    for (name, version, weights) in places {
        until_state(&directory, name, version, "refused");
        assert!(directory.wait_for(name, DEADLINE).unwrap_err().to_string().contains("external.bin"));
        dropped.copy("external.bin", weights);
        until_serves(&directory, name, version);
    }
    for (name, version, weights) in places {
        let first = directory.current(name).unwrap();
        fs::remove_file(dropped.path(weights)).unwrap();
        until_state(&directory, name, version, "refused");
        assert!(Arc::ptr_eq(&first, &directory.current(name).unwrap()));
        fs::write(dropped.path(weights), "other weights").unwrap();
        until(&directory, |published| !Arc::ptr_eq(&published.serving[name], &first));
    }
}

#[test]
fn what_lies_beside_a_model_that_needs_none_of_it_disturbs_nothing() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    fs::write(dropped.path("notes.txt"), "text").unwrap();
    let directory = dropped.start();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    fs::write(dropped.path("notes.txt"), "other text").unwrap();
    fs::write(dropped.path("weights.bin"), "of another model").unwrap();
    let written = Instant::now();
    while written.elapsed() < SETTLE * 3 {
        next_look(&directory);
    }
    assert_eq!((dropped.noted.count(), status(&directory, "x", None).state), (1, State::Ready));
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
}

#[test]
fn a_file_that_is_deleted_is_retired_and_one_that_comes_back_serves() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    let directory = dropped.start();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    fs::remove_file(dropped.path("x.onnx")).unwrap();
    until_state(&directory, "x", None, "retired");
    assert!(directory.current("x").is_none());
    assert!(first.lease().is_ok(), "work that is under way goes on");
    dropped.rename("v8.onnx", "x.onnx");
    let second = directory.wait_for("x", DEADLINE).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(directory.snapshot().len(), 1);
}

#[test]
fn a_directory_that_is_away_for_a_while_takes_nothing_with_it() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    let directory = dropped.start();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    let away = dropped.folder.path().join("away");
    fs::rename(dropped.path(""), &away).unwrap();
    until(&directory, |published| published.unreadable.is_some());
    let gone = Instant::now();
    while gone.elapsed() < SETTLE * 2 {
        next_look(&directory);
    }
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
    assert!(directory.wait_for("y", Duration::ZERO).unwrap_err().to_string().contains("cannot be read"));
    fs::rename(&away, dropped.path("")).unwrap();
    dropped.rename("v5.onnx", "y.onnx");
    directory.wait_for("y", DEADLINE).unwrap();
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
}

#[test]
fn a_directory_that_comes_later_is_followed() {
    let dropped = Dropped::new();
    fs::remove_dir(dropped.path("")).unwrap();
    let directory = dropped.start();
    dropped.copy("v8.onnx", "x.onnx");
    directory.wait_for("x", DEADLINE).unwrap();
}

#[test]
fn two_files_of_one_name_leave_what_serves() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    let directory = dropped.start();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    dropped.copy("v5.onnx", "x/1/model.onnx");
    until_state(&directory, "x", Some("1"), "refused");
    until_state(&directory, "x", None, "refused");
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
    fs::remove_file(dropped.path("x.onnx")).unwrap();
    until_serves(&directory, "x", Some("1"));
}

#[test]
fn links_that_lead_out_are_refused_and_never_opened() {
    let dropped = Dropped::new();
    symlink(graph("v8.onnx"), dropped.path("out.onnx")).unwrap();
    symlink("nowhere", dropped.path("lost.onnx")).unwrap();
    let directory = dropped.start();
    for (name, code) in [("out", ErrorCode::ModelDenied), ("lost", ErrorCode::ModelNotFound)] {
        assert_eq!(directory.wait_for(name, DEADLINE).unwrap_err().code(), code);
    }
    assert_eq!(dropped.noted.count(), 0);
    dropped.copy("v8.onnx", "nowhere");
    until_serves(&directory, "lost", None);
}

#[test]
fn the_newest_serves_or_else_the_newest_that_can() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/9/model.onnx");
    dropped.copy("v5.onnx", "x/10/model.onnx");
    dropped.copy("half.onnx", "x/11/model.onnx");
    fs::write(dropped.path("x/11/model.onnx"), "text").unwrap();
    let directory = dropped.start();
    assert_eq!(directory.wait_for("x", DEADLINE).unwrap().version(), Some("10"));
    until_state(&directory, "x", Some("9"), "ready");
    let serving: Vec<bool> = directory.snapshot().iter().map(|status| status.serving).collect();
    assert_eq!(serving, [false, true, false]);
    // The one that serves is taken away: the older one, whose bytes were let go, is read again.
    fs::remove_dir_all(dropped.path("x/10")).unwrap();
    until_serves(&directory, "x", Some("9"));
    dropped.copy("v5.onnx", "x/12/model.onnx");
    until_serves(&directory, "x", Some("12"));
}

#[test]
fn a_version_that_cannot_be_looked_at_is_not_replaced_by_an_older_one() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/1/model.onnx");
    dropped.copy("v5.onnx", "x/2/model.onnx");
    let directory = dropped.start();
    until_serves(&directory, "x", Some("2"));
    until_state(&directory, "x", Some("1"), "ready");
    let first = directory.current("x").unwrap();
    for (away, version) in [("x/2", Some("2")), ("x", None)] {
        // A link in a circle has an error of its own, as a network volume that is away has.
        fs::rename(dropped.path(away), dropped.path(".away")).unwrap();
        symlink(Path::new(away).file_name().unwrap(), dropped.path(away)).unwrap();
        until_state(&directory, "x", version, "refused");
        let seen = Instant::now();
        while seen.elapsed() < SETTLE * 2 {
            next_look(&directory);
        }
        assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
        fs::remove_file(dropped.path(away)).unwrap();
        fs::rename(dropped.path(".away"), dropped.path(away)).unwrap();
        until_state(&directory, "x", Some("1"), "ready");
        until_state(&directory, "x", Some("2"), "ready");
        assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
    }
}

#[test]
fn if_all_are_refused_the_newest_says_why() {
    let dropped = Dropped::new();
    for (version, text) in [("1", "one"), ("2", "")] {
        fs::create_dir_all(dropped.path("x").join(version)).unwrap();
        fs::write(dropped.path("x").join(version).join("model.onnx"), text).unwrap();
    }
    let directory = dropped.start();
    let error = directory.wait_for("x", DEADLINE).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelInvalid);
    assert!(error.to_string().contains("x/2/") || error.to_string().contains("empty"), "{error}");
    let error = directory.wait_for("y", Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("there is no model \"y\"") && error.to_string().contains("name one of x"));
}

#[test]
fn a_pinned_version_serves_until_it_is_unpinned() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/1/model.onnx");
    dropped.copy("v5.onnx", "x/2/model.onnx");
    let results = Volume::open(&dropped.folder.path().join("results")).unwrap();
    let directory = start(Follow { results: Some(results.clone()), ..dropped.follow() }, Recognise);
    until_serves(&directory, "x", Some("2"));
    pins::pin(&results, "x", "1").unwrap();
    until_serves(&directory, "x", Some("1"));
    until(&directory, |published| published.statuses[0].pinned && !published.statuses[1].pinned);
    // One that is not there leaves what serves, and serves when it comes.
    pins::pin(&results, "x", "3").unwrap();
    until(&directory, |published| !published.statuses[0].pinned);
    assert_eq!(directory.current("x").unwrap().version(), Some("1"));
    dropped.copy("yolox.onnx", "x/3/model.onnx");
    until_serves(&directory, "x", Some("3"));
    pins::pin(&results, "x", "1").unwrap();
    until_serves(&directory, "x", Some("1"));
    pins::unpin(&results, "x").unwrap();
    until_serves(&directory, "x", Some("3"));
}

#[test]
fn a_pin_that_cannot_be_read_holds_its_own_name_and_no_other() {
    let dropped = Dropped::new();
    for name in ["x/1/model.onnx", "y/1/model.onnx", "y/2/model.onnx"] {
        dropped.copy("v8.onnx", name);
    }
    let results = Volume::open(&dropped.folder.path().join("results")).unwrap();
    pins::pin(&results, "y", "1").unwrap();
    results.put(Path::new("models/state/x/3.json"), b"{}").unwrap();
    for only in [None, Some("x".to_owned())] {
        let follow = Follow { results: Some(results.clone()), only: only.clone(), ..dropped.follow() };
        let directory = start(follow, Recognise);
        let error = directory.wait_for("x", DEADLINE).unwrap_err();
        assert_eq!(error.code(), ErrorCode::VolumeIo);
        assert!(error.to_string().contains("x/3.json"), "{error}");
        if only.is_none() {
            assert_eq!(directory.wait_for("y", DEADLINE).unwrap().version(), Some("1"));
            until_state(&directory, "x", Some("1"), "ready");
        }
        assert!(directory.current("x").is_none());
    }
    // What serves goes on, and what is newer has to wait.
    pins::pin(&results, "x", "1").unwrap();
    let directory = start(Follow { results: Some(results.clone()), ..dropped.follow() }, Recognise);
    let first = directory.wait_for("x", DEADLINE).unwrap();
    results.put(Path::new("models/state/x/5.json"), b"{}").unwrap();
    until(&directory, |published| published.refused.contains_key("x"));
    dropped.copy("v5.onnx", "x/2/model.onnx");
    until_state(&directory, "x", Some("2"), "ready");
    assert!(Arc::ptr_eq(&first, &directory.wait_for("x", DEADLINE).unwrap()));
    pins::unpin(&results, "x").unwrap();
    until_serves(&directory, "x", Some("2"));
}

#[test]
fn a_pinned_version_that_cannot_serve_is_not_replaced_by_another() {
    let dropped = Dropped::new();
    dropped.copy("v5.onnx", "x/2/model.onnx");
    let results = Volume::open(&dropped.folder.path().join("results")).unwrap();
    pins::pin(&results, "x", "1").unwrap();
    let follow = Follow { results: Some(results.clone()), only: Some("x".to_owned()), ..dropped.follow() };
    let directory = start(follow, dropped.noted.clone());
    let unmet = |why: &str| {
        let error = directory.wait_for("x", DEADLINE).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("framefleet models unpin x"), "{error}");
    };
    unmet("pinned to version 1, which is not there");
    fs::create_dir(dropped.path("x/1")).unwrap();
    fs::write(dropped.path("x/1/model.onnx"), "text").unwrap();
    until_state(&directory, "x", Some("1"), "refused");
    unmet("pinned to version 1, which is refused: ");
    dropped.copy("v8.onnx", "x/1/model.onnx");
    until_serves(&directory, "x", Some("1"));
    // One that served goes on, whatever becomes of its files.
    fs::remove_dir_all(dropped.path("x/1")).unwrap();
    until_state(&directory, "x", Some("1"), "retired");
    assert_eq!(directory.current("x").unwrap().version(), Some("1"));
    let checked = |version: &str| {
        let checked = dropped.noted.checked.lock().unwrap();
        checked.iter().filter(|(place, _)| place.version.as_deref() == Some(version)).count()
    };
    assert_eq!((checked("1"), checked("2")), (2, 0));
    pins::unpin(&results, "x").unwrap();
    until_serves(&directory, "x", Some("2"));
}

#[test]
fn of_one_name_nothing_is_tried_out_that_would_not_serve() {
    let dropped = Dropped::new();
    for version in ["1", "2", "3"] {
        dropped.copy("v8.onnx", &format!("x/{version}/model.onnx"));
    }
    fs::create_dir(dropped.path("x/4")).unwrap();
    fs::write(dropped.path("x/4/model.onnx"), "text").unwrap();
    let follow = Follow { only: Some("x".to_owned()), ..dropped.follow() };
    let directory = start(follow, dropped.noted.clone());
    until_serves(&directory, "x", Some("3"));
    for _ in 0..30 {
        next_look(&directory);
    }
    let tried = || {
        let checked = dropped.noted.checked.lock().unwrap();
        checked.iter().map(|(place, _)| place.version.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(tried(), ["4", "3"]);
    // When what serves is taken away, the next older one is.
    fs::remove_dir_all(dropped.path("x/3")).unwrap();
    until_serves(&directory, "x", Some("2"));
    assert_eq!(tried(), ["4", "3", "2"]);
}

#[test]
fn a_check_that_takes_its_time_keeps_nobody_from_working() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/1/model.onnx");
    let ((began, begun), (go, told)) = (sync_channel(1), sync_channel(1));
    let directory = start(dropped.follow(), Gated { began, go: told });
    begun.recv_timeout(DEADLINE).unwrap();
    go.send(None).unwrap();
    let first = directory.wait_for("x", DEADLINE).unwrap();
    dropped.copy("v5.onnx", "x/2/model.onnx");
    begun.recv_timeout(DEADLINE).unwrap();
    assert_eq!(status(&directory, "x", Some("2")).state, State::Checking);
    assert!(Arc::ptr_eq(&first, &directory.current("x").unwrap()));
    assert!(first.lease().is_ok());
    go.send(None).unwrap();
    until_serves(&directory, "x", Some("2"));
}

#[test]
fn a_file_that_is_replaced_while_it_is_checked_waits_again() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x.onnx");
    let ((began, begun), (go, told)) = (sync_channel(1), sync_channel(1));
    let directory = start(dropped.follow(), Gated { began, go: told });
    begun.recv_timeout(DEADLINE).unwrap();
    dropped.copy("v5.onnx", "x.onnx");
    go.send(None).unwrap();
    begun.recv_timeout(DEADLINE).unwrap();
    assert!(directory.current("x").is_none(), "what was checked is not there any more");
    go.send(Some(ModelError::Changed { model: "x".to_owned() })).unwrap();
    begun.recv_timeout(DEADLINE).unwrap();
    assert_eq!(status(&directory, "x", None).state, State::Checking);
    go.send(None).unwrap();
    let serving = directory.wait_for("x", DEADLINE).unwrap();
    assert_eq!(serving.checked().model.manifest.head, crate::manifest::HeadFamily::V5);
}

#[test]
fn nothing_is_written_into_a_directory_that_is_followed() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/1/model.onnx");
    let results = Volume::open(&dropped.folder.path().join("results")).unwrap();
    let directory = start(Follow { results: Some(results), ..dropped.follow() }, Recognise);
    directory.wait_for("x", DEADLINE).unwrap();
    drop(directory);
    for (folder, only) in [("", "x"), ("x", "1"), ("x/1", "model.onnx")] {
        let names: Vec<_> =
            fs::read_dir(dropped.path(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [only]);
    }
}

#[test]
fn a_thousand_models_are_followed() {
    let dropped = Dropped::new();
    for n in 0..500 {
        dropped.copy("v8.onnx", &format!("flat{n}.onnx"));
        dropped.copy("v8.onnx", &format!("deep{}/{n}/model.onnx", n % 100));
    }
    let directory = start(Follow { poll: Duration::from_secs(1), ..dropped.follow() }, dropped.noted.clone());
    until(&directory, |published| published.statuses.iter().all(|status| status.state == State::Ready));
    assert_eq!(directory.snapshot().len(), 1000);
    assert_eq!(directory.current("deep7").unwrap().version(), Some("407"));
    dropped.rename("v5.onnx", "flat0.onnx");
    let v5 = crate::manifest::HeadFamily::V5;
    until(&directory, |published| published.serving["flat0"].checked().model.manifest.head == v5);
    assert_eq!(dropped.noted.count(), 1001);
}

#[test]
fn a_model_whose_session_cannot_be_made_never_serves() {
    let dropped = Dropped::new();
    dropped.copy("v8.onnx", "x/1/model.onnx");
    dropped.copy("v8_lies.onnx", "x/2/model.onnx");
    let directory = start(Follow { warm: 1, ..dropped.follow() }, Recognise);
    until_serves(&directory, "x", Some("1"));
    until_state(&directory, "x", Some("2"), "refused");
}

#[test]
fn versions_are_compared_and_the_difference_is_kept() {
    let dropped = Dropped::new();
    dropped.rename("v8.onnx", "x.onnx");
    let results = Volume::open(&dropped.folder.path().join("results")).unwrap();
    let follow = Follow { results: Some(results.clone()), ..dropped.follow() };
    follow.frames.offer(&Grey { width: 128, height: 64, luma: 128 }.owned().picture(), Instant::now());
    let directory = start(follow, Recognise);
    let old = directory.wait_for("x", DEADLINE).unwrap();
    dropped.rename("v5.onnx", "x.onnx");
    until(&directory, |published| published.statuses[0].comparison.is_some());
    let seen = status(&directory, "x", None).comparison.unwrap();
    assert_eq!((seen.frames, &seen.old), (1, &old.checked().model.sha256));
    assert_eq!(store::last_comparison(results.root(), &seen.new).unwrap(), Some(seen));
}

#[test]
fn nothing_is_left_of_two_hundred_versions() {
    let dropped = Dropped::new();
    dropped.rename("v8.onnx", "x.onnx");
    let directory = start(Follow { warm: 1, settle: Duration::from_millis(1), ..dropped.follow() }, Recognise);
    let mut gone: Vec<Weak<Serving>> = Vec::new();
    for n in 0..200 {
        let serving = directory.wait_for("x", DEADLINE).unwrap();
        gone.push(Arc::downgrade(&serving));
        dropped.rename(if n % 2 == 0 { "v5.onnx" } else { "v8.onnx" }, "x.onnx");
        until(&directory, |published| !Arc::ptr_eq(&published.serving["x"], &serving));
    }
    until(&directory, |_| gone.iter().all(|old| old.strong_count() == 0));
    let serving = directory.current("x").unwrap();
    drop(directory);
    assert_eq!(Arc::strong_count(&serving), 1);
}

#[test]
fn a_status_is_written_as_plain_words() {
    let dropped = Dropped::new();
    fs::write(dropped.path("x.onnx"), "text").unwrap();
    let directory = dropped.start();
    until_state(&directory, "x", None, "refused");
    let json = serde_json::to_value(directory.snapshot()).unwrap();
    assert_eq!((&json[0]["state"], &json[0]["code"]), (&"refused".into(), &"MODEL_INVALID".into()));
}

//! Trying models out in a child. This program is its own child: started with a mode as its first argument it does what
//! the mode says, otherwise it runs the tests, one after the other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share are tests too")]

use framefleet_contract::{error_code::ErrorCode, identity::Sha256};
use framefleet_models::{
    ModelError,
    check::{Check, Checked, Held, Limits, ModelPlace, Order, Sandbox, child, confine, die_with},
    manifest::HeadFamily,
};
use rustix::{io::Errno, process};
use std::{
    env,
    ffi::OsString,
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::{
        fs::symlink,
        net::{UnixDatagram, UnixStream},
        process::{CommandExt, ExitStatusExt},
    },
    panic,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

const TESTS: &[(&str, fn())] = &[
    ("good_models_give_a_report", good_models_give_a_report),
    ("what_is_no_model_is_refused_with_its_code", what_is_no_model_is_refused_with_its_code),
    ("a_fifo_blocks_nobody", a_fifo_blocks_nobody),
    ("links_may_lead_around_the_folder_but_not_out_of_it", links_may_lead_around_the_folder_but_not_out_of_it),
    ("a_confined_process_can_only_read_below_its_folder", a_confined_process_can_only_read_below_its_folder),
    ("what_the_filter_forbids_is_forbidden_without_landlock", what_the_filter_forbids_is_forbidden_without_landlock),
    ("a_child_that_hangs_is_killed", a_child_that_hangs_is_killed),
    ("a_check_ends_when_it_is_told_to", a_check_ends_when_it_is_told_to),
    ("a_child_that_crashes_costs_the_model", a_child_that_crashes_costs_the_model),
    ("a_child_that_somebody_ends_is_no_fault_of_the_model", a_child_that_somebody_ends_is_no_fault_of_the_model),
    ("a_child_that_eats_memory_is_stopped", a_child_that_eats_memory_is_stopped),
    ("a_child_that_says_too_little_or_too_much_is_not_believed", a_child_that_says_too_little_or_too_much),
    ("a_child_knows_nothing_of_the_environment", a_child_knows_nothing_of_the_environment),
    ("a_file_that_is_replaced_meanwhile_has_changed", a_file_that_is_replaced_meanwhile_has_changed),
    ("a_child_dies_with_its_parent", a_child_dies_with_its_parent),
    ("no_zombies_and_no_descriptors_are_left", no_zombies_and_no_descriptors_are_left),
];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next().map(|first| first.to_string_lossy().into_owned());
    match first.as_deref().and_then(|first| first.strip_prefix("as-")) {
        Some(mode) => play(mode, arguments.collect()),
        None => run_tests(first.as_deref()),
    }
}

fn run_tests(first: Option<&str>) -> ExitCode {
    let filter = first.filter(|first| !first.starts_with('-')).unwrap_or_default();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
        let passed = panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}

/// What a child does instead of checking a model.
fn play(mode: &str, arguments: Vec<OsString>) -> ExitCode {
    if mode == "child" {
        return child(arguments);
    }
    if mode == "orphan-maker" {
        return make_an_orphan(&PathBuf::from(&arguments[0]));
    }
    let order = Order::from_arguments(arguments.clone()).unwrap();
    match mode {
        "hang" => loop {
            thread::park();
        },
        "hang-in-silence" => {
            // The output's end is no sign that the child ended.
            rustix::stdio::dup2_stdout(fs::File::open("/dev/null").unwrap()).unwrap();
            loop {
                thread::park();
            }
        }
        "spin" => {
            confine(&order.folder, &order.limits);
            loop {
                std::hint::spin_loop();
            }
        }
        "abort" => {
            confine(&order.folder, &order.limits);
            eprintln!("something is wrong in here");
            std::process::abort()
        }
        "be-interrupted" => {
            process::kill_process(process::getpid(), process::Signal::INT).unwrap();
            ExitCode::SUCCESS
        }
        "eat" => {
            confine(&order.folder, &order.limits);
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 16 << 20]);
            }
        }
        "say-nothing" => ExitCode::SUCCESS,
        "fail" => ExitCode::from(3),
        "say-nonsense" => {
            println!("{{\"ok\": 1}}");
            ExitCode::SUCCESS
        }
        "say-too-much" => {
            // Both pipes are filled far beyond what is kept of them.
            let line = "x".repeat(1 << 16);
            for _ in 0..80 {
                eprintln!("{line}");
            }
            for _ in 0..80 {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        "tell-environment" => {
            let names: Vec<String> = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            eprintln!("{}", names.join(" "));
            ExitCode::from(3)
        }
        "replace" => {
            // A child of the child checks, and its order must say so.
            let mut inner = order.clone();
            inner.parent = std::process::id();
            let program = env::current_exe().unwrap();
            let status = Command::new(program).arg("as-child").args(inner.arguments()).status().unwrap();
            fs::copy(graph("v5.onnx"), &order.place.onnx).unwrap();
            ExitCode::from(u8::from(!status.success()))
        }
        "hang-with-parent" => {
            assert!(die_with(order.parent));
            fs::write(order.folder.join("pid"), std::process::id().to_string()).unwrap();
            loop {
                thread::park();
            }
        }
        "try-everything" => try_everything(&order, true),
        "try-without-landlock" => try_everything(&order, false),
        other => panic!("no mode {other}"),
    }
}

fn sandbox(mode: &str) -> Sandbox {
    Sandbox {
        program: env::current_exe().unwrap(),
        arguments: vec![format!("as-{mode}").into()],
        limits: Limits { time: Duration::from_secs(30), memory: 1 << 30 },
    }
}

fn graph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name)
}

fn place(onnx: &Path) -> ModelPlace {
    ModelPlace { name: "a-name".to_owned(), version: None, onnx: onnx.to_owned(), toml: onnx.with_extension("toml") }
}

fn check(onnx: &Path) -> Result<Checked, ModelError> {
    sandbox("child").check(&place(onnx), &|| false)
}

#[track_caller]
fn refusal_of(sandbox: &Sandbox, onnx: &Path) -> String {
    let start = Instant::now();
    let error = sandbox.check(&place(onnx), &|| false).unwrap_err();
    assert!(start.elapsed() < sandbox.limits.time + Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(error, ModelError::Invalid { .. }), "{error:?}");
    error.to_string()
}

fn good_models_give_a_report() {
    for (name, head) in [
        ("v8.onnx", HeadFamily::V8),
        ("v5.onnx", HeadFamily::V5),
        ("yolox.onnx", HeadFamily::Yolox),
        ("v8_open.onnx", HeadFamily::V8),
        ("end_to_end.onnx", HeadFamily::EndToEnd),
    ] {
        let Checked { model, report } = check(&graph(name)).unwrap();
        let bytes = fs::read(graph(name)).unwrap();
        assert_eq!(report.manifest.head, head);
        assert_eq!(model.manifest, report.manifest);
        assert_eq!((model.name.as_str(), &**model.bytes()), ("a-name", &*bytes));
        assert_eq!(report.sha256, Sha256::of(&bytes));
        assert_eq!(report.files.len(), 1);
        assert_eq!((report.files[0].name.as_str(), report.files[0].bytes), ("model.onnx", bytes.len() as u64));
        assert_eq!(report.inputs[0].name, report.manifest.input.name);
        assert!(report.load_s > 0.0 && report.load_s < 10.0 && report.frame_s > 0.0 && report.frame_s < 10.0);
        assert!((1 << 16..1 << 30).contains(&report.memory_bytes), "{}", report.memory_bytes);
        // Landlock binds no thread that was there before: ONNX Runtime must not have started one.
        assert!(!report.confinement[0].contains("a thread"), "{report:?}");
        assert!(report.confinement.len() == 3 && report.runtime.starts_with("onnxruntime 1."), "{report:?}");
        println!("{name}: {:.1} ms a frame, {} KiB", report.frame_s * 1e3, report.memory_bytes >> 10);
        println!("{}", report.confinement.join("; "));
    }
}

fn what_is_no_model_is_refused_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(graph("yolox.onnx")).unwrap();
    let directory = folder.path().join("directory.onnx");
    fs::create_dir(&directory).unwrap();
    let dangling = folder.path().join("dangling.onnx");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    for (path, code) in [
        (put("text.onnx", b"this is no model\n"), ErrorCode::ModelInvalid),
        (put("empty.onnx", b""), ErrorCode::ModelInvalid),
        (put("truncated.onnx", &whole[..whole.len() / 2]), ErrorCode::ModelInvalid),
        (put("cut.onnx", &whole[..whole.len() - 1]), ErrorCode::ModelInvalid),
        (graph("v8_lies.onnx"), ErrorCode::ModelInvalid),
        (directory, ErrorCode::ModelNotFound),
        (dangling, ErrorCode::ModelNotFound),
        (folder.path().join("nowhere.onnx"), ErrorCode::ModelNotFound),
        (graph("v8_segment.onnx"), ErrorCode::ModelUnrecognised),
    ] {
        let error = check(&path).unwrap_err();
        assert_eq!(error.code(), code, "{}: {error}", path.display());
        println!("{error}");
    }
}

fn a_fifo_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo.onnx");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let start = Instant::now();
    let error = check(&fifo).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelNotFound, "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

fn links_may_lead_around_the_folder_but_not_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..data")).unwrap();
    fs::copy(graph("v8.onnx"), folder.path().join("..data/m.onnx")).unwrap();
    symlink("..data/m.onnx", folder.path().join("inside.onnx")).unwrap();
    symlink(graph("v8.onnx"), folder.path().join("outside.onnx")).unwrap();
    check(&folder.path().join("inside.onnx")).unwrap();
    let error = check(&folder.path().join("outside.onnx")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelDenied, "{error}");
}

/// Exits with success only if everything but reading below the folder failed; says what did not.
fn try_everything(order: &Order, landlock: bool) -> ExitCode {
    let folder = &order.folder;
    let outside = folder.parent().unwrap();
    let own = fs::read(&order.place.onnx).unwrap();
    // Landlock takes from the calling thread only: with it on another one, this one shows what the rest does.
    let confinement = if landlock {
        confine(folder, &order.limits)
    } else {
        let (folder, limits) = (folder.clone(), order.limits);
        thread::spawn(move || confine(&folder, &limits)).join().unwrap()
    };
    let mut wrong = Vec::new();
    let mut fails = |what: &str, happened: bool| {
        if happened {
            wrong.push(what.to_owned());
        }
    };
    let has_landlock = landlock && !matches!(confinement.parts[0].held, Held::Not(_));
    if has_landlock {
        fails("read /etc/passwd", fs::read("/etc/passwd").is_ok());
        fails("list /", fs::read_dir("/").is_ok());
        fails("read its parent folder", fs::read(outside.join("secret")).is_ok());
        fails("read through a link", fs::read(folder.join("link")).is_ok());
    }
    fails("not read its own file", fs::read(&order.place.onnx).ok() != Some(own));
    fails("write its own file", fs::File::options().write(true).open(&order.place.onnx).is_ok());
    fails("make a file", fs::write(folder.join("new"), "").is_ok());
    fails("make a folder", fs::create_dir(folder.join("new-folder")).is_ok());
    fails("rename", fs::rename(&order.place.onnx, folder.join("renamed")).is_ok());
    fails("remove", fs::remove_file(&order.place.onnx).is_ok());
    let mut permissions = fs::metadata(&order.place.onnx).unwrap().permissions();
    permissions.set_readonly(true);
    fails("change a mode", fs::set_permissions(&order.place.onnx, permissions).is_ok());
    fails("listen", TcpListener::bind("127.0.0.1:0").is_ok());
    fails("have a datagram socket", UdpSocket::bind("127.0.0.1:0").is_ok());
    fails("have a socket", UnixDatagram::unbound().is_ok());
    fails("have a pair of sockets", UnixStream::pair().is_ok());
    fails("start a program", Command::new("/bin/true").spawn().is_ok());
    let error = Command::new("/bin/true").exec();
    fails("become a program, or hear something else", error.raw_os_error() != Some(libc::EPERM));
    fails("signal its parent", process::test_kill_process(process::getppid().unwrap()).is_ok());
    let raised = process::Rlimit { current: None, maximum: None };
    fails("raise its limits", process::setrlimit(process::Resource::As, raised).is_ok());
    let open: Vec<_> = (0..100).map_while(|_| fs::File::open(&order.place.onnx).ok()).collect();
    fails("open many files", open.len() >= 64);
    drop(open);
    fails("not start a thread", thread::Builder::new().spawn(|| ()).map(thread::JoinHandle::join).is_err());
    if landlock {
        // The other thread's stack was counted as mapped, and is free again.
        let mut large: Vec<u8> = Vec::new();
        fails("have more memory", large.try_reserve_exact(order.limits.memory as usize + 1).is_ok());
    }
    for part in &confinement.parts {
        eprint!("[{part}] ");
    }
    if wrong.is_empty() {
        eprintln!("nothing is possible");
        return ExitCode::from(3);
    }
    eprintln!("it can {}", wrong.join(", "));
    ExitCode::from(4)
}

fn try_in_folder(mode: &str) -> String {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    symlink("../secret", folder.join("link")).unwrap();
    fs::write(folder.join("m.onnx"), "bytes").unwrap();
    let text = refusal_of(&sandbox(mode), &folder.join("m.onnx"));
    assert!(text.contains("nothing is possible"), "{text}");
    assert_eq!(fs::read(folder.join("m.onnx")).unwrap(), b"bytes");
    text
}

fn a_confined_process_can_only_read_below_its_folder() {
    let text = try_in_folder("try-everything");
    println!("{text}");
}

fn what_the_filter_forbids_is_forbidden_without_landlock() {
    let text = try_in_folder("try-without-landlock");
    assert!(
        !text.contains("Landlock (files, TCP, signals): enforced"),
        "threads escape it, and nobody says so: {text}"
    );
}

fn a_child_that_hangs_is_killed() {
    let time = Duration::from_millis(500);
    for mode in ["hang", "hang-in-silence", "spin"] {
        let sandbox = Sandbox { limits: Limits { time, memory: 1 << 30 }, ..sandbox(mode) };
        let text = refusal_of(&sandbox, &graph("v8.onnx"));
        assert!(text.contains("took longer than 0.5 s"), "{text}");
    }
    // The wall clock lets it have more than the processor's.
    let time = Duration::from_secs(30);
    let spinning = Order::new(&place(&graph("v8.onnx")), Limits { time: Duration::from_millis(1), memory: 1 << 30 });
    let start = Instant::now();
    let mut child =
        Command::new(env::current_exe().unwrap()).arg("as-spin").args(spinning.arguments()).spawn().unwrap();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > time => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => thread::yield_now(),
        }
    };
    // The signal tells it from a child that the system killed for its memory.
    assert_eq!(status.signal(), Some(libc::SIGXCPU), "the limit of processor time does not hold: {status}");
}

fn a_check_ends_when_it_is_told_to() {
    for mode in ["hang", "hang-in-silence"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::copy(graph("v8.onnx"), &path).unwrap();
        let start = Instant::now();
        let looks = AtomicU32::new(0);
        let third = || looks.fetch_add(1, Ordering::Relaxed) >= 2;
        let error = sandbox(mode).check(&place(&path), &third).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Interrupted, "{mode}: {error}");
        assert!(start.elapsed() < sandbox(mode).limits.time / 2, "{mode}");
    }
    assert_eq!(process::wait(process::WaitOptions::NOHANG).map(drop), Err(Errno::CHILD));
}

fn a_child_that_crashes_costs_the_model() {
    let text = refusal_of(&sandbox("abort"), &graph("v8.onnx"));
    assert!(text.contains("SIGABRT") && text.contains("something is wrong in here"), "{text}");
    let text = refusal_of(&sandbox("fail"), &graph("v8.onnx"));
    assert!(text.contains("exit status: 3"), "{text}");
    let nowhere = Sandbox { program: "/nowhere/program".into(), ..sandbox("child") };
    let error = nowhere.check(&place(&graph("v8.onnx")), &|| false).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelUnavailable, "it is no fault of the model's: {error}");
    assert!(error.to_string().contains("/nowhere/program"), "{error}");
}

fn a_child_that_somebody_ends_is_no_fault_of_the_model() {
    let place = place(&graph("v8.onnx"));
    let error = sandbox("be-interrupted").check(&place, &|| false).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelUnavailable, "{error}");
    assert!(error.to_string().contains("SIGINT"), "{error}");
    // The signal comes to the parent after the child is gone.
    let start = Instant::now();
    let later = || start.elapsed() > Duration::from_millis(500);
    let error = sandbox("be-interrupted").check(&place, &later).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Interrupted, "{error}");
}

fn a_child_that_eats_memory_is_stopped() {
    let limits = Limits { time: Duration::from_secs(30), memory: 200 << 20 };
    let text = refusal_of(&Sandbox { limits, ..sandbox("eat") }, &graph("v8.onnx"));
    assert!(text.contains("more than 200 MiB"), "{text}");
    // A real model that does not fit: ONNX Runtime says so itself.
    let limits = Limits { time: Duration::from_secs(30), memory: 1 << 20 };
    let text = refusal_of(&Sandbox { limits, ..sandbox("child") }, &graph("yolox_coco.onnx"));
    assert!(text.contains("more than 1 MiB"), "{text}");
}

fn a_child_that_says_too_little_or_too_much() {
    for (mode, words) in
        [("say-nothing", "without a report"), ("say-nonsense", "without a report"), ("say-too-much", "more than 4 MiB")]
    {
        let text = refusal_of(&sandbox(mode), &graph("v8.onnx"));
        assert!(text.contains(words) && text.len() < 80 << 10, "{mode}: {text}");
    }
}

fn a_child_knows_nothing_of_the_environment() {
    let text = refusal_of(&sandbox("tell-environment"), &graph("v8.onnx"));
    assert!(text.contains("ORT_DISABLE_TELEMETRY"), "{text}");
    let known = |name: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
    assert!(!known("PATH") && !known("CARGO_MANIFEST_DIR"), "{text}");
}

fn a_file_that_is_replaced_meanwhile_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::copy(graph("v8.onnx"), &path).unwrap();
    let error = sandbox("replace").check(&place(&path), &|| false).unwrap_err();
    assert!(matches!(error, ModelError::Changed { .. }), "{error:?}");
}

/// Starts a check that hangs, and is gone before it is over.
fn make_an_orphan(onnx: &Path) -> ExitCode {
    let place = place(onnx);
    thread::spawn(move || sandbox("hang-with-parent").check(&place, &|| false).map(drop));
    until(|| fs::read(onnx.with_file_name("pid")).is_ok_and(|pid| !pid.is_empty()));
    std::process::abort()
}

fn a_child_dies_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::copy(graph("v8.onnx"), &path).unwrap();
    let program = env::current_exe().unwrap();
    let status = Command::new(program).arg("as-orphan-maker").arg(&path).stderr(Stdio::null()).status().unwrap();
    assert!(!status.success());
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    // Where nobody reaps orphans it stays as a zombie, which is as dead.
    until(|| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']))
    });
}

fn no_zombies_and_no_descriptors_are_left() {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let short = Limits { time: Duration::from_millis(200), memory: 1 << 30 };
    for mode in ["abort", "say-nothing", "say-too-much"] {
        sandbox(mode)
            .check(&place(&graph("v8.onnx")), &|| false)
            .map(drop)
            .or_else(|_| {
                Sandbox { limits: short, ..sandbox("hang") }.check(&place(&graph("v8.onnx")), &|| false).map(drop)
            })
            .unwrap_err();
    }
    assert_eq!(process::wait(process::WaitOptions::NOHANG).map(drop), Err(Errno::CHILD));
    until(|| open() == before);
}

/// Waits for a condition, at most for a while.
#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        thread::yield_now();
    }
}

//! Models that mean harm, or were only copied halfway, through the sandbox with its real child. This program is its own
//! child: started with `as-child` it checks what it is told, otherwise it runs the tests, one after the other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share are tests too")]

#[path = "hostile/protobuf.rs"]
mod protobuf;

use framefleet_contract::error_code::ErrorCode;
use framefleet_models::{
    Detector, ModelError, Runtime, Thresholds,
    check::{Check, Checked, Limits, ModelPlace, Sandbox, child},
    manifest::HeadFamily,
    recognise_bytes,
};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use protobuf::{entry, external_tensor, field, model, text, value};
use std::{
    env, fs,
    os::unix::fs::symlink,
    panic,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const TESTS: &[(&str, fn())] = &[
    ("what_is_no_regular_file_is_refused_at_once", what_is_no_regular_file_is_refused_at_once),
    ("a_part_of_a_file_is_no_model", a_part_of_a_file_is_no_model),
    ("no_part_of_any_graph_makes_the_reader_panic", no_part_of_any_graph_makes_the_reader_panic),
    ("weights_in_the_folder_give_the_same_boxes", weights_in_the_folder_give_the_same_boxes),
    ("weights_elsewhere_are_denied", weights_elsewhere_are_denied),
    ("only_weights_and_constants_of_the_main_graph_may_be_in_files", only_weights_and_constants_of_the_main_graph),
    ("weights_that_are_not_there_or_too_few_are_named", weights_that_are_not_there_or_too_few_are_named),
    ("what_nests_too_deep_is_refused", what_nests_too_deep_is_refused),
    ("what_the_runtime_does_not_know_is_refused_by_name", what_the_runtime_does_not_know_is_refused_by_name),
    ("what_never_ends_is_ended", what_never_ends_is_ended),
    ("what_needs_more_memory_than_allowed_is_refused", what_needs_more_memory_than_allowed_is_refused),
    ("classes_are_neither_none_nor_a_million", classes_are_neither_none_nor_a_million),
    ("sizes_that_no_picture_has_are_refused", sizes_that_no_picture_has_are_refused),
    ("many_operations_take_a_moment", many_operations_take_a_moment),
    ("many_outputs_are_counted_before_they_are_looked_for", many_outputs_are_counted_before_they_are_looked_for),
    ("names_out_of_a_file_steer_no_terminal", names_out_of_a_file_steer_no_terminal),
    ("a_file_that_is_replaced_all_the_time_is_whole_or_changed", a_file_that_is_replaced_all_the_time),
];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next().map(|first| first.to_string_lossy().into_owned());
    match first.as_deref() {
        Some("as-child") => child(arguments),
        first => run_tests(first.filter(|first| !first.starts_with('-')).unwrap_or_default()),
    }
}

fn run_tests(filter: &str) -> ExitCode {
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
        let start = Instant::now();
        let passed = panic::catch_unwind(test).is_ok();
        println!("test {name} ... {} ({:.1} s)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_secs_f64());
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}

const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits { time: Duration::from_secs(20), memory: 512 * MIB };

/// A folder with one model in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With these bytes as its model.
    fn of(onnx: &[u8]) -> Self {
        let folder = Self::new();
        fs::write(folder.onnx(), onnx).unwrap();
        folder
    }

    fn onnx(&self) -> PathBuf {
        self.path("model.onnx")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn check(&self) -> Result<Checked, ModelError> {
        self.check_within(LIMITS)
    }

    fn check_within(&self, limits: Limits) -> Result<Checked, ModelError> {
        let (onnx, toml) = (self.onnx(), self.path("model.toml"));
        let sandbox = Sandbox { program: env::current_exe().unwrap(), arguments: vec!["as-child".into()], limits };
        let start = Instant::now();
        let checked = sandbox.check(&ModelPlace { name: "hostile".to_owned(), version: None, onnx, toml }, &|| false);
        assert!(start.elapsed() < limits.time + Duration::from_secs(2), "{:?}", start.elapsed());
        checked
    }

    /// The text says each of the words, and is short enough to be read.
    #[track_caller]
    fn refused(&self, code: ErrorCode, words: &[&str]) {
        self.refused_within(LIMITS, code, words);
    }

    #[track_caller]
    fn refused_within(&self, limits: Limits, code: ErrorCode, words: &[&str]) {
        let error = match self.check_within(limits) {
            Ok(checked) => panic!("it serves: {checked:?}"),
            Err(error) => error,
        };
        let text = error.to_string();
        assert_eq!(error.code(), code, "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "not {words:?}: {text}");
        assert!(text.len() < 4000 && !text.contains(char::is_control), "{text}");
        println!("  {text}");
    }
}

fn graph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name)
}

fn bytes_of(name: &str) -> Vec<u8> {
    fs::read(graph(name)).unwrap()
}

/// The bytes of the detector `v8.onnx` with more in its graph: of a message that comes twice, protobuf takes both.
fn with_more(graph: &[u8]) -> Vec<u8> {
    [bytes_of("v8.onnx"), field(7, graph)].concat()
}

fn what_is_no_regular_file_is_refused_at_once() {
    let fifo = |path: PathBuf| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let folder = Folder::new();
    fs::create_dir(folder.onnx()).unwrap();
    folder.refused(ErrorCode::ModelNotFound, &["not a file"]);
    let folder = Folder::new();
    fifo(folder.onnx());
    folder.refused(ErrorCode::ModelNotFound, &["not a file"]);
    let folder = Folder::of(&bytes_of("v8.onnx"));
    fifo(folder.path("model.toml"));
    folder.refused(ErrorCode::ModelInvalid, &["cannot be read", "not a file"]);
    let folder = Folder::new();
    symlink("nowhere", folder.onnx()).unwrap();
    folder.refused(ErrorCode::ModelNotFound, &["model.onnx"]);
    let folder = Folder::new();
    symlink("model.onnx", folder.onnx()).unwrap();
    folder.refused(ErrorCode::ModelNotFound, &["model.onnx"]);
    for outside in [graph("v8.onnx"), "/dev/zero".into(), "/proc/self/environ".into()] {
        let folder = Folder::new();
        symlink(outside, folder.onnx()).unwrap();
        folder.refused(ErrorCode::ModelDenied, &["link", "outside its folder"]);
    }
}

fn a_part_of_a_file_is_no_model() {
    let whole = bytes_of("yolox.onnx");
    Folder::of(&whole).check().unwrap();
    let lengths = (0..whole.len()).step_by(67).chain(whole.len() - 8..whole.len());
    for length in lengths {
        let error = Folder::of(&whole[..length]).check().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelInvalid, "{length} bytes: {error}");
    }
    // A copy that made room first.
    for length in [0, 1, 100, 1000, 3000] {
        let mut bytes = whole.clone();
        bytes[length..].fill(0);
        let error = Folder::of(&bytes).check().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelInvalid, "{length} bytes: {error}");
    }
    Folder::of(b"no model, but words\n").refused(ErrorCode::ModelInvalid, &["not an ONNX file"]);
    Folder::of(&[]).refused(ErrorCode::ModelInvalid, &["empty"]);
}

fn no_part_of_any_graph_makes_the_reader_panic() {
    let graphs = fs::read_dir(graph("")).unwrap().map(|entry| entry.unwrap().path());
    for path in graphs.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")) {
        let whole = fs::read(&path).unwrap();
        let step = 1 + whole.len() / 3000;
        for length in (0..whole.len()).step_by(step) {
            let _ = recognise_bytes(&whole[..length], None);
        }
    }
}

/// With its weights beside it, as `v8.onnx` has them inside.
fn with_weights() -> Folder {
    Folder::of(&bytes_of("external.onnx")).with("external.bin", bytes_of("external.bin"))
}

fn weights_in_the_folder_give_the_same_boxes() {
    let boxes = |checked: &Checked| {
        let grey = vec![128; 64 * 64];
        let picture = Picture {
            width: 64,
            height: 64,
            planes: [Plane { data: &grey, stride: 64 }; 3],
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt601,
            range: Range::Limited,
            display: Display { width: 64, height: 64, rotation: Rotation::None },
        };
        let thresholds = Thresholds { confidence: 0.25, iou: 0.45, classes: None, max_detections: 300 };
        let mut detector = Detector::new(&Runtime::load().unwrap(), &checked.model).unwrap();
        detector.detect(&picture, &thresholds).unwrap().to_vec()
    };
    let inside = Folder::of(&bytes_of("v8.onnx")).check().unwrap();
    let beside = with_weights().check().unwrap();
    let names: Vec<_> = beside.report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model.onnx", "external.bin"]);
    assert_eq!((boxes(&beside), boxes(&beside).len()), (boxes(&inside), 3));
    let linked = Folder::of(&bytes_of("external.onnx")).with("weights", bytes_of("external.bin"));
    symlink("weights", linked.path("external.bin")).unwrap();
    assert_eq!(linked.check().unwrap().model.sha256, beside.model.sha256, "a link inside the folder");
}

fn weights_elsewhere_are_denied() {
    let outer = Folder::new().with("other.bin", bytes_of("external.bin"));
    for place in ["../other.bin", "/tmp/abc.bin", "x/../../.bin", "./weight.bin"] {
        let mut bytes = bytes_of("external.onnx");
        while let Some(start) = bytes.windows(12).position(|window| window == b"external.bin") {
            bytes[start..start + 12].copy_from_slice(place.as_bytes());
        }
        Folder::of(&bytes).refused(ErrorCode::ModelDenied, &[place, "outside its folder"]);
    }
    let linked = Folder::of(&bytes_of("external.onnx"));
    symlink(outer.path("other.bin"), linked.path("external.bin")).unwrap();
    linked.refused(ErrorCode::ModelDenied, &["external.bin", "a link"]);
}

/// ONNX Runtime, which has the model as bytes, would look for all others in the folder of the process.
fn only_weights_and_constants_of_the_main_graph() {
    let tensor = external_tensor("w.bin");
    let attribute = |number, message: &[u8]| [text(1, "value"), field(number, message)].concat();
    let node = |kind: &str, attribute: &[u8]| [text(2, "made"), text(4, kind), field(5, attribute)].concat();
    let dense = [attribute(5, &tensor), vec![0xa0, 0x01, 4]].concat();
    let constant = field(1, &node("Constant", &dense));
    let sparse = [field(1, &tensor), field(2, &tensor)];
    let in_graph = |graph: &[u8]| field(7, &field(1, &node("If", &attribute(6, graph))));
    let cases = [
        ("values of a sparse weight", field(7, &field(15, &sparse[0]))),
        ("indices of a sparse weight", field(7, &field(15, &sparse[1]))),
        ("a sparse constant", field(7, &field(1, &node("Constant", &attribute(22, &sparse[0]))))),
        ("many sparse ones", field(7, &field(1, &node("Constant", &attribute(23, &sparse[1]))))),
        ("a constant that is a list", field(7, &field(1, &node("Constant", &attribute(10, &tensor))))),
        ("another operation's", field(7, &field(1, &node("ConstantOfShape", &dense)))),
        ("an inner graph's weight", in_graph(&field(5, &tensor))),
        ("an inner graph's sparse weight", in_graph(&field(15, &sparse[0]))),
        ("an inner graph's constant", in_graph(&constant)),
        ("one of many inner graphs", field(7, &field(1, &node("If", &attribute(11, &constant))))),
        ("a function's constant", field(25, &field(7, &node("Constant", &dense)))),
        ("a function's default", field(25, &field(11, &dense))),
        ("a function's sparse default", field(25, &field(11, &attribute(22, &sparse[0])))),
        ("a function's default graph", field(25, &field(11, &attribute(6, &constant)))),
    ];
    for (what, bytes) in cases {
        println!("  {what}:");
        let folder = Folder::of(&[bytes_of("v8.onnx"), bytes].concat()).with("w.bin", [0; 4]);
        folder.refused(ErrorCode::ModelInvalid, &["`weight`", "w.bin", "main graph"]);
    }
    let files = |bytes: &[u8]| {
        let checked = Folder::of(&with_more(bytes)).with("w.bin", [0; 4]).check().unwrap();
        checked.report.files.into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    for good in [constant, field(5, &tensor)] {
        assert_eq!(files(&good), ["model.onnx", "w.bin"]);
    }
}

fn weights_that_are_not_there_or_too_few_are_named() {
    let folder = Folder::of(&bytes_of("external.onnx"));
    folder.refused(ErrorCode::ModelInvalid, &["external.bin", "cannot be read"]);
    let folder = Folder::of(&bytes_of("external.onnx"));
    fs::create_dir(folder.path("external.bin")).unwrap();
    folder.refused(ErrorCode::ModelInvalid, &["external.bin", "not a file"]);
    let weights = bytes_of("external.bin");
    let folder = Folder::of(&bytes_of("external.onnx")).with("external.bin", &weights[..weights.len() / 2]);
    folder.refused(ErrorCode::ModelInvalid, &["External initializer: c2", "out of bounds"]);
    Folder::of(&bytes_of("external.onnx"))
        .with("external.bin", "")
        .refused(ErrorCode::ModelInvalid, &["out of bounds"]);
}

/// An operation that holds a graph that holds an operation, and so on.
fn nested_ifs(depth: usize) -> Vec<u8> {
    let holds = |graph: Vec<u8>| {
        let attribute = [text(1, "then_branch"), field(6, &graph), vec![0xa0, 0x01, 5]].concat();
        field(1, &[text(1, "condition"), text(2, "result"), text(4, "If"), field(5, &attribute)].concat())
    };
    (0..depth).fold(Vec::new(), |graph, _| holds(graph))
}

fn what_nests_too_deep_is_refused() {
    for depth in [40, 5000] {
        let bytes = with_more(&nested_ifs(depth));
        Folder::of(&bytes).refused(ErrorCode::ModelInvalid, &["nested deeper"]);
    }
    // What our reader steps over, and ONNX Runtime's does not: a sequence of sequences, and groups of groups.
    let sequences = (0..5000).fold(Vec::new(), |element, _| field(4, &field(1, &element)));
    let bytes = with_more(&field(13, &[text(1, "value"), field(2, &sequences)].concat()));
    Folder::of(&bytes).refused(ErrorCode::ModelInvalid, &["model"]);
    let groups = [[0xf3, 0x06].repeat(100_000), [0xf4, 0x06].repeat(100_000)].concat();
    Folder::of(&with_more(&groups)).refused(ErrorCode::ModelInvalid, &["nested deeper"]);
    // A function that is made of itself has no end at all.
    Folder::of(&bytes_of("endless_function.onnx")).refused(ErrorCode::ModelInvalid, &["Endless"]);
}

fn what_the_runtime_does_not_know_is_refused_by_name() {
    Folder::of(&bytes_of("custom_operator.onnx")).refused(ErrorCode::ModelInvalid, &["Levitate"]);
    Folder::of(&bytes_of("future_opset.onnx")).refused(ErrorCode::ModelInvalid, &["9999"]);
    Folder::of(&bytes_of("not_finite.onnx")).refused(ErrorCode::ModelInvalid, &["output0", "not finite"]);
}

fn what_never_ends_is_ended() {
    let limits = Limits { time: Duration::from_secs(2), ..LIMITS };
    let folder = Folder::of(&bytes_of("endless_loop.onnx"));
    folder.refused_within(limits, ErrorCode::ModelInvalid, &["took longer than 2 s"]);
}

fn what_needs_more_memory_than_allowed_is_refused() {
    for name in ["huge_output.onnx", "huge_middle.onnx"] {
        Folder::of(&bytes_of(name)).refused(ErrorCode::ModelInvalid, &["more than 512 MiB of memory"]);
    }
    // Operations of two bytes each, which are a hundred when they are read.
    let empty = with_more(&[0x0a, 0x00].repeat(10 << 20));
    Folder::of(&empty).refused(ErrorCode::ModelInvalid, &["more than 512 MiB of memory"]);
    // Weights that do not fit, as zeros that no disk has.
    let folder = Folder::of(&bytes_of("external.onnx"));
    fs::File::create(folder.path("external.bin")).unwrap().set_len(1 << 30).unwrap();
    folder.refused(ErrorCode::ModelInvalid, &["more than 512 MiB of memory"]);
    let folder = Folder::new();
    fs::File::create(folder.onnx()).unwrap().set_len(1 << 30).unwrap();
    folder.refused(ErrorCode::ModelInvalid, &["more than 512 MiB of memory"]);
    let folder = Folder::new();
    fs::File::create(folder.onnx()).unwrap().set_len(3 << 30).unwrap();
    folder.refused(ErrorCode::ModelNotFound, &["larger than 2147483648 bytes"]);
    Folder::of(&bytes_of("v8.onnx")).check().unwrap();
}

/// A v8 head as a `model.toml` says, for so many classes.
fn with_classes(rows: i64) -> Folder {
    let bytes = model(&[value("images", &[1, 3, 64, 64])], &[value("output0", &[1, rows, 84])], &[]);
    Folder::of(&bytes).with("model.toml", "head = \"v8\"\n")
}

fn classes_are_neither_none_nor_a_million() {
    with_classes(4).refused(ErrorCode::ModelUnrecognised, &["0 classes"]);
    with_classes(1_000_004).refused(ErrorCode::ModelUnrecognised, &["1000000 classes", "65536"]);
    let named = |names: &str| Folder::of(&[bytes_of("v8.onnx"), field(14, &entry("names", names))].concat());
    named("{}").refused(ErrorCode::ModelUnrecognised, &["names no class"]);
    let million: Vec<String> = (0..1_000_000).map(|id| format!("{id}: 'class {id}'")).collect();
    named(&format!("{{{}}}", million.join(", "))).refused(ErrorCode::ModelUnrecognised, &["more than 65536"]);
    let toml = |text: &str| Folder::of(&bytes_of("v8.onnx")).with("model.toml", text);
    toml("classes = []").refused(ErrorCode::ModelInvalid, &["classes lists 0 names"]);
    toml(&format!("classes = [{}]", "\"a\",".repeat(1_000_000))).refused(ErrorCode::ModelInvalid, &["model.toml"]);
    toml(&format!("classes = [{}]", "\"\",".repeat(100_000))).refused(ErrorCode::ModelInvalid, &["100000 names"]);
    toml(&format!("classes = {}", "[".repeat(100_000))).refused(ErrorCode::ModelInvalid, &["model.toml: line 1: "]);
    toml(&format!("{}x = 1", "a.".repeat(100_000))).refused(ErrorCode::ModelInvalid, &["model.toml"]);
    toml("classes = [\"a\\u001b[2J\", 1]").refused(ErrorCode::ModelInvalid, &["model.toml"]);
}

fn sizes_that_no_picture_has_are_refused() {
    let sized = |input: &[i64], output: &[i64]| {
        let bytes = model(&[value("images", input)], &[value("output0", output)], &[]);
        Folder::of(&bytes).with("model.toml", "head = \"v8\"\n")
    };
    let giga = 1_000_000_000;
    let refused = |folder: Folder, words: &[&str]| folder.refused(ErrorCode::ModelUnrecognised, words);
    refused(sized(&[1, 3, giga, giga], &[1, 84, 84]), &["input side of 1000000000"]);
    refused(sized(&[giga, 3, 64, 64], &[giga, 84, 84]), &["batch is fixed to 1000000000"]);
    refused(sized(&[1, 3, 64, 64], &[1, giga, giga]), &["999999996 classes"]);
    refused(sized(&[1; 1000], &[1; 1000]), &["three colour channels"]);
    // Nothing in it makes its output, whatever sizes it says.
    for size in [1 << 40, i64::MAX, -1, i64::MIN] {
        sized(&[size, 3, size, size], &[1, 84, size]).refused(ErrorCode::ModelInvalid, &["model"]);
    }
}

/// Operations that only hand their input on, the first of them last.
fn chain(length: usize) -> Vec<u8> {
    let link = |index: usize| {
        let input = text(1, &if index == 0 { "images".to_owned() } else { format!("n{index}") });
        let output = if index + 1 == length { "output0".to_owned() } else { format!("n{}", index + 1) };
        field(1, &[input, text(2, &output), text(4, "Identity")].concat())
    };
    (0..length).rev().flat_map(link).collect()
}

#[track_caller]
fn takes_a_moment(onnx: &[u8], toml: Option<&str>) -> String {
    let start = Instant::now();
    let error = recognise_bytes(onnx, toml).unwrap_err();
    println!("  {:.2} s for {} KiB", start.elapsed().as_secs_f64(), onnx.len() >> 10);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    error.to_string()
}

fn many_operations_take_a_moment() {
    let nodes = chain(300_000);
    for output in [[1, 84, 85], [1, 86, 84]] {
        let bytes = model(&[value("images", &[1, 3, 64, 64])], &[value("output0", &output)], &nodes);
        let text = takes_a_moment(&bytes, None);
        assert!(text.contains("fits no known head"), "{text}");
    }
    // Boxes from a sum of many, each of which leads through all of the others.
    let sum: Vec<u8> = (0..300_000).flat_map(|_| text(1, "output0")).collect();
    for kind in ["Add", "Mul", "Identity", "Concat"] {
        let layer = field(1, &[sum.clone(), text(2, "layer"), text(4, kind)].concat());
        let sigmoid = field(1, &[text(1, "layer"), text(2, "pred_boxes"), text(4, "Sigmoid")].concat());
        let outputs = [value("logits", &[1, 9, 4]), value("pred_boxes", &[1, 9, 4])];
        let bytes = model(&[value("images", &[1, 3, 64, 64])], &outputs, &[nodes.clone(), layer, sigmoid].concat());
        let text = takes_a_moment(&bytes, None);
        assert!(text.contains("detr-softmax"), "{text}");
    }
}

fn many_outputs_are_counted_before_they_are_looked_for() {
    let names: Vec<String> = (0..200_000).map(|index| format!("o{index}")).collect();
    let outputs: Vec<Vec<u8>> = names.iter().map(|name| value(name, &[1, 84, 84])).collect();
    let bytes = model(&[value("images", &[1, 3, 64, 64])], &outputs, &[]);
    let listed = format!("head = \"v8\"\noutputs = [\"{}\"]\n", names.join("\",\""));
    for toml in ["head = \"v8\"\n", &listed] {
        let text = takes_a_moment(&bytes, Some(toml));
        assert!(text.contains("does not read 200000 outputs") && text.len() < 4000, "{text}");
    }
}

fn names_out_of_a_file_steer_no_terminal() {
    let name = format!("\u{1b}[2J\n{}", "x".repeat(1 << 20));
    let bytes = model(&[value(&name, &[1, 3, 64, 64])], &[value(&name, &[1, 2, 3])], &[]);
    Folder::of(&bytes).refused(ErrorCode::ModelUnrecognised, &["[2J"]);
    let task = [bytes_of("v8.onnx"), field(14, &entry("task", &name))].concat();
    Folder::of(&task).refused(ErrorCode::ModelUnrecognised, &["task"]);
    let kind = field(1, &[text(1, "images"), text(2, "more"), text(4, &name)].concat());
    Folder::of(&with_more(&kind)).refused(ErrorCode::ModelInvalid, &["model"]);
}

fn a_file_that_is_replaced_all_the_time() {
    let folder = Folder::of(&bytes_of("v8.onnx"));
    let stop = AtomicBool::new(false);
    let (mut whole, mut changed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for name in ["v5.onnx", "v8.onnx"].iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                fs::copy(graph(name), folder.path("next")).unwrap();
                fs::rename(folder.path("next"), folder.onnx()).unwrap();
            }
        });
        for _ in 0..30 {
            match folder.check() {
                Ok(Checked { model, report }) => {
                    let expected = if report.manifest.head == HeadFamily::V8 { "v8.onnx" } else { "v5.onnx" };
                    assert!(**model.bytes() == bytes_of(expected), "the bytes are not those that were checked");
                    whole += 1;
                }
                Err(ModelError::Changed { .. }) => changed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("  {whole} times whole, {changed} times changed");
    assert!(changed > 0, "it was never replaced in time");
}

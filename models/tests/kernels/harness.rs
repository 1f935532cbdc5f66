//! The program that runs the kernels on this machine's CPU: compiled once, started once, asked over pipes.

use framefleet_native::cuda::{HeadParameters, InputParameters, PictureParameters, Plain, Survivor};
use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

pub struct Harness {
    requests: ChildStdin,
    answers: ChildStdout,
    _process: Child,
}

/// What the survivors kernel gave.
pub struct Survivors {
    pub count: usize,
    /// As many as there was room for.
    pub list: Vec<Survivor>,
}

static HARNESS: LazyLock<Mutex<Harness>> = LazyLock::new(|| Mutex::new(Harness::start()));

impl Harness {
    pub fn get() -> MutexGuard<'static, Self> {
        HARNESS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing may be fused, as in `native/src/cuda/compile.rs`. The sanitizers see what no comparison would: reads beyond
    /// a picture, and sums beyond their type.
    fn start() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../native/src/cuda/kernels");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("harness");
        let compiled = Command::new("c++")
            .args(["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"])
            .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
            .arg("-I")
            .arg(kernels)
            .arg(tests.join("harness.cpp"))
            .arg("-o")
            .arg(&program)
            .status()
            .expect("./dev setup installs a C++ compiler");
        assert!(compiled.success(), "the kernels do not compile for a CPU");
        let mut process =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was just compiled");
        let (requests, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { requests, answers, _process: process }
    }

    pub fn layouts(&mut self) -> Vec<usize> {
        self.ask(&0_u32.to_le_bytes());
        let count = self.number();
        (0..count).map(|_| self.number()).collect()
    }

    /// An input as the kernel leaves it, of whatever bytes it held before.
    pub fn preprocess(&mut self, input: &InputParameters, pictures: &[(PictureParameters, Vec<u8>)]) -> Vec<u8> {
        let count = pictures.len() as u32;
        let output = input.bytes(count);
        let mut request = 1_u32.to_le_bytes().to_vec();
        request.extend(InputParameters::bytes_of(&[*input]));
        request.extend(count.to_le_bytes());
        request.extend(output.to_le_bytes());
        for (parameters, samples) in pictures {
            request.extend(PictureParameters::bytes_of(&[*parameters]));
            append(&mut request, samples);
        }
        self.ask(&request);
        self.take(output as usize)
    }

    /// `outputs` are the first, and the last if that is another.
    pub fn survivors(&mut self, head: &HeadParameters, outputs: &[Vec<u8>]) -> Survivors {
        let mut request = 2_u32.to_le_bytes().to_vec();
        request.extend(HeadParameters::bytes_of(&[*head]));
        append(&mut request, &outputs[0]);
        request.extend((outputs.len() as u32).to_le_bytes());
        outputs[1..].iter().for_each(|output| append(&mut request, output));
        self.ask(&request);
        let count = self.number();
        let listed = self.number();
        Survivors { count, list: (0..listed).map(|_| self.survivor()).collect() }
    }

    /// The half nearest to each value, and that half as f32.
    pub fn halves(&mut self, values: &[f32]) -> Vec<(u16, f32)> {
        // A pipe holds 64 KiB, and the answer begins before the request ends.
        let mut halves = Vec::with_capacity(values.len());
        for values in values.chunks(4096) {
            let mut request = [3_u32, values.len() as u32].map(u32::to_le_bytes).concat();
            request.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.ask(&request);
            for answer in self.take(6 * values.len()).as_chunks::<6>().0 {
                let [half @ .., a, b, c, d] = *answer;
                halves.push((u16::from_le_bytes(half), f32::from_le_bytes([a, b, c, d])));
            }
        }
        halves
    }

    fn survivor(&mut self) -> Survivor {
        let bytes = self.take(size_of::<Survivor>());
        let words: Vec<[u8; 4]> = bytes.as_chunks::<4>().0.to_vec();
        let float = |index: usize| f32::from_le_bytes(words[index]);
        Survivor {
            picture: u32::from_le_bytes(words[0]),
            place: u32::from_le_bytes(words[1]),
            class_id: i32::from_le_bytes(words[2]),
            score: float(3),
            objectness: float(4),
            values: [float(5), float(6), float(7), float(8)],
        }
    }

    fn ask(&mut self, request: &[u8]) {
        let sent = self.requests.write_all(request).and_then(|()| self.requests.flush());
        sent.expect("the harness ended, and said why");
    }

    fn number(&mut self) -> usize {
        let bytes = self.take(4);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.answers.read_exact(&mut bytes).expect("the harness ended, and said why");
        bytes
    }
}

fn append(request: &mut Vec<u8>, bytes: &[u8]) {
    request.extend((bytes.len() as u64).to_le_bytes());
    request.extend(bytes);
}

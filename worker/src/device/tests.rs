use super::*;

/// A machine that nobody has. Its GPUs are their numbers.
#[derive(Default)]
struct Invented {
    gpus: usize,
    missing: Vec<CudaError>,
    /// What the driver says instead of a number.
    broken: Option<CudaError>,
    /// What the GPUs say when they are taken up.
    occupied: Option<CudaError>,
}

impl Machine for Invented {
    type Gpu = usize;

    fn gpus(&self) -> Result<usize, CudaError> {
        self.broken.clone().map_or(Ok(self.gpus), Err)
    }

    fn missing(&self) -> Vec<CudaError> {
        self.missing.clone()
    }

    fn open(&self, ordinal: usize) -> Result<usize, CudaError> {
        let found = format!("{} can be seen", self.gpus);
        match &self.occupied {
            Some(problem) => Err(problem.clone()),
            None if ordinal < self.gpus => Ok(ordinal),
            None => Err(CudaError::NoSuchDevice { ordinal, found }),
        }
    }
}

fn lacks(what: &str, remedy: &str) -> CudaError {
    CudaError::Missing { what: what.to_owned(), reason: "not found".to_owned(), remedy: remedy.to_owned() }
}

fn cudnn() -> CudaError {
    lacks("libcudnn.so.9 cannot be loaded", "`./dev setup --gpu` installs it")
}

fn chosen(wish: &str, machine: &Invented) -> Result<Chosen<usize>, DeviceError> {
    choose(wish.parse().unwrap(), machine)
}

fn refused(wish: &str, machine: &Invented) -> DeviceError {
    chosen(wish, machine).unwrap_err()
}

/// The note, where the CPU was chosen.
fn cpu(chosen: &Chosen<usize>) -> Option<&str> {
    match chosen {
        Chosen::Cpu { note } => note.as_deref(),
        Chosen::Cuda(ordinal) => panic!("cuda:{ordinal} was chosen"),
    }
}

#[test]
fn without_a_gpu_auto_takes_the_cpu_and_says_nothing() {
    // Nor are the libraries asked for.
    let machine = Invented { missing: vec![cudnn()], ..Invented::default() };
    assert_eq!(cpu(&chosen("auto", &machine).unwrap()), None);
}

#[test]
fn where_nothing_is_missing_auto_takes_the_first_gpu() {
    let machine = Invented { gpus: 2, ..Invented::default() };
    assert!(matches!(chosen("auto", &machine), Ok(Chosen::Cuda(0))));
    assert!(matches!(chosen("cuda", &machine), Ok(Chosen::Cuda(0))));
    assert!(matches!(chosen("cuda:1", &machine), Ok(Chosen::Cuda(1))));
}

#[test]
fn the_cpu_is_taken_where_it_is_asked_for() {
    let machine = Invented { gpus: 2, ..Invented::default() };
    assert_eq!(cpu(&chosen("cpu", &machine).unwrap()), None);
}

#[test]
fn auto_says_why_a_gpu_that_is_there_is_not_used_and_what_to_do() {
    let machine = Invented { gpus: 1, missing: vec![cudnn()], ..Invented::default() };
    let chosen = chosen("auto", &machine).unwrap();
    let note = cpu(&chosen).unwrap();
    assert!(note.contains("libcudnn.so.9") && note.contains("`./dev setup --gpu`"), "{note}");
    assert_eq!(note.lines().count(), 1);
}

#[test]
fn auto_says_that_a_driver_does_not_start_and_that_a_gpu_is_full() {
    let broken = Some(lacks("the NVIDIA driver does not start", "restart the machine"));
    let not_starting = chosen("auto", &Invented { gpus: 1, broken, ..Invented::default() }).unwrap();
    assert!(cpu(&not_starting).unwrap().contains("restart the machine"));
    let occupied = Some(CudaError::OutOfMemory { action: "take up the GPU" });
    let full = chosen("auto", &Invented { gpus: 1, occupied, ..Invented::default() }).unwrap();
    assert!(cpu(&full).unwrap().contains("nvidia-smi"));
}

#[test]
fn a_gpu_that_is_asked_for_by_number_is_refused_with_everything_that_is_missing() {
    let driver = lacks("there is no NVIDIA driver", "install the driver");
    let error = refused("cuda:0", &Invented { missing: vec![driver, cudnn()], ..Invented::default() });
    assert_eq!(error.code(), ErrorCode::DeviceUnavailable);
    let text = error.to_string();
    for part in ["--device cuda:0", "no NVIDIA driver", "install the driver", "libcudnn.so.9", "`./dev setup --gpu`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_old_driver_is_refused_although_everything_else_is_there() {
    let old = lacks("the NVIDIA driver is too old", "install driver 580");
    let machine = Invented { gpus: 1, missing: vec![old], ..Invented::default() };
    assert!(refused("cuda:0", &machine).to_string().contains("install driver 580"));
}

#[test]
fn a_gpu_beyond_the_last_is_refused_with_how_many_there_are() {
    let error = refused("cuda:3", &Invented { gpus: 2, ..Invented::default() });
    assert_eq!(error.code(), ErrorCode::DeviceUnavailable);
    assert!(error.to_string().contains("no cuda:3: 2 can be seen"), "{error}");
}

#[test]
fn a_full_gpu_keeps_the_code_of_full_memory() {
    let occupied = Some(CudaError::OutOfMemory { action: "take up the GPU" });
    let error = refused("cuda:0", &Invented { gpus: 1, occupied, ..Invented::default() });
    assert_eq!(error.code(), ErrorCode::DeviceMemory);
}

#[test]
fn a_device_is_written_as_it_is_read() {
    for text in ["auto", "cpu", "cuda:0", "cuda:11"] {
        assert_eq!(text.parse::<DeviceWish>().unwrap().to_string(), text);
    }
    assert_eq!("cuda".parse(), Ok(DeviceWish::Cuda(0)));
    assert_eq!("".parse(), Ok(DeviceWish::Auto), "a variable that nobody set");
}

#[test]
fn what_is_no_device_is_refused_with_what_can_be_said() {
    for (text, hint) in [("gpu", "cuda:0"), ("CPU", "cpu"), ("cuda:x", "cuda:0"), ("cuda:-1", "number")] {
        let error = text.parse::<DeviceWish>().unwrap_err();
        assert!(error.contains(hint), "{text}: {error}");
    }
}

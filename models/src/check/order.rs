use super::ModelPlace;
use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

/// What trying a model out may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the child has said what it saw.
    pub time: Duration,
    /// Bytes that the child may map beyond what it has before it opens the model.
    pub memory: u64,
}

/// Bytes: no detector for video needs more, and a smaller machine gives less.
const MOST_MEMORY: u64 = 8 << 30;

impl Default for Limits {
    /// A minute; 8 GiB or three quarters of the memory that is available, whichever is less.
    fn default() -> Self {
        let available = available_memory().unwrap_or(MOST_MEMORY);
        Self { time: Duration::from_mins(1), memory: MOST_MEMORY.min(available / 4 * 3) }
    }
}

fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What a child is told to do, as it travels in its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The only folder that the child may read.
    pub folder: PathBuf,
    pub place: ModelPlace,
    pub limits: Limits,
    /// The process that the child does not outlive.
    pub parent: u32,
}

impl Order {
    /// To try out the model at a place, for this process.
    pub fn new(place: &ModelPlace, limits: Limits) -> Self {
        let folder = match place.onnx.parent() {
            Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
            Some(folder) => folder.to_owned(),
            None => place.onnx.clone(),
        };
        Self { folder, place: place.clone(), limits, parent: std::process::id() }
    }

    pub fn arguments(&self) -> Vec<OsString> {
        vec![
            self.folder.clone().into(),
            self.place.name.clone().into(),
            self.place.onnx.clone().into(),
            self.place.toml.clone().into(),
            self.limits.time.as_millis().to_string().into(),
            self.limits.memory.to_string().into(),
            self.parent.to_string().into(),
        ]
    }

    /// The order in a child's arguments, without those that say that it is a child; `None` where they are none.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let [folder, name, onnx, toml, time, memory, parent] = <[OsString; 7]>::try_from(arguments).ok()?;
        let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
        let place = ModelPlace { name: name.into_string().ok()?, version: None, onnx: onnx.into(), toml: toml.into() };
        let limits = Limits { time: Duration::from_millis(number(time)?), memory: number(memory)? };
        Some(Self { folder: folder.into(), place, limits, parent: u32::try_from(number(parent)?).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_back_from_its_arguments() {
        let place = ModelPlace {
            name: "a name".to_owned(),
            version: None,
            onnx: "/models/a name.onnx".into(),
            toml: "/models/a name.toml".into(),
        };
        let order = Order::new(&place, Limits { time: Duration::from_millis(1500), memory: 12345 });
        assert_eq!(order.folder, PathBuf::from("/models"));
        assert_eq!(Order::from_arguments(order.arguments()), Some(order));
        assert_eq!(Order::from_arguments(["/models".into()]), None);
    }
}

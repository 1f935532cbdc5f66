//! The same for programs. What is not known is null.

use super::Choice;
use crate::device::{Inventory, Properties, Seen};
use framefleet_models::Installed;
use framefleet_native::cuda::libraries::{Component, State};
use framefleet_native::cuda::nvdec::Capabilities;
use framefleet_native::cuda::{CudaError, Memory};
use serde_json::{Value, json};

pub fn document(inventory: &Inventory) -> Value {
    let choice = Choice::on(inventory);
    let seen = inventory.gpus.as_deref().unwrap_or_default();
    let problems = inventory.libraries.missing().into_iter().chain(inventory.gpus.as_ref().err().cloned());
    json!({
        "cpu": { "model": inventory.cpu.model, "cores": inventory.cpu.cores },
        "driver": inventory.has_driver().then(|| json!({ "release": inventory.driver_release, "cuda": version(inventory) })),
        "gpus": seen.iter().enumerate().map(|(ordinal, seen)| gpu(ordinal, seen)).collect::<Vec<_>>(),
        "onnxruntime": { "cpu": build(inventory.onnxruntime.as_ref()), "gpu": build(inventory.onnxruntime_for_gpu.as_ref()) },
        "libraries": inventory.libraries.iter().map(|(component, state)| library(component, state)).collect::<Vec<_>>(),
        "missing": problems.map(|problem| lack(&problem)).collect::<Vec<_>>(),
        "auto": { "device": choice.device, "reason": choice.why },
    })
}

fn version(inventory: &Inventory) -> Option<String> {
    inventory.libraries.of(Component::Driver).version().map(|version| version.to_string())
}

fn gpu(ordinal: usize, seen: &Seen) -> Value {
    let device = format!("cuda:{ordinal}");
    let Properties { name, compute_capability: (major, minor), memory, busy_percent, decoder, problem } = match seen {
        Ok(properties) => properties,
        Err(problem) => return json!({ "device": device, "problem": problem.to_string() }),
    };
    json!({
        "device": device,
        "name": name,
        "compute_capability": format!("{major}.{minor}"),
        "memory_bytes": memory.as_ref().ok().map(|Memory { free, total }| json!({ "free": free, "total": total })),
        "busy_percent": busy_percent,
        "problem": problem.as_ref().map(ToString::to_string),
        "decoder": decoder.as_ref().map_or_else(|problem| json!({ "problem": problem.to_string() }), decodes),
    })
}

fn decodes(able: &Capabilities) -> Value {
    let kinds = able.all().iter().filter(|kind| kind.supported).map(|kind| {
        let ((width, height), codec) = (kind.largest, kind.codec.to_string());
        json!({
            "codec": codec, "chroma": kind.chroma.to_string(), "depth": kind.depth,
            "width": width, "height": height, "engines": kind.engines,
        })
    });
    json!({ "engines": able.engines(), "decodes": kinds.collect::<Vec<_>>() })
}

fn build(build: Option<&Installed>) -> Value {
    let Some(Installed { path, version }) = build else { return Value::Null };
    json!({ "version": version.as_ref().ok(), "path": path, "problem": version.as_ref().err() })
}

fn library(component: Component, state: &State) -> Value {
    let path = if let State::Found { path, .. } = state { path.as_ref() } else { None };
    let reason = state.reason();
    json!({
        "name": component.title(), "file": component.file(), "found": reason.is_none(), "path": path, "reason": reason,
        "version": state.version().map(|version| version.to_string()), "needed": component.optional_remedy().is_none(),
    })
}

fn lack(problem: &CudaError) -> Value {
    match problem {
        CudaError::Missing { what, reason, remedy } => json!({ "what": what, "reason": reason, "remedy": remedy }),
        other => json!({ "what": other.to_string(), "reason": null, "remedy": null }),
    }
}

//! Volumes of a pod: folders of this machine, and what stands for them in its arguments and variables.

use super::agent::Agent;
use super::environment::{Sources, Variables};
use k8s_openapi::api::core::v1::{Container, Volume};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the pod mounts something, and what that is.
#[derive(Debug)]
pub struct Volumes {
    mounts: Vec<(String, PathBuf)>,
}

impl Volumes {
    /// Makes what is the pod's own, in its folder. Or says what is missing.
    pub fn make(agent: &Agent, sources: &Sources, container: &Container, folder: &Path) -> Result<Self, String> {
        let spec = sources.pod.spec.as_ref().expect("a pod has one");
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| format!("no volume {}", mount.name))?;
            if let Some(place) = place(agent, sources, volume, &folder.join(&mount.name))? {
                let place = mount.sub_path.as_ref().map_or(place.clone(), |path| place.join(path));
                mounts.push((mount.mount_path.trim_end_matches('/').to_owned(), place));
            }
        }
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(Self { mounts })
    }

    /// `/models`, `/models/cells.onnx` and `--models=/models`, each with the folder that is mounted there.
    pub fn meant_by(&self, text: &str) -> String {
        let (flag, path) = match text.split_once('=') {
            Some((flag, path)) if flag.starts_with("--") => (&text[..=flag.len()], path),
            _ => ("", text),
        };
        let meant = self.mounts.iter().find_map(|(mount, place)| {
            let rest = path.strip_prefix(mount.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{flag}{}{rest}", place.display()))
        });
        meant.unwrap_or_else(|| text.to_owned())
    }
}

/// `None` for what is not there as a folder, such as the token of a service account.
fn place(agent: &Agent, sources: &Sources, volume: &Volume, own: &Path) -> Result<Option<PathBuf>, String> {
    if let Some(claim) = &volume.persistent_volume_claim {
        let known = agent.setup().claims.iter().find(|(name, _)| *name == claim.claim_name);
        let known = known.ok_or_else(|| format!("the test node has no folder for the claim {}", claim.claim_name))?;
        return Ok(Some(known.1.clone()));
    }
    if let Some(folder) = &volume.host_path {
        return Ok(Some(folder.path.clone().into()));
    }
    let files = if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        chosen(sources.secret(name, secret.optional)?, secret.items.as_deref().map(key_and_path))
    } else if let Some(map) = &volume.config_map {
        chosen(sources.config_map(&map.name, map.optional)?, map.items.as_deref().map(key_and_path))
    } else if volume.empty_dir.is_some() {
        Variables::new()
    } else {
        return Ok(None);
    };
    fs::create_dir_all(own).unwrap();
    for (name, content) in files {
        fs::write(own.join(name), content).unwrap();
    }
    Ok(Some(own.to_owned()))
}

fn key_and_path(items: &[k8s_openapi::api::core::v1::KeyToPath]) -> Vec<(&str, &str)> {
    items.iter().map(|item| (item.key.as_str(), item.path.as_str())).collect()
}

/// All files, or some under other names.
fn chosen(files: Variables, items: Option<Vec<(&str, &str)>>) -> Variables {
    let Some(items) = items else { return files };
    let item = |(key, path): &(&str, &str)| Some(((*path).to_owned(), files.get(*key)?.clone()));
    items.iter().filter_map(item).collect()
}

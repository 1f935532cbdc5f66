//! Where the programs of the control plane lie.

use framefleet_contract::identity::Sha256;
use std::env;
use std::path::PathBuf;

/// The sources, by which `./dev` names the folder.
const SOURCES: [&str; 8] = [
    include_str!("../../cluster/crds/go.mod"),
    include_str!("../../cluster/crds/go.sum"),
    include_str!("../../cluster/etcd/go.mod"),
    include_str!("../../cluster/etcd/go.sum"),
    include_str!("../../cluster/kubernetes/go.mod"),
    include_str!("../../cluster/kubernetes/go.sum"),
    include_str!("../../cluster/kwok/go.mod"),
    include_str!("../../cluster/kwok/go.sum"),
];
const DIGITS: usize = 12;

pub fn program(name: &str) -> PathBuf {
    folder().join(name)
}

/// A folder of YAML.
pub fn custom_resources() -> PathBuf {
    folder().join("crds")
}

/// What `FRAMEFLEET_CONTROL_PLANE` names, or where `./dev` puts it: such a folder is whole when it is there.
fn folder() -> PathBuf {
    let folder = env::var_os("FRAMEFLEET_CONTROL_PLANE").map_or_else(of_dev, PathBuf::from);
    let hint = "no control plane: run `./dev test`, which builds it and sets FRAMEFLEET_CONTROL_PLANE";
    assert!(folder.is_dir(), "{hint} ({} is no folder)", folder.display());
    folder
}

fn of_dev() -> PathBuf {
    let of_home = || PathBuf::from(env::var_os("HOME").expect("whoever runs tests has a home")).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(of_home, PathBuf::from);
    cache.join("framefleet/control-plane").join(key())
}

fn key() -> String {
    Sha256::of(SOURCES.concat().as_bytes()).as_str()[..DIGITS].to_owned()
}

//! Where Kafka lies.

use std::env;
use std::path::PathBuf;

/// What `FRAMEFLEET_BROKER_JARS` names, or where `./dev` puts it: such a folder is whole when it is there.
pub fn folder() -> PathBuf {
    let folder = env::var_os("FRAMEFLEET_BROKER_JARS").map_or_else(of_dev, PathBuf::from);
    let hint = "no Kafka: run `./dev test`, which fetches it and sets FRAMEFLEET_BROKER_JARS";
    assert!(folder.is_dir(), "{hint} ({} is no folder)", folder.display());
    folder
}

fn of_dev() -> PathBuf {
    let of_home = || PathBuf::from(env::var_os("HOME").expect("whoever runs tests has a home")).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(of_home, PathBuf::from);
    cache.join("framefleet/kafka").join(version())
}

fn version() -> &'static str {
    let pom = include_str!("../../kafka/pom.xml");
    let after = pom.split_once("<kafka.version>").expect("the file names the version").1;
    after.split_once('<').expect("an element that began ends").0
}

//! A container as a process of this machine.

use super::agent::Agent;
use super::environment::{Sources, expanded};
use super::volumes::Volumes;
use crate::keeper;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use kube::ResourceExt;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Ready to be started, again and again.
#[derive(Debug)]
pub struct Prepared {
    words: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
    log: PathBuf,
}

/// Why it is not, in the kubelet's words.
#[derive(Debug)]
pub struct NotYet {
    pub reason: &'static str,
    pub message: String,
}

/// What an image has of itself, as it were, and what tells a program where this machine's libraries lie.
const INHERITED: [&str; 5] = ["PATH", "HOME", "XDG_DATA_HOME", "FRAMEFLEET_ONNXRUNTIME", "TZ"];

pub fn prepare(agent: &Agent, sources: &Sources) -> Result<Prepared, NotYet> {
    let because = |reason| move |message| NotYet { reason, message };
    let spec = sources.pod.spec.as_ref().expect("a pod has one");
    let container = &spec.containers[0];
    let (namespace, name) = (sources.namespace(), sources.pod.name_any());
    let folder = agent.folder().join(format!("{namespace}.{name}"));
    fs::create_dir_all(&folder).unwrap();
    let volumes = Volumes::make(agent, sources, container, &folder).map_err(because("ContainerCreating"))?;
    let variables = sources.variables(container).map_err(because("CreateContainerConfigError"))?;
    let program = program(agent, container).map_err(because("CreateContainerError"))?;
    let arguments = container.args.iter().flatten().map(|argument| expanded(argument, &variables));
    let words = program.into_iter().map(|word| expanded(&word, &variables)).chain(arguments);
    let mut environment: Vec<_> =
        variables.iter().map(|(name, value)| (name.clone(), volumes.meant_by(value))).collect();
    environment.extend(agent.setup().environment.iter().cloned());
    environment.push(("HOSTNAME".to_owned(), name.clone()));
    environment.extend(kubeconfig(sources, spec, &folder).map_err(because("ContainerCreating"))?);
    let words = words.map(|word| volumes.meant_by(&word)).collect();
    Ok(Prepared { words, environment, log: agent.log_file(&namespace, &name), folder })
}

/// What the pod says, or else the image.
fn program(agent: &Agent, container: &Container) -> Result<Vec<String>, String> {
    if let Some(command) = container.command.as_ref().filter(|command| !command.is_empty()) {
        return Ok(command.clone());
    }
    let image = container.image.as_deref().unwrap_or_default();
    let known = agent.setup().entrypoints.iter().find(|(begin, _)| image.starts_with(begin.as_str()));
    let (_, program) = known.ok_or_else(|| format!("the test node knows no program for the image {image}"))?;
    Ok(vec![program.to_str().unwrap().to_owned()])
}

/// Where the pod would be given its service account's token.
fn kubeconfig(sources: &Sources, spec: &PodSpec, folder: &Path) -> Result<Option<(String, String)>, String> {
    let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    let mut parts = projected.flat_map(|volume| volume.sources.iter().flatten());
    if !parts.any(|part| part.service_account_token.is_some()) {
        return Ok(None);
    }
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let access = sources.admin.of_service_account(&sources.namespace(), account, folder);
    let file = access.map_err(|e| e.to_string())?.kubeconfig().to_str().unwrap().to_owned();
    Ok(Some(("KUBECONFIG".to_owned(), file)))
}

impl Prepared {
    /// In a group of its own, with what it starts.
    pub fn start(&self) -> Child {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&self.words).process_group(0).current_dir(&self.folder);
        command.env_clear().envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        keeper::spawn(command)
    }
}

/// Kills the process and what it started, as the end of a container does, and says its exit code.
pub fn kill(process: &mut Child) -> i32 {
    let _ = kill_process_group(Pid::from_child(process), Signal::KILL);
    exit_code(process.wait().unwrap())
}

/// A container's: 128 more than the signal that ended it.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().expect("it exited or a signal ended it"))
}

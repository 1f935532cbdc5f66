//! What a cloud does with nodes: some boot when pods of GPUs find no place, and those that nothing runs on go.

use super::access::Access;
use super::{ControlPlane, Node, NodeSetup};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, PodSpec};
use kube::api::ListParams;
use serde_json::json;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct NodePoolSetup {
    /// What each is like. Its name gets a number.
    pub node: NodeSetup,
    /// From the wish for a node until it is there.
    pub boot: Duration,
    /// Nodes at once, with those that boot.
    pub max: usize,
    /// A node goes when nothing has run on it for so long.
    pub idle: Duration,
}

/// Goes with its nodes when it is dropped.
#[derive(Debug)]
pub struct NodePool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Member>,
    /// When they are there.
    booting: VecDeque<Instant>,
    registered: usize,
}

#[derive(Debug)]
struct Member {
    node: Node,
    /// Something ran on it, or it began.
    busy_at: Instant,
}

const PAUSE: Duration = Duration::from_millis(200);
const GPU: &str = "nvidia.com/gpu";

impl NodePool {
    pub fn start(control_plane: &ControlPlane, setup: NodePoolSetup) -> Self {
        let shared = Arc::<Shared>::default();
        let cloud = Cloud {
            admin: control_plane.admin().clone(),
            folder: control_plane.folder().to_owned(),
            setup,
            shared: Arc::clone(&shared),
        };
        let thread = thread::spawn(move || {
            while !cloud.shared.is_stopped.load(Ordering::SeqCst) {
                // The API server may be away.
                let _ = cloud.turn();
                thread::park_timeout(PAUSE);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// That are there.
    pub fn nodes(&self) -> usize {
        self.shared.state.lock().unwrap().nodes.len()
    }

    pub fn booting(&self) -> usize {
        self.shared.state.lock().unwrap().booting.len()
    }

    /// Nodes that have ever been there.
    pub fn registered(&self) -> usize {
        self.shared.state.lock().unwrap().registered
    }

    /// What a pod's processes printed, if it is or was on a node that is there.
    pub fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        self.shared.state.lock().unwrap().nodes.iter().find_map(|member| member.node.log(namespace, pod))
    }

    /// The machine of one that runs a pod is gone, as [`Node::lose`] has it. Says which.
    pub fn lose_a_busy_one(&self) -> Option<String> {
        let mut state = self.shared.state.lock().unwrap();
        let place = state.nodes.iter().position(|member| member.node.running_pods() > 0)?;
        let lost = state.nodes.remove(place).node;
        let name = lost.name().to_owned();
        lost.lose();
        Some(name)
    }
}

impl Drop for NodePool {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Cloud {
    admin: Access,
    folder: PathBuf,
    setup: NodePoolSetup,
    shared: Arc<Shared>,
}

impl Cloud {
    fn turn(&self) -> Result<(), kube::Error> {
        let wanted = self.wanted()?;
        let mut state = self.shared.state.lock().unwrap();
        let now = Instant::now();
        let room = self.setup.max.saturating_sub(state.nodes.len() + state.booting.len());
        let more = wanted.saturating_sub(state.booting.len()).min(room);
        state.booting.extend((0..more).map(|_| now + self.setup.boot));
        while state.booting.front().is_some_and(|due| *due <= now) {
            state.booting.pop_front();
            self.boot(&mut state);
        }
        self.remove_idle(&mut state)
    }

    /// Nodes for the pods that find no place.
    fn wanted(&self) -> Result<usize, kube::Error> {
        let pending = ListParams::default().fields("status.phase=Pending");
        let pods = self.admin.everywhere::<Pod>().try_list(&pending)?;
        let gpus: u32 = pods.iter().filter(|pod| is_unschedulable(pod) && self.fits(pod)).map(gpus).sum();
        Ok(gpus.div_ceil(self.setup.node.gpus.max(1)) as usize)
    }

    /// A pod that a node of this pool would do for, by its node selector.
    fn fits(&self, pod: &Pod) -> bool {
        let selector = pod.spec.iter().filter_map(|spec| spec.node_selector.as_ref()).flatten();
        let labels = &self.setup.node.labels;
        selector.into_iter().all(|(name, value)| labels.iter().any(|(known, it)| (known, it) == (name, value)))
    }

    fn boot(&self, state: &mut State) {
        let name = format!("{}-{}", self.setup.node.name, state.registered);
        state.registered += 1;
        let node = Node::start(&self.admin, &self.folder, NodeSetup { name, ..self.setup.node.clone() });
        state.nodes.push(Member { node, busy_at: Instant::now() });
    }

    fn remove_idle(&self, state: &mut State) -> Result<(), kube::Error> {
        for member in &mut state.nodes {
            if member.node.running_pods() > 0 {
                member.busy_at = Instant::now();
            }
        }
        let idle = |member: &Member| member.busy_at.elapsed() >= self.setup.idle;
        while let Some(place) = state.nodes.iter().position(idle) {
            if self.close(state.nodes[place].node.name())? {
                drop(state.nodes.remove(place));
            } else {
                state.nodes[place].busy_at = Instant::now();
            }
        }
        Ok(())
    }

    /// Lets no more pods come, and says whether none has come in the meantime.
    fn close(&self, node: &str) -> Result<bool, kube::Error> {
        let nodes = self.admin.everywhere::<NodeObject>();
        nodes.try_merge(node, &json!({"spec": {"unschedulable": true}}))?;
        let there = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let is_empty = self.admin.everywhere::<Pod>().try_list(&there)?.iter().all(has_ended);
        if !is_empty {
            nodes.try_merge(node, &json!({"spec": {"unschedulable": false}}))?;
        }
        Ok(is_empty)
    }
}

fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|it| it.type_ == "PodScheduled" && it.reason.as_deref() == Some("Unschedulable"))
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Those that its containers ask for.
fn gpus(pod: &Pod) -> u32 {
    let containers = pod.spec.iter().flat_map(|spec: &PodSpec| &spec.containers);
    let limits = containers.filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get(GPU));
    limits.filter_map(|quantity| quantity.0.parse::<u32>().ok()).sum()
}

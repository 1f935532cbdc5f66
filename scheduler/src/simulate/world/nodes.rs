//! Machines with GPUs, as a cluster's autoscaler gets them: one when a pod has no place, back when it had none for a while.

use super::super::events::Event;
use super::super::random::Random;
use super::World;

#[derive(Debug)]
pub struct Node {
    pub pool: usize,
    number: u64,
    /// From when on it is paid for; the cloud may have none for a while.
    granted: Option<f64>,
    is_up: bool,
    is_gone: bool,
    /// GPUs that no pod has.
    free: u32,
    pods: Vec<u32>,
    /// When its image is there.
    image: Option<f64>,
    generation: u32,
}

impl Node {
    pub fn is_paid(&self) -> bool {
        self.granted.is_some() && !self.is_gone
    }
}

impl World<'_> {
    /// On the fullest node that has a GPU left, those that are up first.
    pub(super) fn place(&mut self, pod: u32) {
        let pool = self.pods[pod as usize].pool;
        let nodes = self.pools[pool].nodes.iter().copied();
        let free = nodes.filter(|node| self.nodes[*node as usize].free > 0);
        let best = free.min_by_key(|node| {
            let this = &self.nodes[*node as usize];
            (!this.is_up, this.granted.is_none(), this.free, *node)
        });
        let node = best.unwrap_or_else(|| self.request_node(pool));
        self.pods[pod as usize].node = node;
        let this = &mut self.nodes[node as usize];
        this.free -= 1;
        this.pods.push(pod);
        if this.is_up {
            self.boot_pod(pod);
        }
    }

    fn request_node(&mut self, pool: usize) -> u32 {
        let node = self.nodes.len() as u32;
        let of_pool = &self.scenario.pools[pool];
        self.pools[pool].nodes_ever += 1;
        self.pools[pool].nodes.push(node);
        self.nodes.push(Node {
            pool,
            number: self.pools[pool].nodes_ever,
            granted: None,
            is_up: false,
            is_gone: false,
            free: of_pool.nodes.gpus,
            pods: Vec::new(),
            image: None,
            generation: 0,
        });
        let outages = self.scenario.outages.iter().filter(|outage| outage.pool.as_ref() == Some(&of_pool.name));
        let ends = outages.filter(|outage| (outage.at.0..outage.at.0 + outage.lasts.0).contains(&self.now));
        let when = ends.map(|outage| outage.at.0 + outage.lasts.0).fold(self.now, f64::max);
        self.events.at(when, Event::NodeGranted(node));
        node
    }

    pub(super) fn node_granted(&mut self, node: u32) {
        let this = &mut self.nodes[node as usize];
        if this.is_gone {
            return;
        }
        this.granted = Some(self.now);
        let kind = &self.scenario.pools[this.pool].nodes;
        let mut random = Random::new(self.seed, "boots", ((this.pool as u64) << 32) | this.number);
        let boot = random.lognormal(kind.boot.0, kind.boot_sigma);
        self.events.at(self.now + boot, Event::NodeUp(node));
        if let Some(mean) = kind.lost_after {
            self.events.at(self.now + boot + random.exponential(mean.0), Event::NodeLost(node));
        }
    }

    pub(super) fn node_up(&mut self, node: u32) {
        let this = &mut self.nodes[node as usize];
        if this.is_gone {
            return;
        }
        this.is_up = true;
        for pod in this.pods.clone() {
            self.boot_pod(pod);
        }
        self.keep_or_not(node);
    }

    /// The first pod of a node pulls the image, and every pod loads its model.
    fn boot_pod(&mut self, pod: u32) {
        const SIGMA: f64 = 0.2;
        let this = &mut self.nodes[self.pods[pod as usize].node as usize];
        let kind = &self.scenario.pools[this.pool].nodes;
        let mut random = Random::new(self.seed, "pods", u64::from(pod));
        let (image, model) = (random.lognormal(kind.image.0, SIGMA), random.lognormal(kind.model.0, SIGMA));
        let runs = this.image.get_or_insert(self.now + image).max(self.now);
        self.events.at(runs, Event::PodRuns(pod));
        self.events.at(runs + model, Event::PodReady(pod));
    }

    pub(super) fn leave_node(&mut self, pod: u32) {
        let node = self.pods[pod as usize].node;
        let this = &mut self.nodes[node as usize];
        this.pods.retain(|other| *other != pod);
        this.free += 1;
        self.keep_or_not(node);
    }

    /// A node without pods goes after a while; one that nobody granted yet is asked for no more.
    fn keep_or_not(&mut self, node: u32) {
        let this = &mut self.nodes[node as usize];
        if !this.pods.is_empty() || this.is_gone {
            return;
        }
        this.generation += 1;
        let (generation, keep) = (this.generation, self.scenario.pools[this.pool].nodes.keep.0);
        if this.granted.is_none() {
            self.end_node(node);
        } else if this.is_up {
            self.events.at(self.now + keep, Event::NodeUnneeded(node, generation));
        }
    }

    pub(super) fn node_unneeded(&mut self, node: u32, generation: u32) {
        let this = &self.nodes[node as usize];
        if this.pods.is_empty() && this.generation == generation {
            self.end_node(node);
        }
    }

    pub(super) fn node_lost(&mut self, node: u32) {
        if self.nodes[node as usize].is_gone {
            return;
        }
        let pods = self.nodes[node as usize].pods.clone();
        self.end_node(node);
        for pod in pods {
            self.lose(pod);
        }
    }

    pub(super) fn end_node(&mut self, node: u32) {
        let this = &mut self.nodes[node as usize];
        if this.is_gone {
            return;
        }
        this.is_gone = true;
        let pool = this.pool;
        let hours = this.granted.map_or(0.0, |granted| (self.now - granted).max(0.0) / 3600.0);
        let gpus = f64::from(self.scenario.pools[pool].nodes.gpus);
        self.ledger.gpu_hours += hours * gpus;
        self.ledger.price += hours * gpus * self.scenario.pools[pool].price_per_hour;
        self.pools[pool].nodes.retain(|other| *other != node);
    }
}

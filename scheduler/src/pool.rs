//! `WorkerPool`: what a user asks for, and what is answered. One pool is one kind of worker.
//!
//! Descriptions become the texts of `kubectl explain`. `framefleet-scheduler crd` prints the definition.

#![expect(clippy::doc_markdown, reason = "kubectl shows the texts as they are")]

mod crd;
mod status;
mod template;

pub use crd::yaml as crd_yaml;
pub use status::{ColdStart, Decision, ModelCost, WorkerPoolStatus, Workers};
pub use template::PodTemplate;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pool of workers of one kind, sized to the work that waits in the queues that it serves.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "framefleet.dev",
    version = "v1alpha1",
    kind = "WorkerPool",
    doc = "Workers of one kind, as many as the work that waits in the queues that they serve needs.",
    namespaced,
    status = "WorkerPoolStatus",
    derive = "PartialEq",
    shortname = "wp",
    category = "framefleet",
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("a pool's name may have 40 characters: the names of its Jobs and pods begin with it"),
    validation = Rule::new("!self.metadata.name.contains('.')")
        .message("a pool's name may have no dot: the names of its Jobs and pods begin with it"),
    printcolumn(name = "Runs", type_ = "string", json_path = ".spec.runAs"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.workers.desired"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.workers.ready"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.workers.pending"),
    printcolumn(name = "Work", type_ = "integer", json_path = ".status.waitingWorkerSeconds",
                description = "Worker-seconds that wait"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minWorkers <= self.maxWorkers").message("minWorkers must not be greater than maxWorkers"),
    validation = Rule::new("self.runAs == oldSelf.runAs")
        .message("runAs cannot be changed: make another pool, and set maxWorkers of this one to 0"),
    validation = Rule::new("self.runAs == 'Deployment' || self.roles == ['detect']")
        .message("Jobs are for the role detect alone: plan and finish belong into a Deployment, which stays"),
    validation = Rule::new("!has(self.budgetPerHour) || has(self.pricePerHour)")
        .message("budgetPerHour needs pricePerHour"),
    validation = Rule::new("self.template.spec.containers.exists(c, c.name == self.container)")
        .message("the template has no container with the name in spec.container")
)]
pub struct WorkerPoolSpec {
    /// Jobs: workers come when work waits, and each leaves by itself when it has none left, so that none is ever stopped while
    /// it works. Deployment: workers stay, and are stopped when fewer are needed, at the end of a segment. Cannot be changed.
    pub run_as: RunAs,
    /// What each worker takes of a node's GPUs. Without it workers run on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Spot: a node may be taken away at any time. Work whose deadline leaves no time for a second start goes to OnDemand.
    #[serde(default)]
    pub capacity: Capacity,
    /// What the workers do: plan (probe and cut videos) and finish (track) need no GPU; detect runs the model.
    #[serde(default = "detect_only")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub roles: Vec<Role>,
    /// The queues of which detecting workers take segments. By default high, normal and low with the weights 16, 4 and 1.
    #[serde(default = "default_queues")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub queues: Vec<ServedQueue>,
    /// Segments that a worker works on at once; with it the last segments of a queue are spread over no more workers than
    /// can have one. By default 2.
    #[serde(default = "default_slots")]
    #[schemars(range(min = 1, max = 256))]
    pub slots: u32,
    /// Workers that are there without work too. Those of Jobs never leave by themselves.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10000))]
    pub min_workers: u32,
    /// Never more workers than these. 0 lets those that are there finish, and starts none.
    #[schemars(range(min = 0, max = 10000))]
    pub max_workers: u32,
    /// In what time work without a deadline is done after it came, where workers can be had: 10m, 1h30m. At least 10s. By
    /// default 10m.
    #[serde(default = "default_drain_within")]
    #[schemars(schema_with = "template::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("drainWithin must be at least 10s"))]
    pub drain_within: String,
    /// A Deployment shrinks to the most workers that were needed within this time. By default 5m.
    #[serde(default = "default_stabilization")]
    #[schemars(schema_with = "template::duration")]
    pub stabilization: String,
    /// A worker of a Job leaves when it has had nothing to do for so long. By default 1m.
    #[serde(default = "default_idle_exit")]
    #[schemars(schema_with = "template::duration")]
    pub idle_exit: String,
    /// How long a worker takes until it is ready, with node, image and model, until it is measured. By default 5m with a
    /// GPU and 30s without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template::optional_duration")]
    pub cold_start: Option<String>,
    /// Of one worker, in any currency, such as "0.53". The pool with the least price for the same work is taken first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template::optional_price")]
    pub price_per_hour: Option<String>,
    /// Never more workers at once than this pays for, in the currency of pricePerHour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template::optional_price")]
    pub budget_per_hour: Option<String>,
    /// No worker is started and none is stopped while this is true.
    #[serde(default)]
    pub paused: bool,
    /// How workers, and the scheduler for them, reach Kafka.
    #[serde(default)]
    pub kafka: Kafka,
    /// The container of the template that is the worker. By default worker.
    #[serde(default = "default_container")]
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// The pod of a worker. Where it says nothing, the scheduler adds: arguments for roles, queues, slots, grace and idle
    /// exit (its own args begin with worker), the variables of Kafka, the GPU limit and its toleration, probes, the port
    /// metrics, the restart policy, and for Jobs the annotations against eviction. Running Jobs keep the template that they
    /// were started with.
    pub template: PodTemplate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunAs {
    Jobs,
    Deployment,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Capacity {
    #[default]
    OnDemand,
    Spot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Plan,
    Detect,
    Finish,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Detect => "detect",
            Self::Finish => "finish",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// The extended resource: nvidia.com/gpu for whole GPUs, or a MIG profile such as nvidia.com/mig-1g.10gb.
    #[serde(default = "default_gpu_resource")]
    #[schemars(length(min = 3, max = 253), regex(pattern = "^[a-z0-9.-]+/[A-Za-z0-9._-]+$"))]
    pub resource: String,
    /// How many of them one worker has. By default 1.
    #[serde(default = "default_gpu_count")]
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
    /// Memory of the GPU or of the MIG slice, such as 24Gi. No worker is started here for a model that needs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template::optional_quantity")]
    pub memory: Option<Quantity>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServedQueue {
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub name: String,
    /// The part of the workers' time that it gets while others have work too, in proportion. By default 1.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// A Secret of the pool's namespace whose keys are the variables that a worker knows: FRAMEFLEET_BROKERS, and
    /// FRAMEFLEET_KAFKA_ with a setting of librdkafka, such as FRAMEFLEET_KAFKA_SASL_PASSWORD. By default framefleet-kafka.
    #[serde(default = "default_secret")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// What the names of the fleet's topics begin with. By default framefleet.
    #[serde(default = "default_prefix")]
    #[schemars(length(min = 1, max = 100), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub prefix: String,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { secret_name: default_secret(), prefix: default_prefix() }
    }
}

fn default_secret() -> String {
    "framefleet-kafka".to_owned()
}

fn detect_only() -> Vec<Role> {
    vec![Role::Detect]
}

fn default_queues() -> Vec<ServedQueue> {
    [("high", 16), ("normal", 4), ("low", 1)].map(|(name, weight)| ServedQueue { name: name.to_owned(), weight }).into()
}

fn default_slots() -> u32 {
    2
}

fn default_drain_within() -> String {
    "10m".to_owned()
}

fn default_stabilization() -> String {
    "5m".to_owned()
}

fn default_idle_exit() -> String {
    "1m".to_owned()
}

fn default_container() -> String {
    "worker".to_owned()
}

fn default_gpu_resource() -> String {
    "nvidia.com/gpu".to_owned()
}

fn default_gpu_count() -> u32 {
    1
}

fn default_weight() -> u32 {
    1
}

fn default_prefix() -> String {
    "framefleet".to_owned()
}

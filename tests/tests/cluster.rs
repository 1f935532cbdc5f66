//! The control plane and the nodes that tests of the scheduler stand on do what they say.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::cluster::node::NodeSetup;
use framefleet_tests::cluster::{ApiProxy, Refusal, block_on, kwok};
use framefleet_tests::cluster::{ControlPlane, Kwok, Node, NodePool, NodePoolSetup, Objects};
use framefleet_tests::wait;
use futures_util::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerState, Node as NodeObject, Pod, Secret, ServiceAccount};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Error, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A namespace on the shared control plane, and a node for its pods.
struct Place {
    namespace: String,
    node: Node,
    pods: Objects<Pod>,
}

impl Place {
    fn new(name: &str) -> Self {
        Self::with(name, |node| node)
    }

    fn with(name: &str, change: impl FnOnce(NodeSetup) -> NodeSetup) -> Self {
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(name);
        let node = Node::register(plane, change(NodeSetup::of(&namespace, "node").gpus(2)));
        let pods = plane.admin().objects(&namespace);
        Self { namespace, node, pods }
    }

    fn pod(&self, name: &str) -> Pod {
        self.pods.get(name).unwrap()
    }

    fn phase_is(&self, name: &str, phase: &str) -> bool {
        self.pods.get(name).is_some_and(|pod| pod.status.unwrap().phase.as_deref() == Some(phase))
    }

    fn wait_for_phase(&self, name: &str, phase: &str) {
        wait::calmly(&format!("{name} is {phase}"), || self.phase_is(name, phase));
    }

    fn state(&self, name: &str) -> ContainerState {
        container(&self.pod(name)).unwrap()
    }

    fn waits_because_of(&self, name: &str, reason: &str) {
        wait::calmly(&format!("{name} waits because of {reason}"), || {
            let state = self.pods.get(name).and_then(|pod| container(&pod));
            state.and_then(|state| state.waiting).is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
        });
    }

    fn log(&self, pod: &str) -> String {
        self.node.log(&self.namespace, pod).unwrap()
    }
}

fn container(pod: &Pod) -> Option<ContainerState> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.clone()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

fn sh(script: &str) -> Value {
    json!({"name": "main", "image": "any", "command": ["/bin/sh", "-c", script]})
}

fn pod(name: &str, container: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}})
}

fn with_gpu(mut container: Value) -> Value {
    container["resources"] = json!({"limits": {"nvidia.com/gpu": 1}});
    container
}

#[test]
fn a_job_runs_as_processes_and_completes() {
    let place = Place::new("job");
    let mut container = with_gpu(sh("echo $GREETING from $NAME number $JOB_COMPLETION_INDEX; exit 0"));
    container["env"] = json!([
        {"name": "WORD", "value": "good morning"},
        {"name": "GREETING", "value": "$(WORD), $$(WORD)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "template": template});
    let jobs: Objects<Job> = ControlPlane::shared().admin().objects(&place.namespace);
    jobs.create(&json!({"metadata": {"name": "two"}, "spec": spec}));
    wait::calmly("both have succeeded", || jobs.get("two").unwrap().status.unwrap().succeeded == Some(2));
    let pods = place.pods.labelled("job-name=two");
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let (name, index) = (pod.name_any(), &pod.labels()["batch.kubernetes.io/job-completion-index"]);
        let expected = format!("good morning, $(WORD) from {name} number {index}\n");
        assert_eq!(place.log(&name), expected);
    }
}

#[test]
fn the_exit_code_is_told_and_a_signal_is_one_too() {
    let place = Place::new("exit");
    place.pods.create(&pod("three", &sh("exit 3")));
    place.pods.create(&pod("killed", &sh("kill -9 $$$$")));
    for (name, code) in [("three", 3), ("killed", 137)] {
        place.wait_for_phase(name, "Failed");
        assert_eq!(place.state(name).terminated.unwrap().exit_code, code);
    }
}

#[test]
fn a_deleted_pod_gets_its_grace_period_and_not_more() {
    let place = Place::new("grace");
    let polite = sh("trap 'echo goodbye; exit 0' TERM; echo started; while :; do sleep 0.05; done");
    let stubborn = sh("trap 'echo no' TERM; echo started; while :; do sleep 0.05; done");
    for (name, container, grace) in [("polite", polite, 30), ("stubborn", stubborn, 1)] {
        let mut pod = pod(name, &container);
        pod["spec"]["terminationGracePeriodSeconds"] = grace.into();
        place.pods.create(&pod);
        wait::calmly("it has started", || place.node.log(&place.namespace, name).is_some_and(|log| log == "started\n"));
    }
    let process = place.node.process_id(&place.namespace, "stubborn").unwrap();
    let began = Instant::now();
    for name in ["polite", "stubborn"] {
        place.pods.delete(name);
        wait::calmly("it is gone", || place.pods.get(name).is_none());
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(place.log("polite"), "started\ngoodbye\n");
    assert_eq!(place.log("stubborn"), "started\nno\n");
    assert!(!Path::new("/proc").join(process.to_string()).exists());
}

#[test]
fn an_evicted_pod_says_so() {
    let place = Place::new("evicted");
    let mut pod = pod("worker", &sh("trap 'exit 7' TERM; while :; do sleep 0.05; done"));
    // It stays to be looked at.
    pod["metadata"]["finalizers"] = json!(["framefleet.dev/test"]);
    place.pods.create(&pod);
    place.wait_for_phase("worker", "Running");
    place.node.evict(&place.namespace, "worker").unwrap();
    place.wait_for_phase("worker", "Failed");
    let status = place.pod("worker").status.unwrap();
    let target = status.conditions.unwrap().into_iter().find(|it| it.type_ == "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("EvictionByEvictionAPI"));
    assert_eq!(place.state("worker").terminated.unwrap().exit_code, 7);
    place.pods.merge("worker", &json!({"metadata": {"finalizers": null}}));
    wait::calmly("it is gone", || place.pods.get("worker").is_none());
}

#[test]
fn a_pod_is_ready_when_it_answers_by_http() {
    let place = Place::new("ready");
    let mut container = json!({"name": "main", "image": "any", "command": ["/bin/sh", "-c"], "args": [
        "until [ -e go ]; do sleep 0.05; done; exec python3 -m http.server --bind ${FRAMEFLEET_LISTEN%:*} ${FRAMEFLEET_LISTEN#*:}",
    ]});
    container["env"] = json!([{"name": "FRAMEFLEET_LISTEN", "value": "0.0.0.0:8080"}]);
    container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    container["startupProbe"] =
        json!({"httpGet": {"path": "/go", "port": "http"}, "periodSeconds": 1, "failureThreshold": 60});
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1});
    // They share a port, and have addresses of their own.
    for name in ["one", "other"] {
        place.pods.create(&pod(name, &container));
        place.wait_for_phase(name, "Running");
        assert!(!is_ready(&place.pod(name)));
    }
    let folder = |name: &str| {
        let id = place.node.process_id(&place.namespace, name).unwrap();
        std::fs::read_link(format!("/proc/{id}/cwd")).unwrap()
    };
    let started = |name: &str| place.pod(name).status.unwrap().container_statuses.unwrap()[0].started == Some(true);
    for name in ["one", "other"] {
        std::fs::write(folder(name).join("go"), "").unwrap();
        wait::calmly("it has started", || started(name));
        assert!(!is_ready(&place.pod(name)));
        std::fs::write(folder(name).join("ready"), "").unwrap();
        wait::calmly("it is ready", || is_ready(&place.pod(name)));
    }
    std::fs::remove_file(folder("one").join("ready")).unwrap();
    wait::calmly("it is not ready any more", || !is_ready(&place.pod("one")));
    assert!(is_ready(&place.pod("other")));
}

#[test]
fn a_missing_image_keeps_a_pod_waiting() {
    let place = Place::new("image");
    place.pods.create(&pod("lost", &json!({"name": "main", "image": "missing/worker:1"})));
    place.waits_because_of("lost", "ImagePullBackOff");
    assert!(place.phase_is("lost", "Pending"));
    place.pods.delete("lost");
    wait::calmly("it is gone", || place.pods.get("lost").is_none());
}

#[test]
fn a_missing_secret_keeps_a_pod_waiting_until_it_is_there() {
    let place = Place::new("secret");
    let mut container = sh("echo $USER_NAME $PASSWORD; cat $FILE");
    container["envFrom"] =
        json!([{"secretRef": {"name": "kafka"}}, {"configMapRef": {"name": "none", "optional": true}}]);
    container["env"] = json!([{"name": "FILE", "value": "/etc/kafka/PASSWORD"}]);
    container["volumeMounts"] = json!([{"name": "files", "mountPath": "/etc/kafka"}]);
    let mut reader = pod("reader", &container);
    reader["spec"]["volumes"] = json!([{"name": "files", "secret": {"secretName": "kafka", "optional": true}}]);
    place.pods.create(&reader);
    place.waits_because_of("reader", "CreateContainerConfigError");
    let secrets: Objects<Secret> = ControlPlane::shared().admin().objects(&place.namespace);
    secrets.create(&json!({"metadata": {"name": "kafka"}, "stringData": {"USER_NAME": "fleet", "PASSWORD": "open"}}));
    place.wait_for_phase("reader", "Succeeded");
    assert_eq!(place.log("reader"), "fleet open\nopen");
}

#[test]
fn a_pod_that_ends_is_started_again_where_it_says_so() {
    let place = Place::new("again");
    let mut pod = pod("restless", &sh("echo started; exit 1"));
    pod["spec"]["restartPolicy"] = "Always".into();
    place.pods.create(&pod);
    let restarts = || place.pod("restless").status.unwrap().container_statuses.map_or(0, |it| it[0].restart_count);
    wait::calmly("it was started again", || restarts() >= 2);
    assert!(place.log("restless").starts_with("started\nstarted\n"));
    assert!(place.phase_is("restless", "Running"));
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_so_may_its_pods() {
    let plane = ControlPlane::shared();
    let place = Place::new("account");
    plane.admin().objects::<ServiceAccount>(&place.namespace).create(&json!({"metadata": {"name": "reader"}}));
    let access = plane.access_of(&place.namespace, "reader");
    let maps: Objects<ConfigMap> = access.objects(&place.namespace);
    let refused = maps.try_create(&json!({"metadata": {"name": "any"}}));
    assert!(matches!(&refused, Err(Error::Api(status)) if status.code == 403), "{refused:?}");
    assert!(access.try_kubectl(&["get", "configmaps", "-n", &place.namespace], "").stderr.contains("Forbidden"));

    let account = format!("{}:reader", place.namespace);
    let role = ["create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", &place.namespace];
    plane.admin().kubectl(&role);
    let binding =
        ["create", "rolebinding", "reader", "--role=reader", "--serviceaccount", &account, "-n", &place.namespace];
    plane.admin().kubectl(&binding);
    wait::calmly("it may list", || maps.try_list(&ListParams::default()).is_ok());
    // Every namespace has this one.
    assert!(access.kubectl(&["get", "configmaps", "-n", &place.namespace]).contains("kube-root-ca.crt"));
    let mut in_pod = pod("in-pod", &sh("grep -o '\"token\":\"[^\"]*' $KUBECONFIG | cut -d. -f2"));
    in_pod["spec"]["serviceAccountName"] = "reader".into();
    place.pods.create(&in_pod);
    place.wait_for_phase("in-pod", "Succeeded");
    assert!(place.log("in-pod").len() > 100, "{}", place.log("in-pod"));
}

#[test]
fn an_api_server_that_is_killed_or_stands_still_comes_back_with_its_data() {
    let plane = ControlPlane::start();
    let node = Node::register(&plane, NodeSetup { name: "node".to_owned(), ..NodeSetup::default() });
    let pods: Objects<Pod> = plane.admin().objects("default");
    pods.create(&pod("early", &sh("until [ -e go ]; do sleep 0.05; done")));
    wait::calmly("it runs", || node.process_id("default", "early").is_some());
    let process = node.process_id("default", "early").unwrap();
    let folder = std::fs::read_link(format!("/proc/{process}/cwd")).unwrap();

    plane.kill_api_server();
    assert!(pods.try_get("early").is_err());
    std::fs::write(folder.join("go"), "").unwrap();
    wait::calmly("it has ended", || node.process_id("default", "early").is_none());
    plane.restart_api_server();
    let succeeded = |name: &str| pods.get(name).unwrap().status.unwrap().phase.as_deref() == Some("Succeeded");
    wait::calmly("the node has told how it ended", || succeeded("early"));

    plane.pause_api_server();
    let asked = std::thread::spawn({
        let pods = pods.clone();
        move || pods.create(&pod("late", &sh("exit 0")))
    });
    assert!(!wait::is_so_within(Duration::from_millis(500), || asked.is_finished()));
    plane.resume_api_server();
    asked.join().unwrap();
    wait::calmly("what comes later runs", || succeeded("late"));
}

#[test]
fn the_way_to_the_api_server_refuses_and_counts_as_told() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("proxied");
    let proxy = ApiProxy::start(plane);
    let maps: Objects<ConfigMap> = proxy.access(plane.admin()).objects(&namespace);
    let refusal = Refusal { method: "POST", path: "/configmaps", status: 429, retry_after: Some(1), times: 2 };
    proxy.refuse(refusal);
    let map = |name: &str| json!({"metadata": {"name": name}});
    for _ in 0..2 {
        let refused = maps.try_create(&map("one"));
        assert!(matches!(&refused, Err(Error::Api(status)) if status.code == 429), "{refused:?}");
        assert!(maps.get("one").is_none());
    }
    maps.create(&map("one"));
    assert_eq!((proxy.count("POST", ""), proxy.count("GET", "/configmaps/one"), proxy.calls().len()), (3, 2, 5));
    assert_eq!(proxy.calls().iter().filter(|call| call.status == 429).count(), 2);

    // Somebody who watches hears of things at once.
    let mut watch = block_on(maps.api().watch(&WatchParams::default(), "0")).unwrap().boxed();
    maps.create(&map("two"));
    let hears_of_it = async {
        while let Some(event) = watch.next().await {
            if matches!(event.unwrap(), WatchEvent::Added(map) if map.name_any() == "two") {
                return true;
            }
        }
        false
    };
    assert!(block_on(hears_of_it));
    assert_eq!(proxy.count("GET", "watch=true"), 1);
    proxy.forget_calls();
    assert_eq!(proxy.count("", ""), 0);
}

#[test]
fn kwok_runs_hundreds_of_pods_on_hundreds_of_nodes() {
    const MANY: usize = 200;
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("many");
    let kwok = Kwok::start(plane);
    kwok.add_nodes(&namespace, MANY, 1);
    let mut metadata = json!({"annotations": kwok::annotations(Duration::ZERO, None)});
    metadata["labels"] = json!({"app": "many"});
    let spec = json!({"restartPolicy": "Never", "containers": [with_gpu(sh("not run"))]});
    let template = json!({"metadata": metadata, "spec": spec});
    let jobs: Objects<Job> = plane.admin().objects(&namespace);
    let job = |name: &str, number: usize, template: &Value| {
        json!({"metadata": {"name": name},
            "spec": {"completions": number, "parallelism": number, "template": template}})
    };
    jobs.create(&job("many", MANY, &template));
    let pods: Objects<Pod> = plane.admin().objects(&namespace);
    wait::calmly("all are ready", || pods.list().iter().filter(|pod| is_ready(pod)).count() == MANY);
    let mut hosts: Vec<String> = pods.list().into_iter().filter_map(|pod| pod.spec.unwrap().node_name).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), MANY);

    jobs.delete("many");
    let mut short = template;
    short["metadata"]["annotations"] = kwok::annotations(Duration::ZERO, Some(Duration::from_millis(500)));
    jobs.create(&job("short", 2, &short));
    wait::calmly("the short ones have succeeded", || jobs.get("short").unwrap().status.unwrap().succeeded == Some(2));
    kwok.remove_nodes(&namespace);
}

#[test]
fn a_pool_boots_nodes_for_pods_that_find_none_and_takes_them_away() {
    const BOOT: Duration = Duration::from_secs(2);
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("pool");
    let node = NodeSetup::of(&namespace, "pooled").gpus(1).taint("nvidia.com/gpu=present:NoSchedule");
    let setup = NodePoolSetup { node, boot: BOOT, max: 3, idle: Duration::from_secs(2) };
    let pool = NodePool::start(plane, setup);
    let pods: Objects<Pod> = plane.admin().objects(&namespace);
    let began = Instant::now();
    for number in 0..4 {
        let mut pod = pod(&format!("pod-{number}"), &with_gpu(sh("sleep 1; exit 0")));
        pod["spec"]["tolerations"] = json!([{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]);
        pods.create(&pod);
    }
    let succeeded = |pod: &Pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Succeeded");
    wait::calmly("all four have succeeded, on three nodes", || pods.list().iter().all(succeeded));
    assert!(began.elapsed() > BOOT);
    assert_eq!(pool.registered(), 3);
    wait::calmly("the nodes are gone", || pool.nodes() == 0);
    let nodes: Objects<NodeObject> = plane.admin().everywhere();
    assert!(nodes.labelled(&format!("framefleet.dev/nodes-of={namespace}")).is_empty());
}

#[test]
fn a_lost_node_takes_its_processes_with_it() {
    let place = Place::new("lost");
    place.pods.create(&pod("doomed", &sh("trap '' TERM; echo started; while :; do sleep 0.05; done")));
    wait::calmly("it has started", || place.node.log(&place.namespace, "doomed").is_some_and(|it| !it.is_empty()));
    let process = place.node.process_id(&place.namespace, "doomed").unwrap();
    kill_process(Pid::from_raw(process as i32).unwrap(), Signal::STOP).unwrap();
    let Place { node, pods, .. } = place;
    let name = node.name().to_owned();
    node.lose();
    assert!(!Path::new("/proc").join(process.to_string()).exists());
    assert!(ControlPlane::shared().admin().everywhere::<NodeObject>().get(&name).is_none());
    // Nobody has told the controllers, who find out later.
    assert!(pods.get("doomed").is_some());
}

#[test]
fn the_custom_resources_of_others_can_be_defined() {
    let plane = ControlPlane::shared();
    plane.define_custom_resources();
    let kinds = plane.admin().kubectl(&["get", "crd", "-o", "name"]);
    for kind in ["nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws", "podmonitors.monitoring.coreos.com"] {
        assert!(kinds.contains(kind), "{kinds}");
    }
}

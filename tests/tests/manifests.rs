//! The manifests are what the programs need, and what a real API server takes.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_scheduler::pool::{RunAs, WorkerPool, crd_yaml};
use framefleet_scheduler::workloads::{self, Batch};
use framefleet_tests::cluster::{ControlPlane, Objects};
use framefleet_tests::{Scratch, repository};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::ResourceExt;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn manifests() -> PathBuf {
    repository::root().join("gpu-manifests")
}

fn overlays() -> Vec<PathBuf> {
    let entries = fs::read_dir(manifests().join("overlays")).unwrap();
    let mut overlays: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    overlays.sort();
    assert!(overlays.len() >= 5, "{overlays:?}");
    overlays
}

/// A cluster in which everything is defined that overlays may have, and the namespaces that they make are there: a dry run
/// makes none.
fn cluster() -> &'static ControlPlane {
    let plane = ControlPlane::shared();
    plane.define_custom_resources();
    plane.admin().apply(&crd_yaml());
    plane.admin().kubectl(&["wait", "--for=condition=Established", "crd/workerpools.framefleet.dev"]);
    for namespace in ["base/namespace.yaml", "overlays/second-namespace/team-b/namespace.yaml"] {
        plane.admin().apply(&fs::read_to_string(manifests().join(namespace)).unwrap());
    }
    plane
}

fn rendered(plane: &ControlPlane, folder: &Path) -> Vec<Value> {
    let yaml = plane.admin().kubectl(&["kustomize", folder.to_str().unwrap()]);
    serde_saphyr::from_multiple(&yaml).unwrap()
}

fn rendered_file(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(manifests().join(file)).unwrap()).unwrap()
}

#[test]
fn the_definition_in_the_manifests_is_the_one_that_the_program_prints() {
    let kept = manifests().join("base/crd.yaml");
    if std::env::var_os("FRAMEFLEET_BLESS").is_some() {
        fs::write(&kept, crd_yaml()).unwrap();
    }
    let same = fs::read_to_string(&kept).unwrap() == crd_yaml();
    assert!(
        same,
        "{}: FRAMEFLEET_BLESS=1 cargo test -p framefleet-tests --test manifests writes it anew",
        kept.display()
    );
}

#[test]
fn a_real_api_server_takes_every_overlay() {
    let plane = cluster();
    for overlay in overlays() {
        let kustomization = overlay.to_str().unwrap();
        let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", kustomization];
        let applied = plane.admin().try_kubectl(&arguments, "");
        assert_eq!(applied.status, Some(0), "{kustomization}: {applied}");
        assert!(!applied.stderr.contains("Warning"), "{kustomization}: {applied}");
        assert!(applied.stdout.contains("workerpool"), "{kustomization} has no pool: {applied}");
    }
}

#[test]
fn a_restricted_namespace_takes_the_hand_that_brings_models() {
    let plane = cluster();
    let kustomization = manifests().join("model-writer");
    // Its account is of an overlay, which is not there.
    let pod = plane.admin().kubectl(&["kustomize", kustomization.to_str().unwrap()]);
    assert!(pod.contains("serviceAccountName: framefleet-worker"), "{pod}");
    let pod = pod.replace("serviceAccountName: framefleet-worker", "serviceAccountName: default");
    let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let applied = plane.admin().try_kubectl(&arguments, &pod);
    assert_eq!(applied.status, Some(0), "{applied}");
    assert!(applied.stdout.contains("framefleet-model-writer"), "{applied}");
}

#[test]
fn a_real_api_server_takes_the_components() {
    let plane = cluster();
    let scratch = Scratch::new();
    let folder = fs::canonicalize(scratch.path()).unwrap();
    // Kustomize takes paths that are relative.
    let up = "../".repeat(folder.components().count() - 1);
    let at = |part: &str| format!("{up}{}", manifests().join(part).strip_prefix("/").unwrap().display());
    let kustomization = format!(
        "resources: [\"{}\"]\ncomponents: [\"{}\", \"{}\"]\n",
        at("base"),
        at("components/monitoring"),
        at("components/videos")
    );
    fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
    let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", folder.to_str().unwrap()];
    let applied = plane.admin().try_kubectl(&arguments, "");
    assert_eq!(applied.status, Some(0), "{applied}");
    assert!(applied.stdout.contains("podmonitor"), "{applied}");
}

/// What the scheduler makes of a pool's template is under the strictest Pod Security too.
#[test]
fn workers_of_every_pool_are_pods_that_a_restricted_namespace_takes() {
    let plane = cluster();
    let mut pools = 0;
    for overlay in overlays() {
        for object in rendered(plane, &overlay).into_iter().filter(|object| object["kind"] == "WorkerPool") {
            let pool = WorkerPool::deserialize(object).unwrap();
            let template = template(&pool);
            let pods: Objects<Pod> = plane.admin().objects(&pool.namespace().unwrap());
            let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, status: None };
            pod.metadata.name = Some("worker".to_owned());
            // Its account and its priority are of the overlay, which is not there.
            let spec = pod.spec.as_mut().unwrap();
            (spec.service_account_name, spec.priority_class_name) = (None, None);
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            let made = framefleet_tests::cluster::block_on(pods.api().create(&dry_run, &pod));
            assert!(made.is_ok(), "{} of {}: {made:?}", pool.name_any(), overlay.display());
            pools += 1;
        }
    }
    assert!(pools >= 8, "{pools}");
}

fn template(pool: &WorkerPool) -> PodTemplateSpec {
    match pool.spec.run_as {
        RunAs::Jobs => {
            workloads::job(pool, Batch { number: 1, workers: 1, stays: false }).unwrap().spec.unwrap().template
        }
        RunAs::Deployment => workloads::deployment(pool, 1).unwrap().spec.unwrap().template,
    }
}

#[test]
fn no_manifest_gives_the_scheduler_more_than_it_uses() {
    let rules: Vec<String> = rendered_file("base/scheduler/access.yaml")
        .iter()
        .flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default())
        .map(|rule| {
            let list = |field: &str| {
                let of = rule[field].as_array().cloned().unwrap_or_default();
                of.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
            };
            format!("{}/{} {} {}", list("apiGroups"), list("resources"), list("resourceNames"), list("verbs"))
        })
        .collect();
    assert_eq!(
        rules,
        [
            "coordination.k8s.io/leases  create",
            "coordination.k8s.io/leases framefleet-scheduler get,update",
            "framefleet.dev/workerpools  list,watch",
            "framefleet.dev/workerpools/status  patch",
            "framefleet.dev/workerpools/finalizers  update",
            "batch/jobs  get,list,watch,create,delete",
            "apps/deployments  list,watch,create,patch",
            "/pods  list,watch,patch",
            "/secrets framefleet-kafka get",
            "/events  list",
            "events.k8s.io/events  create,patch",
        ]
    );
    let plane = cluster();
    let admin = plane.admin();
    let may = |verb: &str, what: &str, namespace: &str| {
        let who = "--as=system:serviceaccount:framefleet:framefleet-scheduler";
        let (what, of) = what.split_once(" of ").map_or((what, ""), |(part, whole)| (whole, part));
        let part = format!("--subresource={of}");
        let said = admin.try_kubectl(&["auth", "can-i", verb, what, &part, "-n", namespace, who], "");
        match said.stdout.trim() {
            "yes" => true,
            "no" => false,
            _ => panic!("{verb} {what}: {said}"),
        }
    };
    for file in ["base/scheduler/access.yaml", "base/workers/scheduler-access.yaml"] {
        let manifest = manifests().join(file);
        admin.kubectl(&["apply", "--server-side", "-n", "framefleet", "-f", manifest.to_str().unwrap()]);
    }
    for (verb, what) in
        [("create", "jobs.batch"), ("delete", "jobs.batch"), ("patch", "status of workerpools.framefleet.dev")]
    {
        assert!(may(verb, what, "framefleet"), "{verb} {what}");
        assert!(!may(verb, what, "default"), "{verb} {what}");
    }
    for (verb, what) in [
        ("list", "secrets"),
        ("get", "secrets/other"),
        ("delete", "pods"),
        ("create", "pods"),
        ("delete", "deployments.apps"),
        ("update", "workerpools.framefleet.dev"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
    ] {
        assert!(!may(verb, what, "framefleet"), "{verb} {what}");
    }
    assert!(may("get", "secrets/framefleet-kafka", "framefleet"));
}
